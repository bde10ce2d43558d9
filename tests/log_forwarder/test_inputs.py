"""Files are found, told apart and read to their end, whatever is done to them meanwhile."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import reduce
from pathlib import Path

import pytest

from log_forwarder.batching import Record, Span
from log_forwarder.checkpoints import Checkpoints
from log_forwarder.fingerprint import Fingerprint
from log_forwarder.framing import cut, cut_tail
from log_forwarder.inputs.discovery import Globs
from log_forwarder.inputs.files import Ended, FileInput
from log_forwarder.inputs.open_files import HOT_SECONDS
from log_forwarder.inputs.tailed import TailedFile
from sidecar.errors import ConfigError
from sidecar.testing.fake_clock import FakeClock
from sidecar.testing.waiting import wait_until

Pread = Callable[[int, int, int], bytes]


class Tail:
    """Reads files as the reader does, and accepts at once what it read."""

    def __init__(self, root: Path, *, open_files_max: int = 16) -> None:
        self.root = root
        self.clock = FakeClock()
        self.replaced: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.checkpoints = Checkpoints(root / "state")
        self.files = FileInput(
            globs=Globs([f"{root}/logs/**"], excluded=root / "state"),
            checkpoints=self.checkpoints,
            monotonic=self.clock.monotonic,
            listener=self,
            open_files_max=open_files_max,
        )

    def restarted(self, path: str) -> None:
        self.replaced.append(path)

    def unreadable(self, path: str, *, why: str) -> None:
        self.refused.append((path, why))

    def read(self) -> list[bytes]:
        """Return the lines that are new."""
        return [text for file in self.files.unread() for text in self._lines(file)]

    def look(self) -> list[bytes]:
        """Scan, then read."""
        self.files.scan()
        return self.read()

    def stop(self) -> None:
        self.files.close()
        self.checkpoints.close()

    def accept(self, file: TailedFile, start: int, end: int, fingerprint: Fingerprint) -> None:
        assert file.known is not None
        span = Span(
            generation=file.known.generation, start=start, end=end, parts_after=0, fingerprint=fingerprint
        )
        self.checkpoints.acknowledge([Record(data=b"x", spans=(span,), lines=1)])

    def _lines(self, file: TailedFile) -> Iterator[bytes]:
        block = self.files.read(file)
        if block is None:
            return
        start = file.offset
        pieces = list(cut(block.data, start=start, parts_before=0, limit_bytes=2000))
        if pieces:
            place = reduce(Fingerprint.after, pieces, block.before)
            file.hand_on(pieces[-1], place)
            self.accept(file, start, pieces[-1].end, place)
        else:
            file.waits_for_growth = True
        yield from (piece.text for piece in pieces)


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path)
    yield tail
    tail.stop()


@pytest.fixture
def log(tail: Tail) -> Path:
    return tail.root / "logs" / "a.log"


def _now_ns(directory: Path) -> int:
    """Return the time of the file system, which may tick only every few milliseconds."""
    probe = directory / "probe"
    probe.write_bytes(b"")
    return probe.stat().st_ctime_ns


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_growth_is_read_once_and_only_whole_lines(tail: Tail, log: Path) -> None:
    append(log, "one\ntw")
    assert tail.look() == [b"one"]
    append(log, "o\nthree\n")

    assert tail.look() == [b"two", b"three"]
    assert tail.look() == []


def test_a_renamed_file_goes_on_and_its_successor_begins(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    append(log, "two\n")
    log.rename(log.with_name("a.log.1"))
    append(log, "three\n")

    assert sorted(tail.look()) == [b"three", b"two"]
    assert tail.replaced == []


def test_a_truncated_file_begins_again(tail: Tail, log: Path) -> None:
    append(log, "one\ntwo\n")
    tail.look()
    log.write_text("new\n")

    assert tail.look() == [b"new"]
    assert tail.replaced == [str(log)]


def test_a_file_truncated_and_grown_beyond_its_old_size_begins_again(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    log.write_text("another first\nanother second\n")

    assert tail.look() + tail.read() == [b"another first", b"another second"]


def test_a_file_rewritten_at_the_same_size_begins_again(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    os.utime(log, (0, 0))
    log.write_text("two\n")

    assert tail.look() + tail.read() == [b"two"]


def test_a_file_removed_after_it_was_opened_is_read_to_its_end(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.files.scan()
    with log.open("a") as writer:
        log.unlink()
        writer.write("last words\n")

    assert tail.look() == [b"one", b"last words"]
    assert [ended.unread_bytes for ended in tail.files.scan()] == [0]
    assert len(tail.files) == 0


def test_the_last_lines_of_a_file_that_was_silent_for_long_are_read_although_it_is_removed_at_once(
    tail: Tail, log: Path
) -> None:
    append(log, "start\n")
    tail.look()
    tail.clock.advance(100 * HOT_SECONDS)
    assert tail.look() == []
    append(log, "last words\n")
    log.unlink()

    assert tail.look() == [b"last words"]
    assert tail.files.scan() == [Ended(path=str(log), unread_bytes=0, was_open=True)]


def test_that_holds_also_for_a_file_that_was_silent_since_before_the_start(tail: Tail, log: Path) -> None:
    append(log, "start\n")
    tail.look()
    tail.stop()
    again = Tail(tail.root)
    assert again.look() == []
    append(log, "last words\n")
    log.unlink()

    assert again.look() == [b"last words"]
    again.stop()


def test_when_descriptors_are_short_the_coldest_files_are_closed_and_the_others_are_still_read(
    tail: Tail,
) -> None:
    tail.stop()
    tail = Tail(tail.root, open_files_max=4)  # three of them for cold files
    logs = [tail.root / "logs" / f"{number}.log" for number in range(5)]
    for log in logs:
        append(log, "one\n")
        changed_ns = log.stat().st_ctime_ns
        wait_until(lambda: _now_ns(tail.root) > changed_ns, "the file system's clock to tick")  # noqa: B023 - at once
        tail.look()
        tail.clock.advance(HOT_SECONDS + 1)
    tail.look()

    assert [file.path for file in tail.files if file.descriptor is not None] == [str(log) for log in logs[2:]]
    tail.stop()


def test_a_file_removed_while_it_was_not_open_is_told_with_what_is_known_of_it(tail: Tail) -> None:
    tail.stop()
    tail = Tail(tail.root, open_files_max=0)
    read, unread = tail.root / "logs" / "read.log", tail.root / "logs" / "unread.log"
    append(read, "one\n")
    tail.look()
    append(unread, "four\n")
    tail.files.scan()
    read.unlink()
    unread.unlink()

    assert tail.files.scan() == [
        Ended(path=str(read), unread_bytes=0, was_open=False),
        Ended(path=str(unread), unread_bytes=5, was_open=False),
    ]
    tail.stop()


def test_a_file_that_takes_a_removed_ones_inode_is_not_mistaken_for_it(tail: Tail) -> None:
    tail.stop()
    tail = Tail(tail.root, open_files_max=0)  # an open descriptor would keep the number
    log = tail.root / "logs" / "a.log"
    append(log, "one\n")
    tail.look()
    inode = log.stat().st_ino
    log.unlink()
    other = log.with_name("b.log")
    append(other, "two\n")
    read = tail.look() + tail.read()
    is_reused = other.stat().st_ino == inode
    tail.stop()
    if not is_reused:
        pytest.skip("this file system did not give the inode number to the next file")

    assert read == [b"two"]


def test_a_restart_goes_on_at_the_accepted_offset(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    tail.stop()
    append(log, "two\n")
    again = Tail(tail.root)

    assert again.look() == [b"two"]
    assert again.replaced == []
    again.stop()


def test_a_file_replaced_while_nobody_looked_is_read_from_its_start(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    tail.stop()
    log.write_text("two\n")
    again = Tail(tail.root)

    assert again.look() + again.read() == [b"two"]
    again.stop()


def test_a_file_that_grew_slowly_and_was_replaced_is_told_by_any_of_its_first_1024_bytes(
    tail: Tail, log: Path
) -> None:
    lines = [f"{number:>60}\n" for number in range(30)]
    for line in lines:
        append(log, line)
        tail.look()
    tail.stop()
    lines[16] = lines[16].replace(" ", "x", 1)  # byte 976 of 1,830
    log.write_text("".join(lines))
    again = Tail(tail.root)

    assert len(again.look() + again.read()) == len(lines)
    assert again.replaced == [str(log)]
    again.stop()


def test_a_file_replaced_by_one_with_the_same_beginning_is_told_by_the_64_bytes_before_the_offset(
    tail: Tail, log: Path
) -> None:
    lines = [f"{number:>60}\n" for number in range(30)]
    append(log, "".join(lines))
    tail.look()
    append(log, "\n")
    tail.look()
    tail.stop()
    lines[29] = lines[29].replace(" ", "x", 1)  # 62 bytes before the offset
    log.write_text("".join([*lines, "\n", "new\n"]))
    again = Tail(tail.root)

    assert len(again.look() + again.read()) == len(lines) + 2
    assert again.replaced == [str(log)]
    again.stop()


def test_a_file_that_grew_line_by_line_goes_on_after_a_restart(tail: Tail, log: Path) -> None:
    for number in range(30):
        append(log, f"{number:>60}\n")
        tail.look()
    tail.stop()
    append(log, "new\n")
    again = Tail(tail.root)

    assert again.look() == [b"new"]
    assert again.replaced == []
    again.stop()


def days_pass(tail: Tail, days: int) -> None:
    """Stop, and make everything that is known look this old."""
    tail.stop()
    with closing(sqlite3.connect(tail.root / "state" / "checkpoints.sqlite3")) as state, state:
        state.execute("UPDATE files SET committed_at = datetime('now', ?)", (f"-{days} days",))


@pytest.mark.parametrize("days", [8, 100])
def test_a_renamed_file_is_not_shipped_again_after_a_long_pause(tail: Tail, log: Path, days: int) -> None:
    append(log, "one\n")
    tail.look()
    log.rename(log.with_name("a.log.1"))
    days_pass(tail, days)

    for _ in range(2):  # what the first start drops, the second one ships
        again = Tail(tail.root)
        assert again.look() == []
        again.stop()


def test_a_volume_that_is_not_mounted_at_one_start_is_not_shipped_again_at_the_next(
    tail: Tail, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, "one\n")
    tail.look()
    days_pass(tail, 8)
    mounted, away = log.parent, tail.root / "away"
    mounted.rename(away)
    mounted.mkdir()  # the mount point, on another device than the volume
    device = away.stat().st_dev

    def stat(path: Path, real: Callable[[Path], os.stat_result] = Path.stat) -> os.stat_result:
        status = real(path)
        if path != mounted:
            return status
        return os.stat_result((status.st_mode, status.st_ino, device + 1, *status[3:]))

    with monkeypatch.context() as patched:
        patched.setattr("log_forwarder.checkpoints.Path.stat", stat)
        without = Tail(tail.root)
        assert without.look() == []
        without.stop()
    mounted.rmdir()
    away.rename(mounted)
    again = Tail(tail.root)

    assert again.look() == []
    again.stop()


@pytest.mark.parametrize(("days", "is_remembered"), [(6, True), (8, False)])
def test_a_removed_file_is_forgotten_after_a_week_also_when_its_directory_is_gone(
    tail: Tail, days: int, is_remembered: bool
) -> None:
    log = tail.root / "logs" / "run_id=1" / "a.log"
    log.parent.mkdir()
    append(log, "one\n")
    tail.look()
    inode = log.stat().st_ino
    days_pass(tail, days)
    log.unlink()
    log.parent.rmdir()
    again = Tail(tail.root)
    again.look()

    assert bool(again.checkpoints.find(inode)) == is_remembered
    again.stop()


def test_the_same_file_has_the_same_source_after_a_restart_and_another_after_truncation(
    tail: Tail, log: Path
) -> None:
    def source(of: Tail) -> str:
        (file,) = of.files
        assert file.known is not None
        return file.known.source

    append(log, "one\n")
    tail.look()
    first = source(tail)
    tail.stop()
    again = Tail(tail.root)
    again.look()
    assert source(again) == first
    log.write_text("x\n")
    again.look()

    assert source(again) != first
    again.stop()


def test_a_tail_that_is_flushed_is_the_unfinished_line(tail: Tail, log: Path) -> None:
    append(log, "one\nunfinished")
    tail.look()
    tail.read()
    assert list(tail.files.unfinished(idle_seconds=5)) == []
    tail.clock.advance(6)
    (file,) = tail.files.unfinished(idle_seconds=5)

    block = tail.files.read(file)

    assert block is not None
    assert cut_tail(block.data, start=file.offset, parts_before=0).text == b"unfinished"


def test_a_file_that_cannot_be_opened_is_told_once_and_read_when_it_can(
    tail: Tail, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: TailedFile) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    append(log, "one\n")
    with monkeypatch.context() as patched:
        patched.setattr("log_forwarder.inputs.files.open_same", refuse)
        patched.setattr("log_forwarder.inputs.open_files.open_same", refuse)  # root may open anything
        assert [tail.look(), tail.look(), tail.look()] == [[], [], []]

    assert tail.refused == [(str(log), "Permission denied")]
    assert tail.look() == [b"one"]


@pytest.fixture
def bad_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Inodes whose content cannot be read, as on a broken volume or a stale NFS handle."""
    inodes: set[int] = set()

    def pread(descriptor: int, size: int, offset: int, real: Pread = os.pread) -> bytes:
        if os.fstat(descriptor).st_ino in inodes:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr("log_forwarder.inputs.files.os.pread", pread)
        yield inodes


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_shipped_and_is_tried_again(
    tail: Tail, log: Path, bad_disk: set[int]
) -> None:
    good = log.with_name("good.log")
    append(log, "bad\n")
    bad_disk.add(log.stat().st_ino)
    append(good, "one\n")

    assert tail.look() == [b"one"]
    append(good, "two\n")
    assert [tail.look(), tail.look()] == [[b"two"], []]
    assert tail.refused == [(str(log), "Input/output error")]
    assert tail.files.lag_bytes() == len("bad\n")

    bad_disk.clear()
    assert tail.look() == [b"bad"]


