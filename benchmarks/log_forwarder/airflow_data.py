# ruff: noqa: SIM905 - scripts of one folder, started by path; words
"""Airflow-shaped task logs, from a seed: JSON lines of 239 bytes on average, each with its number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

WORDS = (
    "Executing task on worker queued downstream upstream partition loaded rows from table staging warehouse "
    "connection retry attempt finished in seconds with status success skipped checking dependency schedule "
    "interval dataset bucket key prefix object written bytes validated schema column null count"
).split()
LOGGERS = ("airflow.task", "task.stdout", "airflow.providers.amazon.aws.hooks.s3", "task.stderr", "root")
BLOCK_LINES = 5_000


def lines(numbers: range, seed: int) -> Iterator[bytes]:
    """Yield blocks of lines, the ``seq`` of each from ``numbers``."""
    rng = random.Random(seed)
    events = [" ".join(rng.choices(WORDS, k=rng.randint(6, 18))) for _ in range(2000)]
    for first in range(numbers.start, numbers.stop, BLOCK_LINES):
        block = []
        for number in range(first, min(first + BLOCK_LINES, numbers.stop)):
            event = events[rng.randrange(2000)]
            logger = LOGGERS[number % 5]
            clock = f"{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
            block.append(
                f'{{"timestamp":"2026-11-22T{clock}.{rng.randrange(1_000_000):06d}Z",'
                f'"level":"info","event":"{event}","seq":{number},"logger":"{logger}",'
                f'"filename":"task_runner.py","lineno":{rng.randrange(2000)}}}\n'
            )
        yield "".join(block).encode()


def task_path(root: Path, number: int) -> Path:
    """Return where Airflow writes the log of task ``number``."""
    return (
        root
        / f"dag_id=etl_{number % 50:03d}"
        / f"run_id=scheduled__2026-11-{1 + number // 1000 % 28:02d}T00:00:00+00:00"
        / f"task_id=load_{number // 50:06d}"
        / "attempt=1.log"
    )


def write_file(path: Path, numbers: range, seed: int = 1) -> int:
    """Write one file; return its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        return sum(file.write(block) for block in lines(numbers, seed))
