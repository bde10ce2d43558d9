"""XComs through the real task runner: JSON, bytes, a file, mapped tasks, a retry, a deferral."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger  # type: ignore[import-not-found]  # the image
from airflow.sdk import BaseOperator, dag, task  # type: ignore[import-not-found]  # of the Airflow image


class Deferring(BaseOperator):  # type: ignore[misc]  # Any, here
    """Pushes before it defers, and returns after it."""

    def execute(self, context: Any) -> None:
        """Push and wait in the triggerer."""
        context["ti"].xcom_push(key="before", value={"kept": True})
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> Any:
        """Return what was pushed before."""
        return context["ti"].xcom_pull(task_ids=self.task_id, key="before")


@dag(schedule=None)  # type: ignore[untyped-decorator]  # no types here
def xcom_dag() -> None:
    """Each task says what it got."""

    @task  # type: ignore[untyped-decorator]  # the same
    def numbers() -> list[int]:
        return [1, 2, 3]

    @task  # type: ignore[untyped-decorator]  # the same
    def double(number: int) -> int:
        return number * 2

    @task  # type: ignore[untyped-decorator]  # the same
    def raw() -> bytes:
        return b"\x00airflow"

    @task  # type: ignore[untyped-decorator]  # the same
    def file() -> Path:
        path = Path(os.environ["NOTES"]).with_name("report.txt")  # noqa: TID251  # its own environment
        path.write_text("a report")
        return path

    @task(retries=1, retry_delay=timedelta(0))  # type: ignore[untyped-decorator]  # the same
    def again(ti: Any = None) -> int:
        ti.xcom_push(key="try", value=ti.try_number)
        if ti.try_number == 1:
            raise RuntimeError("the first try fails")
        return int(ti.xcom_pull(task_ids="again", key="try"))

    @task  # type: ignore[untyped-decorator]  # the same
    def tell(doubled: Any, raw_value: bytes, path: Path, tries: int, deferred: Any) -> None:
        found = [sorted(doubled), raw_value, path.read_text(), tries, deferred]
        with open(os.environ["NOTES"], "a") as notes:  # noqa: PTH123, TID251  # one atomic append
            notes.write(f"{found}\n")

    deferring = Deferring(task_id="deferring")
    tell(double.expand(number=numbers()), raw(), file(), again(), deferring.output)


xcom_dag()
