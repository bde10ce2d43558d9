"""The agent between a played Celery and a played SQS: at each turn of the event loop, and over HTTP."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_ecs.worker_agent import http_server
from airflow_ecs.worker_agent.agent import Agent
from airflow_ecs.worker_agent.intake import Arrival
from airflow_ecs.worker_agent.reception import Reception
from airflow_ecs.worker_agent.settings import Settings
from sidecar.testing.waiting import wait_until

from .workers import request


class Sqs:
    """A boto3 client that remembers what was given back; ``failures`` of its answers are errors."""

    def __init__(self) -> None:
        self.given_back: list[str] = []
        self.failures = 0

    def change_message_visibility_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803  # as boto3 calls it
        Entries: list[dict[str, Any]],  # noqa: N803  # the same
    ) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError("SQS is away")
        assert {entry["VisibilityTimeout"] for entry in Entries} == {0}
        self.given_back += [entry["ReceiptHandle"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}


class Celery:
    """The pool, and an event loop that turns when the test says so, or in a thread."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.begun: list[str] = []
        self.woken: list[str] = []
        self.sqs = Sqs()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.agent = Agent(settings or Settings(), pool=self, call_soon=self._calls.put, wait_seconds=20)
        self.agent.hostname = "10.0.4.168"
        self.agent.start()
        self.reception = Reception(self.agent, call_soon=self._calls.put)

    def active_tasks(self) -> int:
        return len(self.begun)

    def free_slots(self) -> int:
        return 4 - len(self.begun)

    def begin(self, arrival: Arrival) -> None:
        self.begun.append(arrival.message["ReceiptHandle"])

    def wake(self, queue: str) -> None:
        self.woken.append(queue)

    def sqs_client(self, queue: str) -> Sqs:
        return self.sqs

    def turn(self) -> None:
        """Turn the event loop once."""
        while not self._calls.empty():
            self._calls.get()()
        self.agent.tick()

    def bring(self, *handles: str, count: int = 1) -> None:
        self.agent.arrived("default", "url", [message(handle, count) for handle in handles])

    def turn_until(self, condition: Callable[[], object], what: str) -> None:
        def turned() -> object:
            self.turn()
            return condition()

        wait_until(turned, what)


def message(handle: str, count: int = 1) -> dict[str, Any]:
    return {
        "ReceiptHandle": handle,
        "Attributes": {"ApproximateReceiveCount": str(count), "SentTimestamp": "0"},
    }


@pytest.fixture
def turning() -> Iterator[Callable[[Celery], None]]:
    """Turn an event loop in a thread, for tests that ask over HTTP."""
    done = threading.Event()
    threads = []

    def turn(celery: Celery) -> None:
        def work() -> None:
            while not done.wait(0.005):
                celery.turn()

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield turn
    done.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def served(celery: Celery, token: str = "") -> str:
        server = http_server.Server(celery.reception, host="127.0.0.1", port=0, token=token)
        server.start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield served
    for server in servers:
        server.shutdown()
        server.server_close()


def test_outside_ecs_what_comes_begins_in_the_same_turn() -> None:
    celery = Celery()
    celery.bring("1", "2")
    assert celery.begun == ["1", "2"]


def test_with_a_dead_agent_endpoint_what_comes_goes_back_once_and_then_begins() -> None:
    celery = Celery(Settings(agent_uri="http://127.0.0.1:9"))
    celery.bring("1")
    assert celery.begun == []
    celery.turn_until(lambda: celery.sqs.given_back == ["1"], "the message to go back")
    celery.turn_until(lambda: celery.agent.load().reserved_messages == 0, "it to be back")
    celery.bring("1", count=2)
    celery.turn_until(lambda: celery.begun == ["1"], "the message to begin")
    text = celery.agent.metrics.render({})
    assert "airflow_ecs_worker_tasks_unprotected_total 1" in text
    assert "airflow_ecs_worker_messages_redelivered_total 1" in text


def test_what_comes_after_sigterm_goes_back() -> None:
    celery = Celery()
    celery.agent.stop()
    celery.bring("1", "2")
    assert celery.begun == []
    celery.turn_until(lambda: celery.sqs.given_back == ["1", "2"], "the messages to go back")


def test_giving_back_is_tried_again_and_until_it_is_done_the_worker_is_not_idle() -> None:
    celery = Celery()
    celery.sqs.failures = 2
    celery.agent.stop()
    celery.bring("1")
    assert celery.agent.load().reserved_messages == 1
    celery.turn_until(lambda: celery.agent.load().is_nothing, "the message to be back")
    assert celery.sqs.given_back == ["1"]


