"""Where to listen: ``unix:///path`` and ``tcp://host:port``."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.errors import ConfigError

_BACKLOG = 256
_UNIX_PATH_BYTES = 107  # sun_path, with its closing zero
_SOCKET_MODE = 0o666  # containers of the task run as other users
_PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One place to listen at; exactly one of ``path`` and ``port`` is set.

    Attributes:
        path: of a unix socket; empty for TCP.
        host, port: of a TCP socket; port 0 takes a free one.
    """

    path: str = ""
    host: str = ""
    port: int | None = None

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"


def parse(url: str) -> Address:
    """Read an address.

    Raises:
        ValueError: it is none; the text says what one looks like.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        if len(os.fsencode(parts.path)) > _UNIX_PATH_BYTES:
            raise ValueError(f"{url!r} is longer than a socket's path may be ({_UNIX_PATH_BYTES} bytes)")
        return Address(path=parts.path)
    if parts.scheme == "tcp" and parts.hostname and parts.port is not None and not parts.path:
        return Address(host=parts.hostname, port=parts.port)
    raise ValueError(f"{url!r} is no address. Write unix:///var/run/fluent.sock or tcp://0.0.0.0:24224")


def listen(address: Address) -> socket.socket:
    """Return a listening socket. A socket file that a killed process left behind is replaced.

    Raises:
        ConfigError: somebody else listens there, or we may not.
    """
    try:
        return _listen_unix(address.path) if address.path else _listen_tcp(address)
    except (OSError, OverflowError) as err:
        raise ConfigError(
            f"Cannot listen at {address}",
            why=getattr(err, "strerror", None) or str(err),
            remedy="Correct LOG_FORWARDER_FORWARD; one process listens at an address",
        ) from err


def stop_listening(listening: socket.socket, address: Address) -> None:
    """Close the socket and remove its file, unless somebody else listens there by now."""
    listening.close()
    if address.path:
        with contextlib.suppress(OSError):
            _remove_stale(address.path)


def _listen_tcp(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port or 0), family=family, backlog=_BACKLOG)


def _listen_unix(path: str) -> socket.socket:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(path)
        Path(path).chmod(_SOCKET_MODE)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody answers at; leave everything else, binding says what is wrong."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            return
