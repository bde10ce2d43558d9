"""The protocol of docs/adr/0004, to the letter of the examples that worker_scaler's tests read as well."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from airflow_ecs.worker_agent import clock, orders
from airflow_ecs.worker_agent.state import Load, Phase, WorkerState

EXAMPLES = Path(__file__).parents[1] / "contracts" / "examples"
NOW = 1_000.0


def order(kind: orders.Kind = "cordon", *, until: float = 0.0) -> orders.Order:
    return orders.Order(order=kind, holder="worker-scaler", lapses_at=NOW + 120, until=until)


def state(
    *,
    given_order: orders.Order | None = None,
    is_stopping: bool = False,
    active: int = 0,
    reserved: int = 0,
    polls: int = 0,
) -> WorkerState:
    return WorkerState(
        task_arn=None,
        hostname="10.0.4.168",
        is_stopping=is_stopping,
        load=Load(active_tasks=active, reserved_messages=reserved, open_polls=polls),
        protected_until=None,
        order=given_order,
        observed_at=0.0,
    )


def test_the_state_is_the_example_of_the_contract() -> None:
    example = json.loads((EXAMPLES / "worker_agent_state.json").read_text())
    made = WorkerState(
        task_arn=example["task_arn"],
        hostname=example["hostname"],
        is_stopping=False,
        load=Load(active_tasks=2, reserved_messages=0, open_polls=0),
        protected_until=clock.from_iso(example["protected_until"]),
        order=order(until=clock.from_iso(example["order_until"])),
        observed_at=clock.from_iso(example["observed_at"]),
    )
    assert made.to_json() == example
    assert list(made.to_json()) == list(example)


def test_the_order_of_the_contract_is_understood() -> None:
    found = orders.parse((EXAMPLES / "worker_agent_order.json").read_bytes())
    assert found == orders.OrderRequest(order="cordon", expires_seconds=120, holder="worker-scaler")


def test_unknown_members_of_an_order_are_ignored() -> None:
    body = b'{"order": "work", "expires_seconds": 1.5, "holder": "h", "version": 9}'
    assert orders.parse(body) == orders.OrderRequest(order="work", expires_seconds=1.5, holder="h")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"order": "stop"}, "work"),
        ({"order": ["cordon"]}, "work"),
        ({"expires_seconds": 0}, "expires_seconds"),
        ({"expires_seconds": True}, "expires_seconds"),
        ({"expires_seconds": "120"}, "expires_seconds"),
        ({"expires_seconds": 10**400}, "expires_seconds"),
        ({"expires_seconds": float("nan")}, "expires_seconds"),
        ({"holder": ""}, "holder"),
        ({"holder": None}, "holder"),
        ({"holder": "x" * 201}, "holder"),
    ],
)
def test_nonsense_is_refused_with_the_reason(changed: dict[str, object], says: str) -> None:
    with pytest.raises(orders.BadOrderError, match=says):
        orders.parse(json.dumps({"order": "work", "expires_seconds": 1, "holder": "h", **changed}).encode())


@given(
    st.binary(max_size=50)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_an_order_or_a_refusal(body: bytes) -> None:
    with contextlib.suppress(orders.BadOrderError):
        assert orders.parse(body).holder


def test_an_order_lapses() -> None:
    taken = orders.take(orders.OrderRequest(order="cordon", expires_seconds=5, holder="h"), now=NOW, wall=0)
    assert orders.in_force(taken, NOW + 4.9) is taken
    assert orders.in_force(taken, NOW + 5) is None


@pytest.mark.parametrize(
    ("worker", "phase"),
    [
        (state(), "working"),
        (state(given_order=order("work")), "working"),
        (state(given_order=order()), "quiet"),
        (state(given_order=order(), active=1), "cordoned"),
        (state(given_order=order(), reserved=1), "cordoned"),
        (state(given_order=order(), polls=1), "cordoned"),
        (state(given_order=order(), is_stopping=True), "stopping"),
        (state(is_stopping=True), "stopping"),
    ],
)
def test_only_a_cordoned_worker_with_nothing_left_is_quiet(worker: WorkerState, phase: Phase) -> None:
    assert worker.phase == phase


def test_moments_are_read_as_ecs_writes_them() -> None:
    assert clock.from_iso("2026-11-22T12:00:00Z") == clock.from_iso("2026-11-22T12:00:00.250Z") - 0.25
    assert clock.to_iso(clock.from_iso("2026-11-22T12:00:00Z")) == "2026-11-22T12:00:00Z"
    assert clock.to_iso(None) is None
