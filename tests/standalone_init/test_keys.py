"""Shared secrets are made once, by whoever comes first; a wrong Fernet key is noticed before any write."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import boto3
import psycopg
import pytest
from cryptography.fernet import Fernet

from sidecar.aws import Aws
from sidecar.testing.plugin import Finished
from standalone_init.keys import fernet
from standalone_init.keys.store import Store
from standalone_init.keys.verdict import Verdict

from .fakes import FakeAirflow

Run = Callable[..., Finished]


@pytest.fixture
def name(aws: str) -> str:
    return f"airflow/fernet-{uuid.uuid4().hex}"


@pytest.fixture
def store(aws: str) -> Store:
    return Store(Aws(service="standalone-init", version="0", region=None))


def held(name: str) -> str:
    return boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]


def named(**names: str) -> dict[str, str]:
    return {"STANDALONE_INIT_SECRETS": json.dumps(names)}


def test_a_secret_that_is_there_is_kept(store: Store, name: str) -> None:
    assert store.ensure(name, "first", purpose="jwt_secret") == ("first", True)
    assert store.ensure(name, "second", purpose="jwt_secret") == ("first", False)
    assert held(name) == "first"


def test_of_five_that_race_one_wins_and_all_have_its_value(aws: str, name: str) -> None:
    def race(number: int) -> tuple[str, bool]:
        store = Store(Aws(service="standalone-init", version="0", region=None))
        return store.ensure(name, f"value-{number}", purpose="jwt_secret")

    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(race, range(5)))

    assert {value for value, _ in found} == {held(name)}
    assert sum(is_ours for _, is_ours in found) == 1


def test_a_secret_that_infrastructure_code_made_empty_is_filled(store: Store, name: str) -> None:
    boto3.client("secretsmanager").create_secret(Name=name)
    assert not store.has_value(name)

    assert store.ensure(name, "first", purpose="jwt_secret") == ("first", True)
    assert store.has_value(name)


def test_keys_have_a_form_and_a_wrong_one_is_not_shown() -> None:
    good = Fernet.generate_key().decode()
    assert fernet.keys(f"{good}, {good}") == (good, good)

    with pytest.raises(ValueError, match="key 2 of 2 is not 32 bytes") as caught:
        fernet.keys(f"{good},hunter22")
    assert "hunter22" not in str(caught.value)


def test_a_key_is_judged_by_what_is_stored() -> None:
    mine, other = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    assert fernet.judge((mine,), []) is Verdict.UNPROVEN
    assert fernet.judge((), [fernet.canary(mine)]) is Verdict.UNPROVEN
    assert fernet.judge((mine,), [fernet.canary(mine)]) is Verdict.FITS
    assert fernet.judge((other, mine), [fernet.canary(mine)]) is Verdict.FITS
    assert fernet.judge((mine,), [fernet.canary(mine), fernet.canary(other)]) is Verdict.MISMATCH


def test_apply_makes_the_secrets_and_leaves_a_canary(
    standalone_init: Run, database: str, name: str, airflow: FakeAirflow
) -> None:
    done = standalone_init("apply", **named(fernet_key=name))
    assert done.code == 0, done.out

    assert Fernet(held(name)).decrypt(canary(database)) == fernet.CANARY_TEXT
    assert held(name) not in done.out
    again = standalone_init("apply", **named(fernet_key=name))
    assert "nothing_to_do" in again.out


def test_a_wrong_key_stops_before_any_write(
    standalone_init: Run, database: str, airflow: FakeAirflow
) -> None:
    right, wrong = (Fernet.generate_key().decode() for _ in range(2))
    assert standalone_init("apply", AIRFLOW__CORE__FERNET_KEY=right).code == 0
    before = canary(database)

    done = standalone_init("apply", AIRFLOW__CORE__FERNET_KEY=wrong)

    assert done.code == 78, done.out
    assert canary(database) == before
    assert right not in done.out
    assert wrong not in done.out


def test_a_container_with_another_key_than_the_secret_is_no_rotation(
    standalone_init: Run, name: str, airflow: FakeAirflow
) -> None:
    assert standalone_init("secrets", "ensure", **named(fernet_key=name)).code == 0
    here = Fernet.generate_key().decode()

    done = standalone_init("apply", **named(fernet_key=name), AIRFLOW__CORE__FERNET_KEY=here)
    told = standalone_init("secrets", "doctor", **named(fernet_key=name), AIRFLOW__CORE__FERNET_KEY=here)

    assert done.code == 78
    assert airflow.calls == []
    assert told.code == 76
    assert "is not what secret" in told.out


def test_ensure_says_what_it_made_and_never_what_it_is(standalone_init: Run, name: str) -> None:
    first = standalone_init("secrets", "ensure", **named(fernet_key=name))
    second = standalone_init("secrets", "ensure", **named(fernet_key=name))

    assert first.out.startswith("made  fernet_key")
    assert second.out.startswith("kept  fernet_key")
    assert held(name) not in first.out + second.out


def test_a_misspelled_purpose_is_refused(standalone_init: Run) -> None:
    done = standalone_init("apply", **named(fernet_kee="x"))

    assert done.code == 2
    assert "no such purpose 'fernet_kee' (did you mean fernet_key?)" in done.out + done.err


def test_a_rotation_is_not_finished_before_it_was_begun_nor_in_an_old_container(
    standalone_init: Run, name: str, airflow: FakeAirflow
) -> None:
    assert standalone_init("apply", **named(fernet_key=name)).code == 0
    old = held(name)

    early = standalone_init("secrets", "rotate-fernet", "--finish", **named(fernet_key=name))
    begun = standalone_init("secrets", "rotate-fernet", **named(fernet_key=name))
    twice = standalone_init("secrets", "rotate-fernet", **named(fernet_key=name))
    both = held(name)
    stale = standalone_init(
        "secrets", "rotate-fernet", "--finish", **named(fernet_key=name), AIRFLOW__CORE__FERNET_KEY=old
    )

    assert (early.code, begun.code, twice.code, stale.code) == (2, 0, 0, 75)
    assert both.split(",")[1] == old
    assert "phase 1 of 2" in begun.out
    assert held(name) == both


def canary(url: str) -> bytes:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT token FROM airflow_ecs.init_canary").fetchone()
    assert row is not None
    return str(row[0]).encode()
