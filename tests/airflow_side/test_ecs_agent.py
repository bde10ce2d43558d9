"""What the ECS agent's endpoint and the metadata endpoint may answer, and what each answer means."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_ecs.worker_agent.ecs_agent import EcsAgent, Task, look_up_task
from airflow_ecs.worker_agent.identity import Identity
from airflow_ecs.worker_agent.protection import Confirmed, Denied, NotApplicable, Removed, Unreachable
from sidecar.testing.waiting import wait_until

ARN = "arn:aws:ecs:eu-west-1:1:task/c/1"
PROTECTED = {
    "protection": {"ProtectionEnabled": True, "ExpirationDate": "2026-11-22T12:30:00Z", "TaskArn": ARN}
}
FREE = {"protection": {"ProtectionEnabled": False, "TaskArn": ARN}}
BLOCKED = {"failure": {"Arn": ARN, "Reason": "DEPLOYMENT_BLOCKED", "Detail": "too many"}}
NO_SERVICE = {"failure": {"Arn": ARN, "Reason": "TASK_NOT_VALID", "Detail": "no service"}}
NOT_ALLOWED = {
    "error": {"Arn": ARN, "Code": "AccessDeniedException", "Message": "no ecs:UpdateTaskProtection"}
}
NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z


class Endpoint(ThreadingHTTPServer):
    """Both endpoints; ``answers`` by method and last part of the path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: dict[str, tuple[int, object]] = {}
        self.bodies: list[object] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        endpoint = self.server
        assert isinstance(endpoint, Endpoint)
        endpoint.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        endpoint = self.server
        assert isinstance(endpoint, Endpoint)
        status, body = endpoint.answers.get(f"{method} {self.path.rpartition('/')[2]}", (404, {}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def agent(endpoint: Endpoint) -> EcsAgent:
    return EcsAgent(endpoint.url, metadata_uri=endpoint.url, minutes=30)


def test_a_protection_is_asked_for_and_its_end_is_what_ecs_confirmed(endpoint: Endpoint) -> None:
    endpoint.answers["PUT state"] = 200, PROTECTED
    assert agent(endpoint).add(NOON) == Confirmed(NOON + 1_800)
    assert endpoint.bodies == [{"ProtectionEnabled": True, "ExpiresInMinutes": 30}]


def test_taking_it_off_is_confirmed_too(endpoint: Endpoint) -> None:
    endpoint.answers["PUT state"] = 200, FREE
    assert agent(endpoint).remove() == Removed()
    assert endpoint.bodies == [{"ProtectionEnabled": False}]


@pytest.mark.parametrize(("status", "answer"), [(200, BLOCKED), (403, NOT_ALLOWED), (400, NOT_ALLOWED)])
def test_a_refusal_is_told_with_its_reason(endpoint: Endpoint, status: int, answer: object) -> None:
    endpoint.answers = {"PUT state": (status, answer), "GET state": (200, FREE)}
    found = agent(endpoint).add(NOON)
    assert isinstance(found, Denied)
    assert ":" in found.why


def test_a_protection_that_the_scaler_asked_for_counts_as_well(endpoint: Endpoint) -> None:
    endpoint.answers = {"PUT state": (200, BLOCKED), "GET state": (200, PROTECTED)}
    assert agent(endpoint).add(NOON) == Confirmed(NOON + 1_800)
    assert isinstance(agent(endpoint).add(NOON + 1_790), Denied), "but not one that is about to end"


def test_a_task_of_no_service_needs_none_but_one_that_is_stopping_is_refused(endpoint: Endpoint) -> None:
    endpoint.answers = {
        "PUT state": (200, NO_SERVICE),
        "GET task": (200, {"TaskARN": ARN, "DesiredStatus": "RUNNING"}),
    }
    assert isinstance(agent(endpoint).add(NOON), NotApplicable)
    stopping = {"TaskARN": ARN, "DesiredStatus": "STOPPED", "ServiceName": "worker"}
    endpoint.answers["GET task"] = 200, stopping
    assert isinstance(agent(endpoint).add(NOON), Denied)


@pytest.mark.parametrize(
    ("status", "answer"),
    [(500, []), (404, {}), (200, "<html>"), (200, {"protection": {"ProtectionEnabled": True}})],
)
def test_anything_else_is_no_answer(endpoint: Endpoint, status: int, answer: object) -> None:
    endpoint.answers["PUT state"] = status, answer
    assert isinstance(agent(endpoint).add(NOON), Unreachable)


def test_an_endpoint_that_is_not_there_is_no_answer() -> None:
    dead = EcsAgent("http://127.0.0.1:9", metadata_uri="http://127.0.0.1:9", minutes=30)
    assert isinstance(dead.add(NOON), Unreachable)
    assert isinstance(dead.remove(), Unreachable)
    assert look_up_task("http://127.0.0.1:9") is None


def test_the_task_knows_itself_and_hears_that_it_is_to_stop_before_its_sigterm(endpoint: Endpoint) -> None:
    endpoint.answers["GET task"] = 200, {"TaskARN": ARN, "DesiredStatus": "STOPPED", "ServiceName": "worker"}
    assert look_up_task(endpoint.url) == Task(arn=ARN, service="worker", is_stopping=True)
    identity = Identity(endpoint.url)
    identity.refresh()
    wait_until(lambda: identity.is_stopping, "the answer")
    assert identity.task_arn == ARN


def test_outside_ecs_nothing_is_asked() -> None:
    identity = Identity("")
    identity.refresh()
    assert (identity.task_arn, identity.is_stopping) == (None, False)
