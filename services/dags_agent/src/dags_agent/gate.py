"""The gate before a publish: what would break every DAG at once does not become live."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from dags_agent.errors import Reason, Refused


def refuse_what_does_not_compile(tree: Path, paths: Sequence[str]) -> None:
    """Compile these files as this process's Python understands them; nothing is imported or run.

    Syntax newer than this Python is refused, although the readers' Python might take it: run the agent
    on a Python at least as new as Airflow's.

    Raises:
        Refused: naming the first file and line that does not compile.
    """
    for path in paths:
        why = _why_not(tree / path)
        if why:
            minor = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise Refused(
                Reason.DOES_NOT_COMPILE,
                f"{path} does not compile",
                why=f"{why} (Python {minor})",
                remedy="Upload a file that does; the live release stays",
            )


def _why_not(file: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape sequence is no reason to refuse
        try:
            compile(file.read_bytes(), file.name, "exec", dont_inherit=True)
        except SyntaxError as err:
            return f"line {err.lineno}: {err.msg}" if err.lineno else err.msg
        except (ValueError, RecursionError, MemoryError, OverflowError) as err:
            return f"{type(err).__name__}: {err}"
    return ""
