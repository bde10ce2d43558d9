"""A DAG whose code says of which release it is; its second task waits until the test lets it go."""

from __future__ import annotations

import os
import time
from pathlib import Path

from airflow.sdk import dag, task  # type: ignore[import-not-found]  # of the Airflow image
from helpers.release import NAME  # type: ignore[import-not-found]  # it comes with the release


@dag(schedule=None)  # type: ignore[untyped-decorator]  # no types here
def release_dag() -> None:
    """Two tasks, one after the other."""

    @task  # type: ignore[untyped-decorator]  # the same
    def first() -> str:
        _note(f"first {NAME}")
        while not Path(os.environ["GO"]).exists():  # noqa: TID251  # its own environment
            time.sleep(0.2)  # noqa: TID251  # a task that waits
        return NAME  # type: ignore[no-any-return]  # it is text

    @task  # type: ignore[untyped-decorator]  # the same
    def second(name: str) -> None:
        from helpers.late import NAME as LATE  # type: ignore[import-not-found]  # noqa: PLC0415  # late on purpose

        _note(f"second {NAME} {LATE} {name}")

    second(first())


def _note(text: str) -> None:
    with open(os.environ["NOTES"], "a") as notes:  # noqa: PTH123, TID251  # one atomic append
        notes.write(f"{text}\n")


release_dag()
