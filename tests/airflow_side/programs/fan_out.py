"""Short tasks over two queues; each writes one line when it begins."""

from __future__ import annotations

import os
import time

from airflow.sdk import dag, task  # type: ignore[import-not-found]  # of the Airflow image

TASKS = 12


@dag(schedule=None)  # type: ignore[untyped-decorator]  # no types here
def fan_out() -> None:
    """Run tasks side by side."""

    @task  # type: ignore[untyped-decorator]  # the same
    def note(number: int) -> None:
        with open(os.environ["NOTES"], "a") as notes:  # noqa: PTH123, TID251  # one atomic append; its own environment
            notes.write(f"{number}\n")
        time.sleep(2)  # noqa: TID251  # what short tasks do

    for number in range(TASKS):
        note.override(task_id=f"note_{number}", queue=("default", "heavy")[number % 2])(number)


fan_out()
