"""Logs of containers on a Docker engine, for Compose: each followed into the spool.

For a laptop and for EC2. On Fargate there is no engine to ask: use Forward or ``logpipe`` there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from log_forwarder.inputs.docker_engine import Container, ContainerGoneError, Engine, EngineError
from log_forwarder.inputs.docker_log import DockerLog, DockerLogError, LogLine, Mark, Name
from log_forwarder.inputs.docker_marks import DockerMarks, spell
from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import lines_payload
from log_forwarder.spool.spool import SpoolBroken
from log_forwarder.spool.writer import SpoolWriter
from sidecar.errors import Transient

_RETRY_SECONDS = 1.0
_JOIN_SECONDS = 1.0


class Listener(Protocol):
    """Who is told what became of the engine and its containers."""

    def docker_unreachable(self, *, why: str) -> None:
        """The engine does not answer; it is asked again."""

    def container_followed(self, name: str) -> None:
        """A container's log is followed."""


class DockerFeeder:
    """Follows the wanted containers (see :class:`~log_forwarder.inputs.pushed.Feeder`).

    Told to finish, it fetches what each log holds then, and does not follow any longer.

    Args:
        engine: whom to ask.
        marks: how far each container was taken.
        writer: makes what writes to the spool until the given function says that it is over.
        listener: who is told.
        own_hostname: a container whose id begins so is ourselves, and not followed.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        marks: DockerMarks,
        writer: Callable[[Callable[[], bool]], SpoolWriter],
        listener: Listener,
        own_hostname: str,
    ) -> None:
        self._engine = engine
        self._marks = marks
        self._listener = listener
        self._own_hostname = own_hostname
        self._finishing = threading.Event()
        self._over = threading.Event()
        self._writer = writer(self._over.is_set)
        self._mutex = threading.Lock()
        self._followers: dict[str, threading.Thread] = {}
        self._followed: set[str] = set()
        self._started_again: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._last_look: threading.Thread | None = None
        self._watcher = threading.Thread(target=self._watch, name="docker events", daemon=True)
        self._watcher.start()

    def begin_to_finish(self) -> None:
        """Fetch what is there, in threads of its own."""
        if self._last_look is None:
            self._finishing.set()
            self._last_look = threading.Thread(target=self._fetch_all, name="docker last look", daemon=True)
            self._last_look.start()

    @property
    def is_finished(self) -> bool:
        """Whether the last look is over."""
        return self._last_look is not None and not self._last_look.is_alive()

    def close(self) -> None:
        """Take nothing more. Threads that wait for the engine's answer are left to it."""
        self._finishing.set()
        self._over.set()
        if self._last_look is not None:
            self._last_look.join(_JOIN_SECONDS)

    def _watch(self) -> None:
        """Follow what is there and what starts, for ever."""
        was_told = False
        while not self._finishing.is_set():
            try:
                starts = self._engine.starts()
                self._follow_all()
                was_told = False
                for container in starts:
                    if self._finishing.is_set():
                        return
                    self._follow(container)
            except (EngineError, ContainerGoneError) as err:
                if not was_told:
                    self._listener.docker_unreachable(why=str(err))
                was_told = True
            self._finishing.wait(_RETRY_SECONDS)

    def _follow_all(self) -> None:
        for container in self._engine.containers():
            self._follow(container)

    def _follow(self, container: str) -> None:
        if self._own_hostname and container.startswith(self._own_hostname):
            return  # our own lines about shipping lines would make more of them
        with self._mutex:
            if container in self._followed:
                self._started_again.add(container)  # its follower may be at the end of the earlier log
                return
            self._followed.add(container)
            self._locks.setdefault(container, threading.Lock())
            thread = threading.Thread(
                target=self._run, args=(container,), name=f"docker {container[:12]}", daemon=True
            )
            self._followers[container] = thread
            thread.start()

    def _run(self, container: str) -> None:
        """Follow one container to its end, and again when it was started meanwhile."""
        while True:
            self._follow_to_the_end(container)
            with self._mutex:
                if container not in self._started_again or self._finishing.is_set():
                    self._followed.discard(container)
                    return
                self._started_again.discard(container)

    def _follow_to_the_end(self, container: str) -> None:
        """Follow one container over every kind of interruption."""
        try:
            facts = self._look(container)
            if facts is not None:
                self._listener.container_followed(facts.name)
            while facts is not None and not self._finishing.is_set():
                has_ended = self._take(facts, follows=True)
                if has_ended:
                    return
                self._finishing.wait(_RETRY_SECONDS)
        except ContainerGoneError:
            self._forget(container)
        except SpoolBroken:
            return  # who reads the spool tells it, and ends the process

    def _look(self, container: str) -> Container | None:
        while not self._finishing.is_set():
            try:
                return self._engine.look(container)
            except EngineError:
                self._finishing.wait(_RETRY_SECONDS)
        return None

    def _take(self, facts: Container, *, follows: bool) -> bool:
        """Take a container's log from its marks on; return False when it was interrupted."""
        marks = self._marks.of(facts.id)
        log = DockerLog(has_terminal=facts.has_terminal, marks=marks)
        try:
            for data in self._engine.log(facts.id, marks, follows=follows):
                if not self._spool(facts, list(log.feed(data)), is_follower=follows):
                    return True
            return self._spool(facts, list(log.end()), is_follower=follows) or True
        except (EngineError, DockerLogError, Transient):
            return False

    def _spool(self, facts: Container, lines: list[LogLine], *, is_follower: bool) -> bool:
        """Write lines and how far they go; return False when somebody else does that from now on."""
        with self._locks[facts.id]:
            if is_follower and self._finishing.is_set():
                return False
            streams: dict[Name, tuple[list[bytes], Mark]] = {}
            for line in lines:
                texts = streams[line.stream][0] if line.stream in streams else []
                texts.append(line.text)
                streams[line.stream] = (texts, line.mark)
            for name, (texts, mark) in streams.items():
                payload = lines_payload(_key(facts, name), b"\n".join(texts) + b"\n", mark=spell(mark))
                if self._writer.append(payload) is None and self._over.is_set():
                    return False
                self._marks.keep(facts.id, name, mark)
        return True

    def _fetch_all(self) -> None:
        """Take what each followed log holds now."""
        with self._mutex:
            containers = list(self._followers)
        for container in containers:
            if self._over.is_set():
                return
            try:
                with self._locks[container]:
                    pass  # whoever is writing now is the last follower to do so
                self._take(self._engine.look(container), follows=False)
            except (EngineError, ContainerGoneError, SpoolBroken):
                continue

    def _forget(self, container: str) -> None:
        with self._mutex:
            self._followers.pop(container, None)
        try:
            self._marks.forget(container)
        except Transient:
            return  # it is forgotten at the next start


def _key(facts: Container, stream: Name) -> StreamKey:
    about = [
        ("container_name", facts.name),
        ("container_id", facts.id),
        ("image", facts.image),
        ("service", facts.service),
        ("output", stream),
    ]
    return StreamKey("docker", f"docker:{facts.name}:{stream}", tuple(pair for pair in about if pair[1]))
