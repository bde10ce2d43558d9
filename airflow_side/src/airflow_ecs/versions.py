"""Which versions of Celery, kombu and the Celery provider lose tasks together, or do not start."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

MIN_KOMBU = (5, 7)
_BACKEND = "celery.backends.database"
_PROVIDER = "airflow.providers.celery.executors.celery_executor_utils"


def problems() -> list[str]:
    """Return what is wrong with the installed versions, with the remedy."""
    import celery  # type: ignore[import-not-found]  # noqa: PLC0415  # only where it is asked for
    import kombu  # type: ignore[import-not-found]  # noqa: PLC0415  # the same

    found = [
        kombu_problem(kombu.__version__),
        None if importlib.util.find_spec("pycurl") else pycurl_problem(),
        celery_problem(celery.__version__, provider_source=_provider_source(), has=_backend_has),
    ]
    return [problem for problem in found if problem]


def kombu_problem(version: str) -> str | None:
    """Return why a kombu cannot be used, None when it can."""
    if _numbers(version) >= MIN_KOMBU:
        return None
    return (
        f"kombu {version} leaves a message in flight, for hours, at every worker that stops"
        " (https://github.com/celery/celery/issues/10172): pip install 'kombu[sqs]>=5.7'"
    )


def pycurl_problem() -> str:
    """Return what to do when pycurl is not there."""
    return "pycurl is not installed, and kombu's SQS worker cannot do without: pip install 'kombu[sqs]>=5.7'"


def celery_problem(version: str, *, provider_source: str, has: Callable[[str], bool]) -> str | None:
    """Return why the Celery provider cannot be imported with a Celery, None when it can.

    Args:
        version: of Celery.
        provider_source: the provider's module that imports from Celery's database backend.
        has: says whether that backend has a name.
    """
    if _numbers(version) < (5, 7):
        return None
    wanted = [
        alias.name
        for node in ast.walk(ast.parse(provider_source))
        if isinstance(node, ast.ImportFrom) and node.module == _BACKEND
        for alias in node.names
    ]
    missing = [name for name in wanted if not has(name)]
    if not missing:
        return None
    return (
        f"the installed Celery provider imports {', '.join(missing)} of {_BACKEND}, which Celery"
        f" {version} has not:"
        " scheduler and workers would not start. pip install 'celery<5.7', or a newer provider"
    )


def _backend_has(name: str) -> bool:
    return hasattr(importlib.import_module(_BACKEND), name)


def _provider_source() -> str:
    spec = importlib.util.find_spec(_PROVIDER)
    return Path(spec.origin).read_text() if spec is not None and spec.origin else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
