"""Tailing without sending: what is handed out is accepted at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from log_forwarder.checkpoints import Checkpoints
from log_forwarder.groomer import Groomer
from log_forwarder.inputs.base import Chunk, LineRules, Span, WholeLines
from log_forwarder.inputs.discovery import Globs
from log_forwarder.inputs.files import FileInput
from log_forwarder.inputs.finder import Finder
from log_forwarder.inputs.followed import FollowedFiles
from log_forwarder.inputs.open_files import OpenFiles
from log_forwarder.inputs.registry import Registry
from log_forwarder.inputs.tailed import TailedFile
from log_forwarder.state import State
from sidecar.errors import Transient
from sidecar.testing.fake_clock import FakeClock

CHUNK_BYTES = 2000


class Tail:
    """A forwarder's eyes, on a clock that the test owns."""

    def __init__(
        self,
        root: Path,
        *,
        open_files_max: int = 16,
        may_watch: bool = False,
        rules: LineRules | None = None,
        delete_after_seconds: float = 0,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.root = root
        self.clock = FakeClock()
        self.replaced: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.over: list[tuple[str, int, bool]] = []
        self.told: list[str] = []
        self.missing: list[str] = []
        self.unwatched = 0
        self.state = State(root / "state")
        self.checkpoints = Checkpoints(self.state)
        monotonic = self.clock.monotonic
        globs = Globs([f"{root}/logs/**"], excluded=root / "state")
        self.open_files = OpenFiles(most=open_files_max, limit=open_files_max)
        self.files = FollowedFiles(
            registry=Registry(self.checkpoints),
            listener=self,
            monotonic=monotonic,
            open_files=self.open_files,
            now_ns=self.now_ns,
        )
        self.finder = Finder(
            globs=globs,
            open_files=self.open_files,
            follower=self.files,
            listener=self,
            monotonic=monotonic,
            now_ns=lambda: 2**62,
            scan_seconds=1.0,
            may_watch=may_watch,
        )
        groomer = Groomer(
            globs=Globs([f"{root}/logs/**"], excluded=root / "state"),
            checkpoints=self.checkpoints,
            after_seconds=delete_after_seconds,
            now_ns=lambda: 2**62,
            monotonic=monotonic,
            listener=self,
            on_delete=self.files.let_go,
        )
        self.input = FileInput(
            files=self.files,
            finder=self.finder,
            groomers=[groomer],
            rules=lambda _kind: rules or WholeLines(),
            monotonic=monotonic,
            listener=self,
            chunk_bytes=chunk_bytes,
        )

    def now_ns(self) -> int:
        """The date: as many seconds after the epoch as the clock says."""
        return int(self.clock.monotonic() * 1e9)

    # ------------------------------------------------------------ what is told

    def restarted(self, path: str, *, unread_bytes: int) -> None:
        self.replaced.append(path)

    def unreadable(self, path: str, *, why: str) -> None:
        self.refused.append((path, why))

    def state_unwritable(self, error: Transient) -> None:
        self.told.append(str(error))

    def ended(self, path: str, *, unread_bytes: int, was_open: bool) -> None:
        self.over.append((path, unread_bytes, was_open))

    def missed(self, path: str) -> None:
        self.missing.append(path)

    def cold_ended(self, count: int) -> None:
        self.unwatched += count

    def tended(self, *, tracked: int, is_open: int) -> None: ...

    def events_lost(self) -> None:
        self.told.append("events lost")

    def watching(self) -> None:
        self.told.append("watching")

    def watching_ended(self, *, why: str) -> None:
        self.told.append("watching ended")

    def groomed(self, *, files: int, deleted_bytes: int) -> None:
        self.told.append(f"groomed {files}")

    # ------------------------------------------------------------ what is done

    def look(self) -> list[bytes]:
        """Scan, then read: return the lines that are new."""
        self.finder.scan()
        return self.read()

    def read(self) -> list[bytes]:
        """Take note of events, then read until there is nothing."""
        self.input.look()
        return [line for chunk in self.accepted() for line in chunk.data.splitlines()]

    def accepted(self) -> Iterator[Chunk]:
        """Read until there is nothing, accepting all."""
        while chunks := list(self.input.chunks()):
            for chunk in chunks:
                span = Span(chunk.origin, chunk.start, chunk.end, chunk.position, chunk.read_at)
                chunk.origin.keeper.keep([span])
                yield chunk

    def known(self) -> list[TailedFile]:
        return list(self.files)

    def stop(self) -> None:
        self.input.close()
        self.state.close()


def append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
