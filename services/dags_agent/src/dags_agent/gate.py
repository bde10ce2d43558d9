"""The gate before a publish: what would break every DAG at once does not become live."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dags_agent.errors import Reason, Refused

# Far more than the worker lets any reason be.
_LINE_BYTES_MAX = 1 << 20
_WORKER = Path(__file__).with_name("compile_worker.py")


# What the worker says of itself, or of the disk, and not of the file.
_PASSING = ("MemoryError:", "OSError:", "PermissionError:", "FileNotFoundError:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A file that does not compile; line 0 is not known.

    Attributes:
        is_certain: whether the file itself is to blame, and not what happened to the compiler.
    """

    path: str
    line: int
    why: str
    is_certain: bool


async def refuse_what_does_not_compile(tree: Path, paths: Sequence[str], *, timeout_seconds: float) -> None:
    """Compile these files as this Python understands them, in a child process; nothing is imported or run.

    Syntax newer than this Python is refused, although the readers' Python might take it: run the agent
    on a Python at least as new as Airflow's.

    Raises:
        Refused: naming the first file and line that does not compile, and how many more there are; not
            certain when the compiler was killed, too slow, or out of memory.
    """
    broken = await _broken(tree, paths, timeout_seconds)
    if broken is None:
        return
    first, others = broken[0], len(broken) - 1
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    at = f"line {first.line}: " if first.line else ""
    more = f"; {others} more file{'s' if others > 1 else ''} like it" if others else ""
    raise Refused(
        Reason.DOES_NOT_COMPILE,
        f"{first.path} does not compile",
        why=f"{at}{first.why} (Python {minor}){more}",
        remedy="Upload a file that does; the live release stays",
        path=first.path,
        line=first.line,
        is_certain=any(each.is_certain for each in broken),
    )


async def _broken(tree: Path, paths: Sequence[str], timeout_seconds: float) -> list[Broken] | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", str(_WORKER)),
        cwd=tree,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LINE_BYTES_MAX,
    )
    names = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
    output: list[bytes] = []
    is_late = False
    try:
        async with asyncio.timeout(timeout_seconds), asyncio.TaskGroup() as group:
            group.create_task(_feed(process, names))
            group.create_task(_collect(process, output))
    except TimeoutError:
        is_late = True
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
    broken, last = _understood(output, paths)
    if is_late:
        broken.append(
            Broken(
                path=last,
                line=0,
                why=f"compiling it was not done within {timeout_seconds:g} s",
                is_certain=False,
            )
        )
    elif code != 0:
        why = f"the compiler died of it (exit {code})"
        broken.append(Broken(path=last, line=0, why=why, is_certain=False))
    return broken or None


async def _feed(process: asyncio.subprocess.Process, names: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(names)
        await process.stdin.drain()
    process.stdin.close()


async def _collect(process: asyncio.subprocess.Process, output: list[bytes]) -> None:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    while line := await process.stdout.readline():
        output.append(line)
    await process.wait()


def _understood(output: Sequence[bytes], paths: Sequence[str]) -> tuple[list[Broken], str]:
    """Return what is broken, and the file that was being compiled last."""
    broken, last = [], paths[0]
    for text in output:
        number, _, rest = text.decode("utf-8", "replace").rstrip("\n").partition(" ")
        last = paths[int(number)]
        if rest:
            line, _, why = rest.partition(" ")
            is_certain = not why.startswith(_PASSING)
            broken.append(Broken(path=last, line=int(line), why=why, is_certain=is_certain))
    return broken, last
