"""A worker that is stopped, beside stock kombu and celery: no message is swallowed, no task runs twice."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from sidecar.testing.waiting import wait_until

from .workers import AIRFLOW_PYTHON, Stage, Worker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]

WORKERS = 5
QUEUES_EACH = 10  # each open poll of a stopping worker is one trial
WAIT_SECONDS = 3


def swallowed(stage: Stage, *, stock: bool) -> int:
    """Stop idle workers, send a message into each open poll, and count what is in flight for nobody."""
    names = [
        [f"{'s' if stock else 'a'}{worker}-{queue}" for queue in range(QUEUES_EACH)]
        for worker in range(WORKERS)
    ]
    for queues in names:
        stage.queue(*queues)
    body = stage.prepared(1, 0.0, names[0][0])
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                Worker(stage, *queues, concurrency=QUEUES_EACH, stock=stock, wait_seconds=WAIT_SECONDS)
            )
            for queues in names
        ]
        for worker, queues in zip(workers, names, strict=True):
            worker.ready()
            worker.terminate()
            wait_until(lambda worker=worker: "Warm shutdown" in worker.text(), "the shutdown")  # type: ignore[misc]
            for queue in queues:
                stage.put(queue, body)
        assert [worker.ended() for worker in workers] == [0] * WORKERS
    counts = [stage.counts(queue) for queues in names for queue in queues]
    assert all(visible + in_flight == 1 for visible, in_flight in counts)
    return sum(in_flight for _, in_flight in counts)


def test_no_message_is_swallowed_by_a_stopping_idle_worker_in_fifty_trials(stage: Stage) -> None:
    assert swallowed(stage, stock=False) == 0
    assert not stage.runs()


def test_stock_kombu_and_celery_swallow_messages_in_the_same_trials(stage: Stage) -> None:
    lost = swallowed(stage, stock=True)
    print(f"stock kombu and celery swallowed {lost} of {WORKERS * QUEUES_EACH}")  # noqa: T201  # the number in the README
    assert lost > 0


def test_a_worker_told_to_stop_finishes_what_it_runs_and_gives_back_what_comes(stage: Stage) -> None:
    with Worker(stage, "default", wait_seconds=5) as worker:
        worker.ready()
        stage.send((1, 4.0, "default"))
        wait_until(lambda: stage.runs()[1] == 1, "the task to begin", deadline_seconds=90)
        body = stage.prepared(2, 0.0, "heavy")
        worker.terminate()
        wait_until(lambda: worker.state()["phase"] == "stopping", "the agent to know")
        stage.put("default", body)
        assert worker.ended() == 0
    assert stage.ended() == {1}
    assert stage.counts("default") == (1, 0)
    with Worker(stage, "default").ready():
        wait_until(lambda: stage.ended() == {1, 2}, "the other worker", deadline_seconds=90)
    assert stage.runs() == {1: 1, 2: 1}


def test_a_cordoned_worker_becomes_quiet_once_its_poll_came_back_and_takes_nothing_more(stage: Stage) -> None:
    body = stage.prepared(1, 0.0, "default")
    with Worker(stage, "default", wait_seconds=3) as worker:
        worker.ready()
        assert worker.order("cordon")["phase"] == "cordoned"
        stage.put("default", body)  # the open poll brings it: it goes back
        worker.phase("quiet")
        assert stage.counts("default") == (1, 0)
        assert not stage.runs()
        assert worker.order("work")["phase"] == "working"
        wait_until(lambda: stage.ended() == {1}, "the task", deadline_seconds=90)
        assert stage.runs() == {1: 1}


def test_an_order_that_lapses_lets_the_worker_work_again(stage: Stage) -> None:
    with Worker(stage, "default", wait_seconds=1) as worker:
        worker.ready()
        worker.order("cordon", expires_seconds=4)
        worker.phase("quiet")
        stage.send((1, 0.0, "default"))
        wait_until(lambda: stage.ended() == {1}, "the task", deadline_seconds=90)
        assert worker.state()["order"] is None


def test_cordon_and_work_in_turns_never_leave_two_polls_of_a_queue_open(stage: Stage) -> None:
    with Worker(stage, "default", wait_seconds=2) as worker:
        worker.ready()
        for order in ["cordon", "work"] * 10:
            worker.order(order)
        stage.send(*[(number, 0.0, "default") for number in range(20)])
        wait_until(lambda: len(stage.ended()) == 20, "the tasks", deadline_seconds=120)
        assert set(stage.runs().values()) == {1}
        worker.order("cordon")
        worker.phase("quiet")


def test_an_order_file_cordons_for_those_who_reach_the_container_only(stage: Stage) -> None:
    orders = stage.directory / "order.json"
    with Worker(
        stage, "default", wait_seconds=1, environment={"AIRFLOW_ECS_WORKER_AGENT_ORDER_FILE": str(orders)}
    ) as worker:
        worker.ready()
        orders.write_text('{"order": "cordon", "expires_seconds": 600, "holder": "me"}')
        worker.phase("quiet")
        assert worker.state()["order_holder"] == "me"
        orders.unlink()
        worker.phase("working")


@pytest.mark.parametrize("kind", ["error", "disconnect"])
def test_a_queue_is_asked_again_after_a_poll_that_failed(stage: Stage, kind: str) -> None:
    with Worker(stage, "default", wait_seconds=1) as worker:
        worker.ready()
        stage.cloud.add_faults({"service": "sqs", "action": "ReceiveMessage", "kind": kind, "count": 2})
        wait_until(lambda: "is repeated" in worker.text(), "a failed poll", deadline_seconds=90)
        stage.cloud.clear_faults()
        stage.send((1, 0.0, "default"))
        wait_until(lambda: stage.ended() == {1}, "the task", deadline_seconds=90)
        assert worker.process.poll() is None


def test_one_failed_poll_ends_a_stock_worker(stage: Stage) -> None:
    with Worker(stage, "default", wait_seconds=1, stock=True) as worker:
        worker.ready()
        stage.cloud.add_faults({"service": "sqs", "action": "ReceiveMessage", "kind": "error", "count": 1})
        assert worker.ended() != 0
        assert "Unrecoverable error: AttributeError" in worker.text()


def test_shortly_before_the_stop_timeout_what_still_runs_is_interrupted_and_its_message_is_free(
    stage: Stage,
) -> None:
    limit = {"AIRFLOW_ECS_WORKER_AGENT_STOP_TIMEOUT_SECONDS": "15"}
    with Worker(stage, "default", wait_seconds=1, environment=limit) as worker:
        worker.ready()
        stage.send((1, 600.0, "default"))
        wait_until(lambda: stage.runs()[1] == 1, "the task to begin", deadline_seconds=90)
        worker.terminate()
        worker.ended()
        assert "almost over" in worker.text()
    assert not stage.ended()
    wait_until(lambda: stage.counts("default") == (1, 0), "the message to be visible", deadline_seconds=90)


def test_a_worker_whose_connection_broke_goes_on_with_one_poll_a_queue(stage: Stage) -> None:
    with Worker(stage, "default", wait_seconds=1, environment={"BREAK_AFTER": "1"}) as worker:
        worker.ready()
        wait_until(
            lambda: "broken by the test" in worker.text(), "the broken connection", deadline_seconds=90
        )
        stage.send(*[(number, 0.0, "default") for number in range(10)])
        wait_until(lambda: len(stage.ended()) == 10, "the tasks", deadline_seconds=90)
        worker.order("cordon")
        worker.phase("quiet")
        worker.terminate()
        assert worker.ended() == 0
    assert set(stage.runs().values()) == {1}


def test_a_cold_shutdown_gives_back_what_runs_and_ends(stage: Stage) -> None:
    with Worker(stage, "default", wait_seconds=1) as worker:
        worker.ready()
        stage.send((1, 600.0, "default"))
        wait_until(lambda: stage.runs()[1] == 1, "the task to begin", deadline_seconds=90)
        worker.process.send_signal(signal.SIGQUIT)
        worker.ended()
    wait_until(lambda: stage.counts("default") == (1, 0), "the message to be visible", deadline_seconds=90)
