"""The past and the runs to come, read from Airflow's tables; and a trace of them that tells no names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.postgres import Database
from sidecar.secrets import Secret
from worker_scaler.executors import Executors
from worker_scaler.history import Durations, History, TaskName
from worker_scaler.sources.history import DatabaseHistory
from worker_scaler.sources.trace_export import export_trace
from worker_scaler.trace import read_trace, write_trace

from .airflow_tables import Airflow, airflow, role

pytestmark = pytest.mark.integration
__all__ = ["airflow", "role"]  # fixtures


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


def machine_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is


def database_of(url: str) -> Database:
    return Database(Secret(literal=url, read=no_secrets), application_name="test")


def past_run(airflow: Airflow, number: int, *, width: int, ago: timedelta, seconds: float) -> None:
    """One run of DAG "d": a first stage of ``width`` tasks on "heavy", and one task after them on "light"."""
    begin, run_id = machine_now() - ago, f"run{number}"
    airflow.insert(
        "dag_run", dag_id="d", run_id=run_id, run_type="scheduled", state="success", start_date=begin
    )
    given = {"dag_id": "d", "run_id": run_id, "duration": seconds}
    for place in range(width):
        airflow.task("success", task_id="first", map_index=place, scheduled_dttm=begin, **given)
    airflow.task(
        "success", task_id="last", queue="light", scheduled_dttm=begin + timedelta(minutes=5), **given
    )


def test_durations_and_the_width_of_the_first_stage_come_from_past_runs(airflow: Airflow) -> None:
    for number, width in enumerate([2, 4, 9]):
        past_run(airflow, number, width=width, ago=timedelta(hours=number + 1), seconds=10.0 * (number + 1))
    past_run(airflow, 99, width=50, ago=timedelta(days=30), seconds=9999)
    soon = machine_now() + timedelta(minutes=3)
    airflow.insert("dag", dag_id="d", is_paused=False, is_stale=False, next_dagrun_create_after=soon)
    airflow.insert("dag", dag_id="paused", is_paused=True, is_stale=False, next_dagrun_create_after=soon)
    airflow.insert("dag", dag_id="gone", is_paused=False, is_stale=True, next_dagrun_create_after=soon)

    read = DatabaseHistory(database_of(airflow.url), days=7).read()

    last = read.durations[TaskName(dag_id="d", task_id="last")]
    assert (last.samples, last.seconds[0], last.at(0.5), last.seconds[-1]) == (3, 10.0, 20.0, 30.0)
    (run,) = read.next_runs
    assert (run.dag_id, run.at) == ("d", soon)
    assert (dict(run.width), dict(run.width_max)) == ({"heavy": 4}, {"heavy": 9})


def test_the_next_runs_alone_are_read_again_and_keep_their_widths(airflow: Airflow) -> None:
    past_run(airflow, 1, width=3, ago=timedelta(hours=1), seconds=1)
    soon = machine_now() + timedelta(minutes=3)
    airflow.insert("dag", dag_id="d", is_paused=False, is_stale=False, next_dagrun_create_after=soon)
    source = DatabaseHistory(database_of(airflow.url), days=7)
    known = source.read()
    airflow.run("UPDATE dag SET next_dagrun_create_after = next_dagrun_create_after + interval '5 minutes'")
    airflow.run("TRUNCATE dag_run")

    again = source.next_runs(known)

    assert [run.at for run in again.next_runs] == [soon + timedelta(minutes=5)]
    assert again.next_runs[0].width == {"heavy": 3}
    assert again.durations == known.durations


def test_what_follows_the_first_stage_comes_from_past_runs(airflow: Airflow) -> None:
    for number, (width, minutes) in enumerate([(2, 4), (7, 5), (8, 9)]):
        past_run(airflow, number, width=1, ago=timedelta(hours=number + 1), seconds=10)
        begin = machine_now() - timedelta(hours=number + 1) + timedelta(minutes=minutes)
        given = {"dag_id": "d", "run_id": f"run{number}", "task_id": "mapped", "duration": 1.0}
        for place in range(width):
            airflow.task("success", map_index=place, scheduled_dttm=begin, **given)
        airflow.task(
            "success", map_index=99, scheduled_dttm=begin + timedelta(seconds=40), **given
        )  # not together with the others
    soon = machine_now() + timedelta(minutes=3)
    airflow.insert("dag", dag_id="d", is_paused=False, is_stale=False, next_dagrun_create_after=soon)
    source = DatabaseHistory(database_of(airflow.url), days=7)

    read = source.read()

    (run,) = read.next_runs
    assert {(wave.task_id, wave.queue, wave.tasks) for wave in run.waves} == {
        ("last", "light", 1),
        ("mapped", "heavy", 7),
    }
    assert [wave.after_seconds for wave in run.waves] == [pytest.approx(300, abs=5)] * 2
    assert source.next_runs(read).next_runs == read.next_runs


def test_a_role_that_may_read_no_history_has_an_empty_one(airflow: Airflow, role: tuple[str, str]) -> None:
    read = DatabaseHistory(database_of(role[1]), days=7).read()

    assert read == History(taken_at=read.taken_at)
    assert read.taken_at is not None


def test_an_exported_trace_holds_times_and_no_names(airflow: Airflow) -> None:
    past_run(airflow, 1, width=2, ago=timedelta(hours=12), seconds=30)
    airflow.task(
        "success",
        dag_id="d",
        run_id="run1",
        task_id="elsewhere",
        executor="LocalExecutor",
        duration=1.0,
        scheduled_dttm=machine_now(),
    )

    trace = export_trace(database_of(airflow.url), days=1, executors=Executors())

    assert [(task.runs_seconds, task.queue, task.dag, task.task, task.run) for task in trace.tasks] == [
        (30.0, "q1", "d1", "t1", "r1"),
        (30.0, "q1", "d1", "t1", "r1"),
        (30.0, "q2", "d1", "t2", "r1"),
    ]
    assert trace.tasks[0].ready_seconds == pytest.approx(12 * 3600, abs=60)
    assert trace.tasks[2].ready_seconds - trace.tasks[0].ready_seconds == pytest.approx(300)
    text = "".join(write_trace(trace))
    assert not any(name in text for name in ("heavy", "light", "first", "last", "run1"))
    assert len(read_trace(text.splitlines()).tasks) == 3


def test_a_duration_is_kept_at_every_quantile(airflow: Airflow) -> None:
    past_run(airflow, 1, width=1, ago=timedelta(hours=1), seconds=7)

    read = DatabaseHistory(database_of(airflow.url), days=7).read()

    assert read.durations[TaskName(dag_id="d", task_id="first")] == Durations(samples=1, seconds=(7.0,) * 9)
