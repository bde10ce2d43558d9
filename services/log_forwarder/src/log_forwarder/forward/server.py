"""The Forward listener: a drop-in FireLens router, and a target for Docker's ``fluentd`` driver.

A thread per connection (measured: one that only drains lost none of a crash's last 3,000 lines, a reader
on an event loop lost a third), one more per address to accept.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

from log_forwarder.forward.addresses import Address, listen, stop_listening
from log_forwarder.forward.connection import Connection, Listener, Terms, Unfinished
from log_forwarder.spool.spool import Spool
from log_forwarder.spool.writer import SpoolWriter

MOST_CONNECTIONS = 512  # a thread each; a task has ten containers, with a driver connection or two
_LOOK_UP_SECONDS = 0.25
_QUIET_SECONDS = 2.0  # a container's last connection may come after its neighbours' are closed
_LAST_WAIT_SHARE = 0.6  # of the stop timeout; the rest is for sending
_JOIN_SECONDS = 2.0


class ForwardServer:
    """Listens, and serves clients, from construction until :meth:`close`.

    Args:
        addresses: where.
        spool: where frames go.
        monotonic: the time, in seconds.
        writer: makes what writes to the spool until the given function says that it is over.
        listener: who is told.
        stop_timeout_seconds: how long the process has to finish, once told to.
        shared_key: clients must know it; empty: no handshake.

    Raises:
        ConfigError: an address cannot be listened at.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        spool: Spool,
        writer: Callable[[Callable[[], bool]], SpoolWriter],
        monotonic: Callable[[], float],
        listener: Listener,
        stop_timeout_seconds: float,
        shared_key: str = "",
    ) -> None:
        self._monotonic = monotonic
        self._listener = listener
        self._stop_timeout_seconds = stop_timeout_seconds
        self._over = threading.Event()
        self._mutex = threading.Lock()
        self._connections: set[threading.Thread] = set()
        self._last_left = monotonic() - _QUIET_SECONDS
        self._finish_by: float | None = None
        self._terms = Terms(
            spool=spool,
            unfinished=Unfinished(),
            listener=listener,
            monotonic=monotonic,
            writer=writer(self._over.is_set),
            is_over=self._over.is_set,
            shared_key=shared_key,
            hostname=socket.gethostname(),
        )
        self._listening: list[tuple[socket.socket, Address]] = []
        self._accepting: list[threading.Thread] = []
        try:
            for address in addresses:
                self._listening.append((listen(address), address))
        except BaseException:
            self.close()
            raise
        self._accepting = [
            threading.Thread(
                target=self._accept, args=(bound, address), name=f"forward {address}", daemon=True
            )
            for bound, address in self._listening
        ]
        for thread in self._accepting:
            thread.start()

    @property
    def ports(self) -> list[int]:
        """The TCP ports that are listened at."""
        return [bound.getsockname()[1] for bound, address in self._listening if not address.path]

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def begin_to_finish(self) -> None:
        """Serve on until the clients are gone; ECS stops them before us."""
        self._finish_by = self._monotonic() + self._stop_timeout_seconds * _LAST_WAIT_SHARE

    @property
    def is_finished(self) -> bool:
        """Whether all clients left and it stayed quiet, or the time for that is over; then it is closed."""
        now = self._monotonic()
        if self._finish_by is None:
            return False
        if now < self._finish_by and (self._connections or now - self._last_left < _QUIET_SECONDS):
            return False
        self.close()
        return True

    def close(self) -> None:
        """End all connections; half frames are discarded, their senders have them. Idempotent."""
        self._over.set()
        for thread in self._accepting:  # a socket that is waited at stays open whoever closes it
            thread.join(_JOIN_SECONDS)
        for bound, address in self._listening:
            stop_listening(bound, address)
        self._listening = []
        with self._mutex:
            threads = list(self._connections)
        for thread in threads:
            thread.join(_JOIN_SECONDS)

    def _accept(self, bound: socket.socket, address: Address) -> None:
        bound.settimeout(_LOOK_UP_SECONDS)
        while not self._over.is_set():
            try:
                client, peer = bound.accept()
            except TimeoutError:
                continue
            except OSError:  # closed, or out of descriptors: the next look tells
                self._over.wait(_LOOK_UP_SECONDS)
                continue
            name = f"{address}" if address.path else f"{peer[0]}:{peer[1]}"
            if self.connections >= MOST_CONNECTIONS:
                self._listener.forward_refused(name, why=f"{MOST_CONNECTIONS} clients are connected already")
                client.close()
                continue
            if not address.path:
                _notice_a_dead_peer(client)
            self._serve(client, name)

    def _serve(self, client: socket.socket, name: str) -> None:
        thread = threading.Thread(target=self._run, args=(client, name), name="forward client", daemon=True)
        with self._mutex:
            self._connections.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: the client tries again
            with self._mutex:
                self._connections.discard(thread)
            client.close()

    def _run(self, client: socket.socket, name: str) -> None:
        try:
            with contextlib.closing(client):
                Connection(client, name, self._terms).serve()
        finally:
            with self._mutex:
                self._last_left = self._monotonic()
                self._connections.discard(threading.current_thread())


def _notice_a_dead_peer(client: socket.socket) -> None:
    """Let the kernel end a connection whose host went away; nobody else would, and it counts to the most."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
