from __future__ import annotations

import json

import pytest

from sidecar.errors import Transient
from sidecar.health import Health
from sidecar.secrets import MASK, Secret, mask, remember
from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lines(telemetry: Telemetry, name: str) -> list[str]:
    return [line for line in telemetry.prometheus().decode().splitlines() if line.startswith(name)]


def test_cycles_are_counted_and_the_last_success_is_a_time(clock: FakeClock) -> None:
    telemetry = Telemetry(service="toy-sidecar", version="1", clock=clock)

    telemetry.succeeded(0.5)
    telemetry.failed(Transient("down"), in_a_row=3, duration_seconds=0.1)

    assert lines(telemetry, "airflow_ecs_toy_sidecar_cycles_total") == [
        'airflow_ecs_toy_sidecar_cycles_total{result="success"} 1.0',
        'airflow_ecs_toy_sidecar_cycles_total{result="failure"} 1.0',
    ]
    assert lines(telemetry, "airflow_ecs_toy_sidecar_consecutive_failures") == [
        "airflow_ecs_toy_sidecar_consecutive_failures 3.0"
    ]
    (last,) = lines(telemetry, "airflow_ecs_toy_sidecar_last_success_timestamp_seconds")
    assert float(last.split()[1]) == clock.now().timestamp()


def test_emf_declares_exactly_the_values_it_carries(clock: FakeClock) -> None:
    telemetry = Telemetry(service="toy", version="1", clock=clock)
    telemetry.counter("things_total", "Things", ["kind"]).labels("round").inc(2)

    (line,) = telemetry.emf(clock.now())
    document = json.loads(line)
    (declaration,) = document["_aws"]["CloudWatchMetrics"]

    assert document["airflow_ecs_toy_things_total_round"] == 2
    assert document["_aws"]["Timestamp"] == clock.now().timestamp() * 1000
    for metric in declaration["Metrics"]:
        assert isinstance(document[metric["Name"]], float)
    assert declaration["Dimensions"] == [["service"]]
    assert document["service"] == "toy"


def test_emf_spreads_more_than_a_hundred_metrics_over_lines(clock: FakeClock) -> None:
    telemetry = Telemetry(service="toy", version="1", clock=clock)
    things = telemetry.counter("things_total", "Things", ["kind"])
    for kind in range(150):
        things.labels(str(kind)).inc()

    documents = [json.loads(line) for line in telemetry.emf(clock.now())]
    declared = [len(document["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for document in documents]

    assert declared[0] == 100
    carried = {name for document in documents for name in document if "things_total" in name}
    assert len(carried) == 150


def test_alive_is_a_loop_that_turned_lately(clock: FakeClock) -> None:
    health = Health(clock)
    clock.advance(29)
    assert health.alive()[0]

    clock.advance(2)
    assert not health.alive()[0]

    health.beat()
    assert health.alive()[0]


def test_ready_is_a_success_that_is_fresh(clock: FakeClock) -> None:
    health = Health(clock)
    health.ready_when_fresher_than(30)
    assert health.ready() == (False, "no success yet")

    health.succeeded()
    clock.advance(29)
    assert health.ready()[0]

    clock.advance(2)
    assert not health.ready()[0]


def test_readiness_can_be_taken_back_with_a_reason(clock: FakeClock) -> None:
    health = Health(clock)
    health.succeeded()

    health.not_ready("lines are held back")

    assert health.ready() == (False, "lines are held back")


def test_a_note_is_told_whether_ready_or_not_until_it_is_taken_away(clock: FakeClock) -> None:
    health = Health(clock)
    health.succeeded()

    health.note("dags/a.py line 3 does not compile")
    assert health.ready() == (True, "last success 0.0 s ago; dags/a.py line 3 does not compile")
    health.note("")
    assert health.ready() == (True, "last success 0.0 s ago")


def test_the_longest_secret_is_masked_first_and_very_short_ones_are_left() -> None:
    for secret in ("hunter22", "hunter22-long", "db"):
        remember(secret)

    assert mask("a hunter22-long b hunter22 c db") == f"a {MASK} b {MASK} c db"


def test_a_secret_is_masked_as_it_is_in_json_and_in_a_url() -> None:
    remember('p@ss"word')

    assert mask('x p@ss"word y') == f"x {MASK} y"
    assert mask(json.dumps({"a": 'p@ss"word'})) == json.dumps({"a": MASK})
    assert mask("postgresql://u:p%40ss%22word@h") == f"postgresql://u:{MASK}@h"


def test_a_secret_is_read_once_and_again_only_when_asked() -> None:
    values = iter(["first-value", "second-value", "second-value"])
    secret = Secret(secret_id="id", read=lambda _: next(values))

    assert (secret.value(), secret.value()) == ("first-value", "first-value")
    assert secret.refresh()
    assert secret.value() == "second-value"
    assert not secret.refresh()
    assert "value" not in repr(secret)


def test_a_literal_never_changes() -> None:
    secret = Secret(literal="literal-value", read=lambda _: "other")

    assert secret.value() == "literal-value"
    assert not secret.refresh()
