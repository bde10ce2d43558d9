"""Compile files in a process of its own; run by :mod:`dags_agent.gate` as a script, standard library only.

A file can take a compiler down with it (deep nesting, a literal of a gigabyte): here that costs a child.
Reads paths, each ended by NUL, from stdin, relative to the working directory. Writes a line with the number
of each file before it compiles it, and a line ``<number> <line> <why>`` for one that does not.
"""

from __future__ import annotations

import io
import resource
import sys
import warnings

_MEMORY_BYTES = 2 << 30
_WHY_CHARACTERS_MAX = 500  # the message of a SyntaxError may quote a name of any length


def problem_of(path: str) -> tuple[int, str] | None:
    """Return the line and the reason why a file does not compile; None when it does. Line 0 is not known."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs a third of this process's start
            compile(file.read(), path.rpartition("/")[2], "exec", dont_inherit=True)
    except SyntaxError as err:
        return err.lineno or 0, err.msg
    except (OSError, ValueError, RecursionError, MemoryError, OverflowError) as err:
        return 0, f"{type(err).__name__}: {err}"
    return None


def main() -> None:
    """Compile what stdin names."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    warnings.simplefilter("ignore")  # an odd escape sequence is no reason to refuse
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    names = sys.stdin.buffer.read().split(b"\0")[:-1]
    for number, name in enumerate(names):
        print(number, flush=True)  # noqa: T201 - its protocol
        problem = problem_of(name.decode("utf-8", "surrogateescape"))
        if problem:
            line, why = problem
            why = " ".join(why.split())[:_WHY_CHARACTERS_MAX]
            print(number, line, why, flush=True)  # noqa: T201 - its protocol


if __name__ == "__main__":
    main()
