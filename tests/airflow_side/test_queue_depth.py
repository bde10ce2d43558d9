"""The queue depth's document: the contract's example, and what the rows of the database make of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_ecs.queue_depth import Row, document

EXAMPLE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "contracts" / "examples" / "queue_depth.json").read_text()
)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def row(state: str, tasks: int = 1, **given: Any) -> Row:
    return Row(
        **{
            "queue": "default", "executor": None, "hostname": "", "oldest_queued_at": None,
            "state": state, "tasks": tasks, **given,
        }
    )  # fmt: skip


def test_the_document_is_the_example_of_the_contract() -> None:
    rows = [
        row("queued", 2, oldest_queued_at=NOON - timedelta(seconds=4.2)),
        row("queued", 1, executor="CeleryExecutor", oldest_queued_at=NOON - timedelta(seconds=1)),
        row("running", 2, hostname="10.0.4.168"),
        row("scheduled", 5),
    ]
    assert document(rows, observed_at=NOON) == EXAMPLE


def test_a_restarting_task_is_busy_and_one_of_another_executor_is_none() -> None:
    rows = [
        row("restarting", hostname="a"),
        row("running", hostname="a"),
        row("running", hostname="b", executor="airflow.executors.local_executor.LocalExecutor"),
        row("queued", executor="KubernetesExecutor", queue="k8s"),
    ]
    found = document(rows, observed_at=NOON)["queues"]
    assert found.keys() == {"default"}
    assert found["default"]["busy_hosts"] == {"a": 2}
    assert (found["default"]["running"], found["default"]["restarting"]) == (1, 1)


def test_no_task_at_all_is_complete_and_empty() -> None:
    assert document([], observed_at=NOON) == {**EXAMPLE, "queues": {}}


def test_a_task_that_was_queued_by_a_faster_clock_has_waited_no_time() -> None:
    rows = [row("queued", oldest_queued_at=NOON + timedelta(seconds=3))]
    assert document(rows, observed_at=NOON)["queues"]["default"]["oldest_queued_age_seconds"] == 0
