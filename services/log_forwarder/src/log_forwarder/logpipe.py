r"""Run a program, and keep what it says in files as well as on our own output.

``logpipe --directory /logs/pipe -- airflow scheduler``

On Fargate a container's output goes to a log driver that throws its queue away when the container ends: the
last lines, those that say why, are lost. A file on the task's shared volume is not. This writes each
output into segments there, which the forwarder tails, and removes once they are shipped::

    <name>.stdout.000001.closed.log      <name>.stdout.000002.log      <name>.stderr.000001.log

It needs nothing but the standard library, so this one file can be copied into any image and run as
``python3 logpipe.py -- COMMAND``; it starts in a few hundredths of a second.

- A line is in the file and on our output as soon as it is read; nothing is buffered here.
- Signals go to the program. As the first process of a container it also collects orphans.
- The exit code is the program's, 128 + n when signal n ended it; 127 not found, 126 not executable.
- A full disk, or a full budget, stops the files and never the program: its lines still reach our output,
  what is missing from the files is counted, said in the file when there is room again, and at the end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import time

_USAGE = """\
usage: logpipe [--directory DIR] [--name NAME] [--segment-mib N] [--budget-mib N] -- COMMAND [ARG...]

Runs COMMAND; writes its output to segment files in DIR (default /var/log/logpipe) and to its own output.
"""
_MIB = 1024 * 1024
_READ_BYTES = 64 * 1024  # a pipe holds no more
_LAST_WAIT_MILLISECONDS = 250  # after the program's end: for what its children still write
_LAST_WORDS_SECONDS = 5.0  # and no longer: who goes on writing then is not waited for
_RETRY_BYTES = _MIB  # how much passes by before a full disk is tried again, or
_RETRY_SECONDS = 1.0
_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
_NOT_FOUND, _NOT_EXECUTABLE, _BAD_USAGE = 127, 126, 2
_OPEN, _CLOSED = ".log", ".closed.log"


class Options:
    """The command line. Not a dataclass: importing those takes longer than all the rest."""

    def __init__(self) -> None:
        self.directory = "/var/log/logpipe"
        self.name = ""
        self.segment_bytes = 8 * _MIB
        self.budget_bytes = 256 * _MIB
        self.command: list[str] = []


def parse(words: list[str]) -> Options | None:
    """Read the command line; None when it cannot be understood."""
    options = Options()
    at = 0
    while at + 1 < len(words) and words[at] != "--":
        name, value = words[at], words[at + 1]
        if name == "--directory":
            options.directory = value
        elif name == "--name" and "/" not in value:
            options.name = value
        elif name in ("--segment-mib", "--budget-mib") and value.isdecimal() and int(value) > 0:
            setattr(options, name[2:].replace("-mib", "_bytes"), int(value) * _MIB)
        else:
            return None
        at += 2
    if words[at : at + 1] != ["--"] or not words[at + 1 :]:
        return None
    options.command = words[at + 1 :]
    options.name = options.name or _name_of(options.command)
    return options


def _name_of(command: list[str]) -> str:
    """Return e.g. ``airflow-scheduler`` for ``/usr/bin/airflow scheduler --pid …``."""
    words = [os.path.basename(command[0]), *command[1:2]]  # noqa: PTH119 - pathlib takes longer to import than all of this
    return "-".join(
        "".join(c if c.isalnum() or c in "._" else "-" for c in word).strip("-") for word in words
    )


class Segments:
    """One output's files. What cannot be written is counted.

    Args:
        directory: where.
        name: how they begin: the program, and which output.
        segment_bytes: when a segment is closed and the next begun, at the end of a line; at twice as much in
            the middle of one.
        budget_bytes: the most that this output's segments may take; what is shipped is removed by others.
    """

    def __init__(self, directory: str, name: str, *, segment_bytes: int, budget_bytes: int) -> None:
        self._directory = directory
        self._name = name
        self._segment_bytes = min(segment_bytes, budget_bytes // 4)
        self._budget_bytes = budget_bytes
        self._descriptor = -1
        self._path = ""
        self._size_bytes = 0
        self._is_in_a_line = False
        self._skips_bytes = 0
        self._skips_until = 0.0
        self._why = 0
        self.not_written_bytes = 0
        self._untold_bytes = 0

    def write(self, data: bytes) -> None:
        """Append; never raises for a disk that does not take it."""
        if self._skips_bytes > 0 and time.monotonic() < self._skips_until:
            self._skips_bytes -= len(data)
            self._count(len(data))
            return
        written = 0
        try:
            self._make_ready(len(data))
            if self._untold_bytes:
                self._tell()
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            self._why = 0
        except OSError as err:
            self._skips_bytes = _RETRY_BYTES
            self._skips_until = time.monotonic() + _RETRY_SECONDS
            self._count(len(data) - written)
            self._complain(err)
        self._size_bytes += written
        if written:
            self._is_in_a_line = data[written - 1 : written] != b"\n"
        is_full = self._size_bytes >= self._segment_bytes
        if is_full and (not self._is_in_a_line or self._size_bytes >= 2 * self._segment_bytes):
            self.close()

    def close(self) -> None:
        """Close the segment and say so in its name; the forwarder may remove it once it is shipped."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if not self._size_bytes:
                os.unlink(self._path)  # noqa: PTH108 - see above
                return
            os.rename(self._path, self._path[: -len(_OPEN)] + _CLOSED)  # noqa: PTH104 - see above
        except OSError:
            pass  # it is shipped all the same, and removed by hand
        finally:
            os.close(descriptor)

    def _count(self, missing_bytes: int) -> None:
        self.not_written_bytes += missing_bytes
        self._untold_bytes += missing_bytes

    def _complain(self, err: OSError) -> None:
        """Say once for each reason, and at once, why output is not in files."""
        if err.errno != self._why:
            self._why = err.errno or 0
            _say(f"logpipe: output is not in {self._directory}: {err.strerror}; it will be tried again")

    def end(self) -> None:
        """Say what is missing if that is possible by now, then close."""
        if self._untold_bytes:
            self._skips_bytes = 0
            self.write(b"")
        self.close()

    def _tell(self) -> None:
        """Say in the log what is missing from it."""
        begin = b"\n" if self._is_in_a_line else b""
        line = b'%b{"event":"logpipe_not_written","level":"error","bytes":%d}\n' % (begin, self._untold_bytes)
        if os.write(self._descriptor, line) == len(line):
            self._size_bytes += len(line)
            self._untold_bytes = 0
            self._is_in_a_line = False

    def _make_ready(self, wanted_bytes: int) -> None:
        """Begin a segment if there is none.

        Raises:
            OSError: it cannot be made, or the budget is used up.
        """
        if self._descriptor >= 0:
            return
        os.makedirs(self._directory, exist_ok=True)  # noqa: PTH103 - see above
        number, taken_bytes = self._survey()
        if taken_bytes + self._segment_bytes + wanted_bytes > self._budget_bytes:
            raise OSError(errno.EDQUOT, "the budget is used up")
        self._path = f"{self._directory}/{self._name}.{number + 1:06d}{_OPEN}"
        self._descriptor = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._size_bytes = 0
        self._is_in_a_line = False

    def _survey(self) -> tuple[int, int]:
        """Return our highest number and how much our segments take; close what a killed logpipe left open."""
        highest = taken_bytes = 0
        for entry in os.scandir(self._directory):
            if not entry.name.startswith(f"{self._name}.") or not entry.name.endswith(_OPEN):
                continue
            number = entry.name[len(self._name) + 1 :].split(".")[0]
            if not number.isdecimal():
                continue
            highest = max(highest, int(number))
            try:
                taken_bytes += entry.stat().st_size
                if not entry.name.endswith(_CLOSED):
                    _close_if_orphaned(entry.path)
            except OSError:
                continue  # the forwarder removed it meanwhile
        return highest, taken_bytes


