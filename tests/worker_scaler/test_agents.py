"""The HTTP client of the workers' agents, against a server that speaks the agreed protocol."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sidecar.secrets import Secret
from worker_scaler.agent import AgentPhase, Order, parse
from worker_scaler.agents import Answers, DryRunAgents, HttpAgents
from worker_scaler.model import Fleet, Worker

from .agent_server import AgentServer, agent_server, example
from .fakes import fleet, worker

ARN = example("worker_agent_state")["task_arn"]


@pytest.fixture
def server() -> Iterator[AgentServer]:
    with agent_server() as agent:
        yield agent


@pytest.fixture
def policy(server: AgentServer) -> Fleet:
    return fleet(agent_port=server.port)


def one_worker(arn: str = ARN) -> Worker:
    return worker(1, arn=arn, addresses=("127.0.0.1",))


def no_secret(secret_id: str) -> str:
    raise AssertionError(secret_id)


def failure(answers: Answers) -> str:
    (text,) = answers.failures.values()
    return text


def test_the_agreed_example_is_understood() -> None:
    state = parse(example("worker_agent_state"), arn=ARN)

    assert state.phase is AgentPhase.CORDONED
    assert (state.active_tasks, state.reserved_messages) == (2, 0)
    assert state.order is Order.CORDON
    assert state.order_until == datetime(2026, 11, 22, 12, 2, tzinfo=UTC)
    assert state.order_holder == "worker-scaler"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"task_arn": None},
        {"task_arn": "arn:of:another"},
        {"phase": "dreaming"},
        {"active_tasks": None},
        {"active_tasks": -1},
        {"reserved_messages": "0"},
        {"order": "dance"},
        {"order_until": "2026-11-22T12:02:00"},
        {"order_until": "soon"},
    ],
)
def test_what_is_not_the_protocol_proves_nothing(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(example("worker_agent_state") | change, arn=ARN)


def test_unknown_members_are_ignored() -> None:
    assert parse(example("worker_agent_state") | {"colour": "blue"}, arn=ARN).active_tasks == 2


def test_a_worker_without_an_order_is_only_asked(server: AgentServer, policy: Fleet) -> None:
    answers = HttpAgents(None).ask(policy, [one_worker()])

    assert server.requests == [("GET", "/v1/worker", None)]
    assert answers.states[ARN].active_tasks == 2


def test_an_order_is_given_as_agreed_and_repeated_with_every_question(
    server: AgentServer, policy: Fleet
) -> None:
    agents = HttpAgents(None)

    agents.order(policy, [one_worker()], Order.CORDON)
    answers = agents.ask(policy, [one_worker()])

    assert server.requests == [("PUT", "/v1/order", example("worker_agent_order"))] * 2
    assert answers.states[ARN].order is Order.CORDON


def test_the_order_of_a_worker_that_is_gone_is_forgotten(server: AgentServer, policy: Fleet) -> None:
    agents = HttpAgents(None)
    agents.order(policy, [one_worker()], Order.CORDON)
    agents.ask(policy, [])

    agents.ask(policy, [one_worker()])

    assert [method for method, _, _ in server.requests] == ["PUT", "GET"]


def test_another_tasks_answer_is_no_answer(server: AgentServer, policy: Fleet) -> None:
    answers = HttpAgents(None).ask(policy, [one_worker("arn:aws:ecs:x:1:task/main/other")])

    assert not answers.states
    assert "the answer is of task" in failure(answers)


def test_the_token_is_sent_and_read_again_when_it_is_refused(server: AgentServer, policy: Fleet) -> None:
    values = iter(["old-token", "new-token"])
    server.token = "new-token"
    secret = Secret(secret_id="agents", read=lambda _: next(values))

    answers = HttpAgents(secret).ask(policy, [one_worker()])

    assert ARN in answers.states


def test_a_refused_token_is_a_failure_that_does_not_show_it(server: AgentServer, policy: Fleet) -> None:
    server.token = "right-token"

    answers = HttpAgents(Secret(literal="wrong-token", read=no_secret)).ask(policy, [one_worker()])

    assert "401" in failure(answers)
    assert "token" not in failure(answers)


def test_an_agent_that_does_not_answer_is_given_up_and_the_others_are_not(
    server: AgentServer, policy: Fleet
) -> None:
    server.held_back.clear()
    mute = one_worker()
    with agent_server() as other:
        other.state["task_arn"] = "arn:other"
        agents = HttpAgents(None)
        answers = agents.ask(policy, [mute])
        others = agents.ask(fleet(name="b", agent_port=other.port), [one_worker("arn:other")])

    assert "timed out" in failure(answers).lower()
    assert others.states.keys() == {"arn:other"}


def test_a_worker_without_an_address_or_with_a_closed_port_did_not_answer(policy: Fleet) -> None:
    nowhere = worker(1, addresses=())
    closed = worker(2, addresses=("127.0.0.1",))

    answers = HttpAgents(None).ask(fleet(agent_port=1), [nowhere, closed])

    assert not answers.states
    assert answers.failures.keys() == {nowhere.arn, closed.arn}


def test_an_answer_that_is_no_json_object_proves_nothing(server: AgentServer, policy: Fleet) -> None:
    server.state = [1, 2]  # type: ignore[assignment]  # what a stranger on that port may answer

    def answer(*_: object) -> tuple[int, object]:
        return 200, b"[1, 2]"

    server.answer = answer  # type: ignore[method-assign,assignment]  # the same

    assert "no JSON object" in failure(HttpAgents(None).ask(policy, [one_worker()]))


def test_a_dry_run_sends_get_only(server: AgentServer, policy: Fleet) -> None:
    agents = DryRunAgents(HttpAgents(None).ask)

    agents.ask(policy, [one_worker()])
    agents.order(policy, [one_worker()], Order.CORDON)
    agents.ask(policy, [one_worker()])

    assert {method for method, _, _ in server.requests} == {"GET"}