def test_what_cannot_be_given_back_is_counted_and_does_not_keep_the_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    celery = Celery()
    celery.sqs.failures = 99
    celery.agent.stop()
    celery.bring("1")
    celery.turn_until(lambda: celery.agent.load().is_nothing, "the agent to give up")
    assert "airflow_ecs_worker_give_back_failures_total 1" in celery.agent.metrics.render({})
    assert "Nothing is lost" in caplog.text


def test_an_order_is_in_force_in_the_answer_and_asked_for_again_when_it_ends(
    turning: Callable[[Celery], None], serve: Callable[..., str]
) -> None:
    celery = Celery()
    turning(celery)
    url = serve(celery)
    order = {"order": "cordon", "expires_seconds": 60, "holder": "me"}
    for _ in range(2):
        status, answer = request("PUT", f"{url}/v1/order", order)
        assert status == 200
        assert isinstance(answer, dict)
        assert (answer["phase"], answer["order"], answer["order_holder"]) == ("quiet", "cordon", "me")
        assert answer["hostname"] == "10.0.4.168"
    assert celery.agent.ask("default", queues=1) is None
    assert celery.woken == []
    request("PUT", f"{url}/v1/order", {**order, "order": "work"})
    assert "default" in celery.woken


def test_nonsense_is_answered_with_400_and_the_order_in_force_stays(
    turning: Callable[[Celery], None], serve: Callable[..., str]
) -> None:
    celery = Celery()
    turning(celery)
    url = serve(celery)
    request("PUT", f"{url}/v1/order", {"order": "cordon", "expires_seconds": 60, "holder": "me"})
    assert request("PUT", f"{url}/v1/order", {"order": "die"})[0] == 400
    assert request("PUT", f"{url}/v1/order", body=b"{")[0] == 400
    assert request("PUT", f"{url}/v1/order", body=b" " * 70_000)[0] == 400
    assert request("GET", f"{url}/other")[0] == 404
    answer = request("GET", f"{url}/v1/worker")[1]
    assert isinstance(answer, dict)
    assert answer["order"] == "cordon"


def test_without_the_token_nothing_is_told_and_nothing_taken(
    turning: Callable[[Celery], None], serve: Callable[..., str]
) -> None:
    celery = Celery()
    turning(celery)
    url = serve(celery, token="secret")
    order = {"order": "cordon", "expires_seconds": 60, "holder": "me"}
    for token in ("", "wrong"):
        assert request("GET", f"{url}/v1/worker", token=token)[0] == 401
        assert request("GET", f"{url}/metrics", token=token)[0] == 401
        assert request("PUT", f"{url}/v1/order", order, token=token)[0] == 401
    status, answer = request("GET", f"{url}/v1/worker", token="secret")
    assert status == 200
    assert isinstance(answer, dict)
    assert answer["order"] is None


def test_an_event_loop_that_does_not_turn_is_no_proof_of_anything(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_ecs.worker_agent.reception.LOOP_ANSWER_SECONDS", 0.05)
    assert request("GET", f"{serve(Celery())}/v1/worker")[0] == 503


def test_a_task_that_does_not_know_itself_yet_says_so(
    turning: Callable[[Celery], None], serve: Callable[..., str]
) -> None:
    celery = Celery(Settings(metadata_uri="http://127.0.0.1:9"))
    turning(celery)
    url = serve(celery)
    assert request("GET", f"{url}/v1/worker")[0] == 503
    celery.agent.task_arn = "arn"
    assert request("GET", f"{url}/v1/worker")[0] == 200


def test_the_metrics_are_prometheus_text(
    turning: Callable[[Celery], None], serve: Callable[..., str]
) -> None:
    celery = Celery()
    celery.bring("1")
    turning(celery)
    status, text = request("GET", f"{serve(celery)}/metrics")
    assert status == 200
    assert isinstance(text, str)
    names = {
        line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")
    }
    golden = Path(__file__).with_name("golden_worker_metrics.txt").read_text().split()
    assert sorted(names) == golden


def test_an_order_file_is_in_force_from_when_it_was_written_and_nonsense_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "order.json"
    path.write_text('{"order": "cordon", "expires_seconds": 600, "holder": "me"}')
    celery = Celery(Settings(order_file=path))
    assert celery.agent.state().phase == "quiet"
