"""Origins, chunks and records for tests, with defaults."""

from __future__ import annotations

from collections.abc import Sequence

from log_forwarder.airflow_path import identify
from log_forwarder.batching import Record
from log_forwarder.inputs.base import Chunk, Kind, Origin, Range, Span


class Kept:
    """A keeper that remembers in memory."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.calls = 0

    def keep(self, spans: Sequence[Span]) -> None:
        self.calls += 1
        for span in spans:
            self.ends[span.origin.source] = span.end


def origin(
    number: int = 1, *, kept: Kept | None = None, path: str = "/logs/a.log", kind: Kind = "file"
) -> Origin:
    return Origin(source=f"{number:016x}", path=path, kind=kind, keeper=kept or Kept(), about=identify(path))


def chunk(
    data: bytes,
    *,
    of: Origin | None = None,
    start: int = 0,
    part: int = 0,
    is_unfinished: bool = False,
    read_at: float = 0.0,
) -> Chunk:
    lines = data.count(b"\n") + (is_unfinished and not part)
    end = start + len(data)
    return Chunk(of or origin(), start, end, data, end, read_at, part, is_unfinished, lines)


def record(
    data: bytes = b"x",
    *,
    of: Sequence[Origin] | None = None,
    number: int = 1,
    start: int = 0,
    end: int = 10,
) -> Record:
    origins = [origin(number)] if of is None else of
    return Record(
        number=number,
        id=f"{number:032x}",
        data=data,
        spans=tuple(Span(each, start, end, end, 0.0) for each in origins),
        plan=((Range(origins[0].source, start, end, 0, False),),) if origins else (),
        lines=1,
        plain_bytes=len(data),
    )