def _close_if_orphaned(path: str) -> None:
    """Close a segment that no living logpipe writes to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(path, path[: -len(_OPEN)] + _CLOSED)  # noqa: PTH104 - see above
    finally:
        os.close(descriptor)


class Output:
    """One of the program's outputs: its pipe, our own descriptor of that number, and its segments."""

    def __init__(self, number: int, segments: Segments) -> None:
        self.number = number
        self.reading, self.writing = os.pipe()
        self.segments = segments
        self._is_heard = True

    def pass_on(self) -> bool:
        """Move what is there; return False at its end. The file comes first: our own output may be slow."""
        data = os.read(self.reading, _READ_BYTES)
        if not data:
            return False
        self.segments.write(data)
        while data and self._is_heard:
            try:
                data = data[os.write(self.number, data) :]
            except BlockingIOError:  # whoever gave it to us made it so
                _wait_until_writable(self.number)
            except OSError:
                self._is_heard = False  # who listened is gone; the files are still there
        return True


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse(sys.argv[1:])
    if options is None:
        os.write(2, _USAGE.encode())
        return _BAD_USAGE
    return run(options)


def run(options: Options) -> int:
    """Run the program to its end; return its exit code."""
    outputs = [
        Output(
            number,
            Segments(
                options.directory,
                f"{options.name}.{spelled}",
                segment_bytes=options.segment_bytes,
                budget_bytes=options.budget_bytes // 2,
            ),
        )
        for number, spelled in ((1, "stdout"), (2, "stderr"))
    ]
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    child = _start(options.command, outputs)
    for output in outputs:
        os.close(output.writing)
    status = _serve(child, outputs, waking)
    missing_bytes = 0
    for output in outputs:
        output.segments.end()
        missing_bytes += output.segments.not_written_bytes
    if missing_bytes:
        _say(f"logpipe: {missing_bytes} bytes of output are not in {options.directory}")
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _start(command: list[str], outputs: list[Output]) -> int:
    """Start the program in a process group of its own, so that each signal reaches it once."""
    signals = {getattr(signal, name) for name in (*_FORWARDED, "SIGCHLD")}
    signal.pthread_sigmask(
        signal.SIG_BLOCK, signals
    )  # one that comes now is for the program, and waits for it
    child = os.fork()
    if child:
        for number in signals:
            signal.signal(number, lambda received, _frame: _forward(child, received))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return child
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        for output in outputs:
            os.dup2(output.writing, output.number)
        os.execvp(command[0], command)  # noqa: S606 - running a command is what this is for
    except OSError as err:
        _say(f"logpipe: cannot run {command[0]}: {err.strerror}")
        os._exit(_NOT_FOUND if err.errno == errno.ENOENT else _NOT_EXECUTABLE)


