"""The objects file is judged as a whole, and compared without showing a secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sidecar.errors import ConfigError
from standalone_init.objects.difference import Found, difference, digest
from standalone_init.objects.document import Reference, read
from standalone_init.objects.model import Wanted
from standalone_init.objects.wanted import references, wanted

KEY = b"k" * 32
PASSWORD = "correct horse"

GOOD = """
version: 1
pools:
  - {name: heavy, slots: 4, description: Big ones}
variables:
  - {key: env, value: prod}
  - {key: token, value: {secret: vars, key: token}}
connections:
  - id: warehouse
    type: postgres
    host: {parameter: /dw/host}
    password: {secret: dw}
    port: 5432
    extra: {sslmode: require, key: {env: DW_KEY}}
roles:
  - {name: Analyst, permissions: [[can_read, DAGs], [can_read, Website]]}
users:
  - {username: ann, email: ann@example.com, first_name: Ann, last_name: Lee, roles: [Analyst],
     password: {secret: ann}}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "objects.yaml"
    path.write_text(text)
    return path


def test_a_good_file_gives_objects_with_their_references_resolved(tmp_path: Path) -> None:
    document = read(written(tmp_path, GOOD))

    found = {(one.kind, one.key): one for one in wanted(document, lambda reference: f"<{reference}>")}

    assert list(found) == [
        ("role", "Analyst"),
        ("user", "ann"),
        ("pool", "heavy"),
        ("variable", "env"),
        ("variable", "token"),
        ("connection", "warehouse"),
    ]
    assert found["variable", "token"].secrets == {"value": "<secret vars field token>"}
    warehouse = found["connection", "warehouse"]
    assert warehouse.fields == {"conn_type": "postgres", "port": 5432}
    assert warehouse.secrets == {
        "host": "<parameter /dw/host>",
        "password": "<secret dw>",
        "extra": '{"key":"<variable DW_KEY>","sslmode":"require"}',
    }
    assert len(list(references(document))) == 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("version: 2", "version: Input should be 1"),
        ("polls: []", r"no such key 'polls' \(did you mean pools\?\)"),
        ("pools: [{name: a, slots: 1}, {name: a, slots: 2}]", "declared more than once: pool 'a'"),
        ("pools: [{name: a, slots: many}]", "pools.0.slots"),
        ("pools: [{name: a, slots: -2}]", "pools.0.slots"),
        ("variables: [{key: a, value: {secret: x, env: Y}}]", "give exactly one of"),
        ("connections: [{id: 'a b', type: http}]", "connections.0.id"),
        ("connections: [{id: a, type: http, extra: {k: {key: x}}}]", "give exactly one of"),
        (
            "users: [{username: a, email: b, first_name: A, last_name: B, roles: [R], password: hunter22}]",
            "users.0.password",
        ),
        ("users: []\nusers: [}", "while parsing"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_and_never_with_a_value(
    tmp_path: Path, change: str, complaint: str
) -> None:
    text = change if change.startswith("version") else f"version: 1\n{change}"

    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, text))

    said = "\n".join(caught.value.lines())
    assert re.search(complaint, said), said
    assert "hunter22" not in said


def test_all_problems_of_a_file_are_named_in_one_go(tmp_path: Path) -> None:
    text = yaml.safe_dump({"version": 1, "pools": [{"name": "a"}, {"slots": 3}]})

    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, text))

    assert len(caught.value.problems) == 2


def test_a_reference_says_where_a_value_lies_and_not_what_it_is() -> None:
    assert str(Reference(secret="dw", key="password")) == "secret dw field password"


WAREHOUSE = Wanted(
    kind="connection",
    key="warehouse",
    fields={"conn_type": "postgres", "host": "db"},
    secrets={"password": PASSWORD},
)


def found(**more: object) -> Found:
    usual = {
        "kind": "connection",
        "key": "warehouse",
        "fields": {"conn_type": "postgres", "host": "db", "port": 1},
        "digests": {"password": digest(PASSWORD, key=KEY)},
    }
    return Found(**{**usual, **more})  # type: ignore[arg-type]  # a builder with defaults


def test_what_is_as_declared_is_left_alone_and_so_are_fields_that_were_not_declared() -> None:
    assert difference([WAREHOUSE], [found()], key=KEY) == []


def test_a_change_shows_fields_and_names_secrets() -> None:
    other = found(fields={"conn_type": "postgres", "host": "old"}, digests={"password": None})

    (change,) = difference([WAREHOUSE], [other], key=KEY)

    assert str(change) == "change connection warehouse: host 'old' to 'db', password"
    assert PASSWORD not in repr(change)
    assert change.secrets == {"password": PASSWORD}


def test_an_object_that_is_absent_is_made_whole() -> None:
    (change,) = difference([WAREHOUSE], [], key=KEY)

    assert (change.action, change.fields, change.secrets) == (
        "create",
        WAREHOUSE.fields,
        WAREHOUSE.secrets,
    )


def test_a_users_password_is_set_when_made_and_later_only_when_that_is_asked_for() -> None:
    ann = Wanted(kind="user", key="ann", fields={"active": True}, first_password=PASSWORD)
    there = Found(kind="user", key="ann", fields={"active": True})
    rotating = Wanted(
        kind="user", key="ann", fields={"active": True}, first_password=PASSWORD, sets_password=True
    )
    with_it = Found(kind="user", key="ann", fields={"active": True}, has_wanted_password=True)

    assert difference([ann], [], key=KEY)[0].secrets == {"password": PASSWORD}
    assert difference([ann], [there], key=KEY) == []
    assert difference([rotating], [there], key=KEY)[0].secrets == {"password": PASSWORD}
    assert difference([rotating], [with_it], key=KEY) == []


def test_only_what_an_earlier_file_declared_is_ever_removed() -> None:
    mine = Found(kind="pool", key="mine", fields={})
    theirs = Found(kind="pool", key="theirs", fields={})

    changes = difference(
        [WAREHOUSE], [found(), mine, theirs], key=KEY, owned={("pool", "mine"), ("pool", "gone")}
    )

    assert [str(change) for change in changes] == ["remove pool mine"]
