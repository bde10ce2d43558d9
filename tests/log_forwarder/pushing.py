"""A spool, its state and what reads it, as one value for a test; and listeners that remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from log_forwarder.inputs.base import Chunk, LineRules, Span, WholeLines
from log_forwarder.inputs.pushed import Feeder, PushedInput
from log_forwarder.spool.places import Places
from log_forwarder.spool.spool import Spool
from log_forwarder.spool.writer import SpoolWriter
from log_forwarder.state import State

MIB = 1024 * 1024


@dataclass(slots=True)
class Told:
    """What a listener was told."""

    refused: list[str] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)
    full: list[bool] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    docker: list[str] = field(default_factory=list)
    dropped_bytes: int = 0

    def forward_refused(self, client: str, *, why: str) -> None:
        self.refused.append(why)

    def forward_truncated(self, client: str, *, discarded_bytes: int) -> None:
        self.truncated.append(discarded_bytes)

    def spool_full(self, *, is_full: bool) -> None:
        self.full.append(is_full)

    def dropped(self, *, payloads: int, dropped_bytes: int) -> None:
        self.dropped_bytes += dropped_bytes

    def spool_damaged(self, *, lost_bytes: int) -> None:
        self.damaged.append(lost_bytes)

    def docker_unreachable(self, *, why: str) -> None:
        self.docker.append(why)

    def container_followed(self, name: str) -> None:
        self.docker.append(f"following {name}")


class Clock:
    """A time that stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Pushing:
    """An open spool directory; ``with`` it, or kill it with :meth:`kill` and open another."""

    def __init__(
        self,
        directory: Path,
        *,
        budget_bytes: int = 64 * MIB,
        limit_bytes: int = 900 * 1024,
        rules: LineRules | None = None,
        feeders: Callable[[Pushing], Sequence[Feeder]] = lambda _pushing: (),
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.told = Told()
        self.clock = monotonic or Clock()
        self.state = State(directory)
        self.places = Places(self.state)
        self.spool = Spool(directory / "spool", budget_bytes=budget_bytes)
        self.feeders = list(feeders(self))
        self.input = PushedInput(
            spool=self.spool,
            places=self.places,
            feeders=self.feeders,
            rules=lambda _kind: rules or WholeLines(),
            limit_bytes=limit_bytes,
            monotonic=self.clock,
            listener=self.told,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.input.close()
        self.state.close()

    def writer(self, is_over: Callable[[], bool], *, drops_when_full: bool = False) -> SpoolWriter:
        return SpoolWriter(
            self.spool,
            listener=self.told,
            on_data=lambda: None,
            is_over=is_over,
            drops_when_full=drops_when_full,
            now=lambda: datetime(2026, 11, 22, tzinfo=UTC),
        )

    def chunks(self) -> list[Chunk]:
        """Hand out everything that is durable, waiting until all is."""
        assert self.spool.wait_until_durable(self.spool.end, timeout_seconds=20)
        self.input.look()
        return [self.input.apply(chunk) for chunk in self.input.chunks()]

    def accept(self, chunks: Sequence[Chunk]) -> None:
        """Firehose accepted these."""
        for chunk in chunks:
            self.places.keep([Span(chunk.origin, chunk.start, chunk.end, chunk.position, chunk.read_at)])


def lines(chunks: Sequence[Chunk]) -> list[bytes]:
    """Return the lines in chunks of one stream."""
    return b"".join(chunk.data for chunk in chunks).splitlines()


def assert_tiled(chunks: Sequence[Chunk], *, begin: int = 0) -> None:
    """Each source's chunks follow each other without a gap."""
    ends: dict[str, int] = {}
    for chunk in chunks:
        assert chunk.start == ends.get(chunk.origin.source, begin)
        assert chunk.end > chunk.start
        ends[chunk.origin.source] = chunk.end