def test_a_file_that_fails_after_it_was_removed_is_given_up_and_its_bytes_are_told(
    tail: Tail, log: Path, bad_disk: set[int]
) -> None:
    append(log, "one\n")
    tail.files.scan()
    bad_disk.add(log.stat().st_ino)
    log.unlink()

    assert tail.look() == []
    assert [ended.unread_bytes for ended in tail.files.scan()] == [4]
    assert len(tail.files) == 0


def test_links_hidden_files_and_our_own_state_are_not_read(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    (log.parent / "latest.log").symlink_to(log)
    (log.parent / "2026").mkdir()
    append(log.parent / "2026" / "b.log", "two\n")
    (log.parent / "latest").symlink_to(log.parent / "2026")
    append(log.parent / ".nfs0001", "three\n")
    everything = Globs([f"{tail.root}/**", f"{tail.root}/logs/*.log"], excluded=tail.root / "state")

    assert sorted(sighting.path for sighting in everything.scan()) == [
        str(log.parent / "2026" / "b.log"),
        str(log),
    ]


@pytest.mark.parametrize("spelling", ["link/**", "./real/**", "real/**/*", "link/state/*", "file"])
def test_our_own_state_is_not_read_under_any_other_name(tmp_path: Path, spelling: str) -> None:
    state = tmp_path / "real" / "state"
    state.mkdir(parents=True)
    append(state / "checkpoints.sqlite3-wal", "ours\n")
    append(tmp_path / "real" / "a.log", "one\n")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").symlink_to(state / "checkpoints.sqlite3-wal")

    sightings = Globs([f"{tmp_path}/{spelling}"], excluded=state).scan()

    assert "checkpoints.sqlite3-wal" not in [Path(sighting.path).name for sighting in sightings]


def test_a_link_that_is_named_without_a_wildcard_is_followed(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    (log.parent / "latest").symlink_to(log.name)
    (log.parent / "nowhere").symlink_to("missing.log")
    named = Globs([f"{log.parent}/latest", f"{log.parent}/nowhere"], excluded=tail.root / "state")

    assert [sighting.path for sighting in named.scan()] == [str(log)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.log", ["a.log"]),
        ("**/*.log", ["a.log", "d/b.log", "d/e/c.log"]),
        ("d/**", ["d/b.log", "d/e/c.log", "d/e/c.txt"]),
        ("**/e/*", ["d/e/c.log", "d/e/c.txt"]),
        ("d/?/[c].*", ["d/e/c.log", "d/e/c.txt"]),
        ("*/*.log", ["d/b.log"]),
        ("a.log", ["a.log"]),
        ("missing/**", []),
    ],
)
def test_globs_mean_what_a_shell_means(tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("a.log", "d/b.log", "d/e/c.log", "d/e/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    sightings = Globs([f"{tmp_path}/{pattern}"], excluded=tmp_path / "state").scan()

    assert sorted(os.path.relpath(sighting.path, tmp_path) for sighting in sightings) == found


def test_a_second_user_of_a_state_directory_is_refused(tail: Tail) -> None:
    with pytest.raises(ConfigError, match="another log-forwarder holds it"):
        Checkpoints(tail.root / "state")


def test_a_damaged_state_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.sqlite3").write_bytes(b"not a database" * 100)

    with pytest.raises(ConfigError, match="Cannot use the offsets"):
        Checkpoints(tmp_path)
