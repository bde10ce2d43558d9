"""Reading, delivering and checkpointing, stopped after every step and started again from the disk."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from log_forwarder.batching import Record
from log_forwarder.checkpoints import Checkpoints
from log_forwarder.inputs.discovery import Globs
from log_forwarder.inputs.files import FileInput
from log_forwarder.outbox import Outbox
from log_forwarder.reader import Reader
from sidecar.testing.fake_clock import FakeClock
from sidecar.testing.replay import run_every_prefix

FILES = ("a.log", "b.log", "c.log")
PADDING = "x" * 300_000  # so that a few lines fill a record and files share records
LINES = 4


class Unheard:
    """A listener that nobody needs here."""

    def read(self, *, lines: int, parts: int) -> None: ...

    def ended(self, path: str, *, unread_bytes: int, was_open: bool) -> None: ...

    def looked(self, *, files: int, lag_bytes: int) -> None: ...

    def restarted(self, path: str) -> None:
        raise AssertionError(path)

    def unreadable(self, path: str, *, why: str) -> None:
        raise AssertionError(path, why)


@dataclass
class Disk:
    """What survives a crash: the files, the offsets and what the stream accepted."""

    root: Path
    stream: list[bytes] = field(default_factory=list)
    checkpoints: Checkpoints | None = None

    def restart(self) -> Checkpoints:
        """Forget everything that is only in memory."""
        if self.checkpoints is not None:
            self.checkpoints.close()
        self.checkpoints = Checkpoints(self.root / "state")
        return self.checkpoints

    def ids(self) -> list[str]:
        return [json.loads(line)["id"] for line in b"".join(self.stream).splitlines()]


@dataclass(frozen=True)
class Step:
    verb: Literal["deliver", "checkpoint"]
    record: Record


def plan(disk: Disk) -> list[Step]:
    """Read what the offsets say is left; each record is delivered, then marked."""
    checkpoints = disk.restart()
    outbox = Outbox(threading.Event())
    files = FileInput(
        globs=Globs([f"{disk.root}/logs/*.log"], excluded=disk.root / "state"),
        checkpoints=checkpoints,
        monotonic=FakeClock().monotonic,
        listener=Unheard(),
        open_files_max=16,
    )
    reader = Reader(
        files=files,
        outbox=outbox,
        line_format="json",
        ecs={},
        listener=Unheard(),
        monotonic=FakeClock().monotonic,
        flush_seconds=1,
        scan_seconds=1,
    )
    reader.begin_to_finish()
    while not reader.finish_step():
        pass
    files.close()
    outbox.close()
    records = [record for call in iter(outbox.take, []) for record in call]
    return [step for record in records for step in (Step("deliver", record), Step("checkpoint", record))]


def apply(disk: Disk, step: Step) -> None:
    if step.verb == "deliver":
        disk.stream.append(step.record.data)
    else:
        assert disk.checkpoints is not None
        disk.checkpoints.acknowledge([step.record])


def no_offset_is_ahead_of_the_stream(disk: Disk) -> None:
    assert disk.checkpoints is not None
    delivered = {json.loads(line)["id"] for line in b"".join(disk.stream).splitlines()}
    for name in FILES:
        for known in disk.checkpoints.find((disk.root / "logs" / name).stat().st_ino):
            ends = {int(id_.rpartition("-")[2]) for id_ in delivered if id_.startswith(f"{known.source}.")}
            assert known.offset == 0 or known.offset in ends


def everything_is_there_and_one_record_is_repeated_at_most(disk: Disk) -> None:
    ids = disk.ids()
    assert len(set(ids)) == len(FILES) * LINES
    most = max(record.count(b"\n") for record in disk.stream)
    assert len(ids) - len(set(ids)) <= most


def test_a_crash_after_any_step_loses_nothing_and_repeats_one_record_at_most(tmp_path: Path) -> None:
    worlds: list[Disk] = []

    def start() -> Disk:
        disk = Disk(root=tmp_path / str(len(worlds)))
        worlds.append(disk)
        (disk.root / "logs").mkdir(parents=True)
        for name in FILES:
            lines = "".join(f'{{"n":{n},"pad":"{PADDING}"}}\n' for n in range(LINES))
            (disk.root / "logs" / name).write_text(lines)
        return disk

    prefixes = run_every_prefix(
        start=start,
        plan=plan,
        apply=apply,
        holds=no_offset_is_ahead_of_the_stream,
        is_goal=everything_is_there_and_one_record_is_repeated_at_most,
    )
    for disk in worlds:
        if disk.checkpoints is not None:
            disk.checkpoints.close()

    assert prefixes >= 7
