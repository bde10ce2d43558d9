"""500 short tasks over two queues, with workers drained, SIGTERMed idle and busy, and killed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from sidecar.testing.waiting import wait_until

from .workers import AIRFLOW_PYTHON, Stage, Worker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]

TASKS = 500
SECONDS = 0.4


def test_every_task_runs_exactly_once_except_those_whose_worker_was_killed_which_run_again(
    stage: Stage,
) -> None:
    with ExitStack() as stack:

        def start() -> Worker:
            return stack.enter_context(Worker(stage, "default", "heavy", concurrency=4, wait_seconds=2))

        def done(share: float) -> None:
            wait_until(lambda: len(stage.ended()) >= share * TASKS, f"{share:.0%}", deadline_seconds=120)

        idle, drained, terminated, killed = [start() for _ in range(4)]
        for worker in (idle, drained, terminated, killed):
            worker.ready()
        idle.terminate()
        stage.send(*[(number, SECONDS, ("default", "heavy")[number % 2]) for number in range(TASKS)])
        drained.order("cordon")
        done(0.1)
        survivor = start()
        drained.phase("quiet")
        quiet_runs = len(stage.rows(f"select 1 from runs where worker = '{drained.name}'"))  # noqa: S608  # our own name
        done(0.2)
        terminated.terminate()
        done(0.4)
        killed.kill()
        cut_short = {
            row[0]
            for row in stage.rows(
                f"select number from runs where worker = '{killed.name}' and ended is null"  # noqa: S608  # our own name
            )
        }
        assert cut_short, "the killed worker was to have tasks"
        survivor.ready()
        done(0.6)
        assert len(stage.rows(f"select 1 from runs where worker = '{drained.name}'")) == quiet_runs  # noqa: S608  # our own
        assert drained.order("work")["phase"] == "working"
        wait_until(lambda: len(stage.ended()) == TASKS, "all tasks", deadline_seconds=200)
        assert [idle.ended(), terminated.ended()] == [0, 0]
        wait_until(
            lambda: [stage.counts(queue) for queue in ("default", "heavy")] == [(0, 0), (0, 0)],
            "empty queues", deadline_seconds=120,
        )  # fmt: skip
    runs = stage.runs()
    # A task that ended, and whose message the killed worker could not delete any more, may run again as well:
    # all that the killed worker had in its hands, and nothing else.
    again = {number for number, times in runs.items() if times > 1}
    by_killed = {row[0] for row in stage.rows(f"select number from runs where worker = '{killed.name}'")}  # noqa: S608  # our own
    assert sorted(runs) == list(range(TASKS))
    assert cut_short <= again <= by_killed
    assert len(again) <= 4, "no more than its four slots"
    assert all(runs[number] == 2 for number in again)
