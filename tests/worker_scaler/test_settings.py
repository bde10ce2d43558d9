"""What the scaler can be told, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from sidecar.errors import ConfigError
from worker_scaler.settings import WorkerScalerSettings

FLEET: dict[str, Any] = {
    "name": "heavy",
    "cluster": "main",
    "service": "workers",
    "queues": ["heavy"],
    "tasks_per_worker": 4,
    "min_workers": 0,
    "max_workers": 5,
    "scale_in_window_seconds": 60,
    "sqs_queue_urls": {"heavy": "http://sqs/heavy"},
}


def environment(*fleets: dict[str, Any], **more: str) -> dict[str, str]:
    return {
        "WORKER_SCALER_DATABASE_URL": "postgresql://airflow:hunter22@db/airflow",
        "WORKER_SCALER_FLEETS": json.dumps(fleets or [FLEET]),
        **more,
    }


def problems(given: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        WorkerScalerSettings.load(given)
    return "\n".join(caught.value.lines())


def test_the_contract_is_accepted_as_it_is_written() -> None:
    settings = WorkerScalerSettings.load(environment())

    policy = settings.fleet(settings.fleets[0])
    assert policy.scale_in_window == timedelta(seconds=60)
    assert policy.queues == ("heavy",)
    assert settings.interval_seconds == 10
    assert settings.source == "database"
    assert settings.dry_run is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_worker": 3}, "did you mean max_workers?"),
        ({"min_workers": 6}, "min_workers 6 is more than max_workers 5"),
        ({"tasks_per_worker": 0}, "WORKER_SCALER_FLEETS[0].tasks_per_worker"),
        ({"queues": []}, "queues: policy 'queue' needs at least one"),
        ({"name": ""}, "WORKER_SCALER_FLEETS[0].name"),
    ],
)
def test_a_wrong_fleet_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    assert said in problems(environment({**FLEET, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"service": "b", "queues": ["b"]}, "fleet name 'heavy' is used more than once"),
        ({"name": "b", "queues": ["b"]}, "service 'main/workers' is used more than once"),
        ({"name": "b", "service": "b"}, "queue 'heavy' is used more than once"),
    ],
)
def test_nothing_is_steered_by_two_fleets(change: dict[str, Any], said: str) -> None:
    assert said in problems(environment(FLEET, {**FLEET, "sqs_queue_urls": {}, **change}))


def without_database(**more: str) -> dict[str, str]:
    return {name: value for name, value in environment(**more).items() if "DATABASE" not in name}


@pytest.mark.parametrize("source", ["rest", "command"])
def test_a_source_without_its_settings_is_refused_with_what_is_missing(source: str) -> None:
    said = problems(without_database(WORKER_SCALER_SOURCE=source))

    assert f"WORKER_SCALER_SOURCE={source} needs WORKER_SCALER_" in said


@pytest.mark.parametrize(
    "given",
    [
        {"SOURCE": "command", "COMMAND": "airflow-ecs queue-depth"},
        {"SOURCE": "rest", "API_URL": "http://api", "API_USERNAME": "u", "API_PASSWORD": "pw"},
    ],
)
def test_other_sources_need_no_database_and_then_have_no_lock_unless_a_table_is_given(
    given: dict[str, str],
) -> None:
    named = {f"WORKER_SCALER_{name}": value for name, value in given.items()}

    assert WorkerScalerSettings.load(without_database(**named)).lock_kind == "none"
    with_table = without_database(**named, WORKER_SCALER_LOCK_TABLE="leases")
    assert WorkerScalerSettings.load(with_table).lock_kind == "dynamodb"
    assert WorkerScalerSettings.load(environment(**named)).lock_kind == "database"


@pytest.mark.parametrize("name", ["API_URL", "API_USERNAME", "API_PASSWORD", "COMMAND"])
def test_a_setting_of_another_source_is_refused_not_ignored(name: str) -> None:
    said = problems(environment(**{f"WORKER_SCALER_{name}": "http://hunter22"}))

    assert f"WORKER_SCALER_{name} needs WORKER_SCALER_SOURCE=" in said


@pytest.mark.parametrize("lock", ["dynamodb", "database"])
def test_a_lock_without_its_place_is_refused(lock: str) -> None:
    given = without_database(
        WORKER_SCALER_LOCK=lock, WORKER_SCALER_SOURCE="command", WORKER_SCALER_COMMAND="true"
    )

    assert f"WORKER_SCALER_LOCK={lock} needs" in problems(given)


def test_exactly_one_way_to_the_database_is_needed() -> None:
    both = environment(WORKER_SCALER_DATABASE_SECRET_ID="airflow/db")
    none = {name: value for name, value in environment().items() if "DATABASE" not in name}

    assert "exactly one of" in problems(both)
    assert "exactly one of" in problems(none)


def test_the_password_is_in_no_refusal() -> None:
    assert "hunter22" not in problems(environment(WORKER_SCALER_INTERVAL_SECONDS="0"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sqs_queue_urls": {"haevy": "https://sqs/haevy"}}, "'haevy' is none of the fleet's queues"),
        ({"sqs_queue_urls": {"heavy": "heavy"}}, "WORKER_SCALER_FLEETS[0].sqs_queue_urls"),
        ({"scale_in_window_seconds": 1e300}, "WORKER_SCALER_FLEETS[0].scale_in_window_seconds"),
        ({"start_timeout_seconds": 1e300}, "WORKER_SCALER_FLEETS[0].start_timeout_seconds"),
        ({"freezes": [{"cron": "0 0 * * *", "minutes": 2e9}]}, "minutes"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_the_start(change: dict[str, Any], said: str) -> None:
    assert said in problems(environment({**FLEET, **change}))


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ({"from": "08:00", "to": "22:00", "workers": 2}, "workers 2 is more than max_workers 1"),
        ({"from": "08:00+02:00", "to": "22:00", "workers": 1}, "08:00, not 08:00+02:00"),
    ],
)
def test_hours_that_cannot_be_kept_are_refused(hours: dict[str, Any], said: str) -> None:
    web = {"name": "web", "cluster": "main", "service": "ui", "policy": "schedule", "max_workers": 1}

    assert said in problems(environment({**web, "hours": [hours]}))


def test_one_service_given_by_name_and_by_arn_is_one_service() -> None:
    by_arn = {
        "name": "other",
        "queues": ["other"],
        "sqs_queue_urls": {},
        "cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/main",
        "service": "arn:aws:ecs:eu-west-1:123456789012:service/main/workers",
    }

    assert "service 'main/workers' is used more than once" in problems(
        environment(FLEET, {**FLEET, **by_arn})
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"INTERVAL_SECONDS": "200", "PROTECTION_MINUTES": "2"}, "PROTECTION_MINUTES=2 does not last"),
        ({"INTERVAL_SECONDS": "300", "READING_MAX_AGE_SECONDS": "60"}, "READING_MAX_AGE_SECONDS=60 is less"),
        ({"INTERVAL_SECONDS": "1e300"}, "WORKER_SCALER_INTERVAL_SECONDS"),
        ({"READING_MAX_AGE_SECONDS": "1e300"}, "WORKER_SCALER_READING_MAX_AGE_SECONDS"),
        ({"MINIMUM_WORKER_AGE_SECONDS": "1e300"}, "WORKER_SCALER_MINIMUM_WORKER_AGE_SECONDS"),
    ],
)
def test_times_that_do_not_fit_the_tick_are_refused(more: dict[str, str], said: str) -> None:
    given = {f"WORKER_SCALER_{name}": value for name, value in more.items()}

    assert said in problems(environment(**given))