def _serve(child: int, outputs: list[Output], waking: int) -> int:
    """Pass output and signals on until the program has ended and said everything; return its status."""
    poll = select.poll()
    poll.register(waking, select.POLLIN)
    open_outputs = {output.reading: output for output in outputs}
    for reading in open_outputs:
        poll.register(reading, select.POLLIN)
    status: int | None = None
    ends_at = 0.0
    while status is None or (open_outputs and time.monotonic() < ends_at):
        ready = poll.poll(None if status is None else _LAST_WAIT_MILLISECONDS)
        if not ready:
            break  # it has ended, and whoever still holds its output is silent
        for descriptor, _ in ready:
            output = open_outputs.get(descriptor)
            if output is None:
                _empty(waking)
            elif not output.pass_on():
                poll.unregister(descriptor)
                del open_outputs[descriptor]
        if status is None and (status := _reap(child, None)) is not None:
            ends_at = time.monotonic() + _LAST_WORDS_SECONDS
        else:
            _reap(child, status)
    return status if status is not None else 0


def _forward(child: int, number: int) -> None:
    """Pass a signal on at once: our own output may be slow, and we in the middle of writing to it."""
    if number == signal.SIGCHLD:
        return
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        try:
            os.kill(child, number)  # it has not made its group yet
        except ProcessLookupError:
            return


def _reap(child: int, status: int | None) -> int | None:
    """Collect every child that has ended, orphans too; return the program's status once it is known."""
    while True:
        try:
            process, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if not process:
            return status
        if process == child:
            status = ended


def _empty(descriptor: int) -> None:
    try:
        os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return


def _say(text: str) -> None:
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main())
