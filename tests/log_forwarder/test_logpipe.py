"""logpipe as a user runs it: output in files and on its own output, signals, exit codes, a full disk."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from log_forwarder import logpipe
from log_forwarder.logpipe import Segments
from sidecar.testing.waiting import wait_until

from .world import World

SCRIPT = Path(logpipe.__file__)
MIB = 1024 * 1024


def start(directory: Path, *command: str, options: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            str(SCRIPT),
            "--directory",
            str(directory),
            "--name",
            "app",
            *options,
            "--",
            *command,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def content(directory: Path, output: str = "stdout") -> bytes:
    """Return what the segments of one output hold, in order."""
    return b"".join(path.read_bytes() for path in sorted(directory.glob(f"app.{output}.*")))


def test_both_outputs_are_in_files_and_on_our_own(tmp_path: Path) -> None:
    done = finish(start(tmp_path, "sh", "-c", "echo out; echo err >&2; printf unfinished"))
    assert done == (0, b"out\nunfinished", b"err\n")
    assert content(tmp_path) == b"out\nunfinished"
    assert content(tmp_path, "stderr") == b"err\n"
    assert all(path.name.endswith(".closed.log") for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("/no/such/program",), 127),
        (("/etc/hostname",), 126),
    ],
)
def test_the_exit_code_is_the_programs(tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    assert finish(start(tmp_path, *command))[0] == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program_and_its_last_words_are_kept(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = (
        "import os, signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: (os.write(1, b'last words\\n'), os._exit(5)))\n"
        "os.write(1, b'ready\\n')\n"
        "while True: signal.pause()\n"
    )
    process = start(tmp_path, sys.executable, "-c", program)
    wait_until(lambda: b"ready" in content(tmp_path), "it runs")
    process.send_signal(number)
    assert finish(process)[:2] == (5, b"ready\nlast words\n")
    assert content(tmp_path) == b"ready\nlast words\n"


def test_a_line_is_in_the_file_while_the_program_still_runs(tmp_path: Path) -> None:
    process = start(tmp_path, "sh", "-c", "printf 'no newline yet'; sleep 300")
    wait_until(lambda: content(tmp_path) == b"no newline yet", "the bytes")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


def test_a_program_that_leaves_children_behind_ends_all_the_same(tmp_path: Path) -> None:
    code, out, _ = finish(start(tmp_path, "sh", "-c", "sleep 300 & echo $!; exit 4"))
    os.kill(int(out), signal.SIGKILL)
    assert code == 4


def test_segments_end_with_a_line_and_their_sum_is_everything(tmp_path: Path) -> None:
    lines = 400_000
    code, out, _ = finish(start(tmp_path, "seq", str(lines), options=("--segment-mib", "1")))
    expected = b"".join(b"%d\n" % number for number in range(1, lines + 1))
    segments = sorted(tmp_path.glob("app.stdout.*"))
    assert code == 0
    assert out == expected
    assert content(tmp_path) == expected
    assert len(segments) >= 2
    assert all(path.read_bytes().endswith(b"\n") for path in segments)


def test_when_nobody_listens_to_our_output_the_files_go_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--directory",
            str(tmp_path / "b"),
            "--name",
            "app",
            "--",
            "seq",
            "1000",
        ],
        stdout=writing,
        timeout=30,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert content(tmp_path / "b").endswith(b"\n1000\n")


def test_a_directory_that_cannot_be_written_stops_the_files_and_not_the_program(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = finish(start(tmp_path / "file", "echo", "hello"))
    assert (code, out) == (0, b"hello\n")
    assert b"6 bytes of output are not in" in err


def test_a_full_disk_is_counted_and_told_in_the_file_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpipe, "_RETRY_BYTES", 10)
    segments = Segments(str(tmp_path), "app.stdout", segment_bytes=MIB, budget_bytes=MIB)
    segments.write(b"before\n")
    really_write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 3:
            return really_write(descriptor, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    segments.write(b"cut in the middle\n"[:6])
    monkeypatch.setattr(os, "write", really_write)
    segments.write(b"passed over\n")
    segments.write(b"after\n")
    segments.close()
    assert segments.not_written_bytes == 15
    assert content(tmp_path) == (
        b'before\ncut\n{"event":"logpipe_not_written","level":"error","bytes":15}\nafter\n'
    )


def test_the_budget_holds_when_nobody_removes_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpipe, "_RETRY_BYTES", 0)
    segments = Segments(str(tmp_path), "app.stdout", segment_bytes=100_000, budget_bytes=MIB)
    for _ in range(200):
        segments.write(b"x" * 9_999 + b"\n")
    assert len(content(tmp_path)) <= MIB
    assert len(content(tmp_path)) + segments.not_written_bytes == 2_000_000
    for path in tmp_path.glob("*.closed.log"):
        path.unlink()
    segments.write(b"there is room again\n")
    segments.close()
    assert content(tmp_path).endswith(b"there is room again\n")


def test_what_a_killed_logpipe_left_open_is_closed_by_the_next_and_a_living_ones_is_not(
    tmp_path: Path,
) -> None:
    process = start(tmp_path, "sh", "-c", "echo one; exec sleep 300")
    wait_until(lambda: content(tmp_path) == b"one\n", "it writes")
    assert finish(start(tmp_path, "echo", "two"))[0] == 0
    assert (tmp_path / "app.stdout.000001.log").exists()
    process.kill()
    finish_killed(process)
    assert finish(start(tmp_path, "echo", "three"))[0] == 0
    assert not (tmp_path / "app.stdout.000001.log").exists()
    assert content(tmp_path) == b"one\ntwo\nthree\n"


def finish_killed(process: subprocess.Popen[bytes]) -> None:
    """Close our ends; its child ends by itself when it writes next, or is ended here."""
    process.wait(10)
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize(
    "words", [[], ["--"], ["ls"], ["--name", "a/b", "--", "ls"], ["--segment-mib", "0", "--", "ls"]]
)
def test_a_bad_command_line_says_how_it_is_used(words: list[str]) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, timeout=30, check=False)
    assert done.returncode == 2
    assert b"usage: logpipe" in done.stderr


def test_it_imports_almost_nothing() -> None:
    """What makes it start in a few hundredths of a second, and run in any image."""
    tree = ast.parse(SCRIPT.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"errno", "fcntl", "os", "select", "signal", "sys", "time"}


def test_the_forwarder_ships_segments_and_removes_the_closed_ones(world: World, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    world.start(TAIL="", LOGPIPE=f'["{pipe}"]')
    running = start(pipe, "sh", "-c", "echo running; sleep 300")
    assert finish(start(pipe, "seq", "200000", options=("--segment-mib", "1", "--name", "short")))[0] == 0

    def shipped() -> list[str]:
        return [envelope["message"] for envelope in world.envelopes() if "message" in envelope]

    wait_until(lambda: len(shipped()) >= 200_001, "all lines", deadline_seconds=40)
    assert set(shipped()) == {"running", *map(str, range(1, 200_001))}
    wait_until(
        lambda: not list(pipe.glob("*.closed.log")), "closed segments are removed", deadline_seconds=40
    )
    assert [path.name for path in pipe.iterdir()] == ["app.stdout.000001.log"]
    running.send_signal(signal.SIGTERM)
    finish(running)


def test_a_disk_with_room_again_is_tried_after_a_second_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last words of a quiet program are less than a mebibyte."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    directory = tmp_path / "away"
    directory.write_text("a file is in the way")
    segments = Segments(str(directory), "app.stdout", segment_bytes=MIB, budget_bytes=16 * MIB)
    segments.write(b"lost\n")
    directory.unlink()
    segments.write(b"lost, too soon\n")
    now = 1.1
    segments.write(b"back again\n")
    assert content(directory).endswith(b'"bytes":20}\nback again\n')
    segments.end()

    directory = tmp_path / "later"
    directory.write_text("a file is in the way")
    segments = Segments(str(directory), "app.stdout", segment_bytes=MIB, budget_bytes=16 * MIB)
    segments.write(b"lost\n")
    directory.unlink()
    segments.end()
    assert b'"logpipe_not_written","level":"error","bytes":5' in content(directory)


def test_a_segment_that_took_nothing_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    segments = Segments(str(tmp_path), "app.stdout", segment_bytes=MIB, budget_bytes=16 * MIB)
    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        segments.write(b"lost\n")
    segments.close()
    assert list(tmp_path.iterdir()) == []


def test_it_ends_soon_after_the_program_though_a_child_goes_on_writing(tmp_path: Path) -> None:
    process = start(
        tmp_path, "sh", "-c", "(while :; do echo still here || exit; sleep 0.05; done) & echo done"
    )
    assert process.wait(30) == 0
    assert b"done\n" in content(tmp_path)
    finish_killed(process)


def test_what_keeps_output_from_the_files_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = start(tmp_path / "file" / "pipe", "sh", "-c", "echo hello; exec sleep 300")
    assert process.stderr is not None
    assert b"Not a directory" in process.stderr.readline()  # while the program still runs
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    finish_killed(process)


def test_an_output_that_does_not_block_gets_everything(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [sys.executable, str(SCRIPT), "--directory", str(tmp_path), "--", "seq", "100000"]
    process = subprocess.Popen(command, stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        wait_until(lambda: process.poll() is not None or _is_full(pipe.fileno()), "the pipe is full")
        said = pipe.read()
    assert process.wait(30) == 0
    assert said.splitlines()[-1] == b"100000"
    assert said.count(b"\n") == 100_000


def _is_full(reading: int) -> bool:
    return int.from_bytes(fcntl.ioctl(reading, termios.FIONREAD, b"\0" * 4), sys.byteorder) >= 60_000
