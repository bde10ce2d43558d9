"""What a secret looks like is masked, everything else stays as it was."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from log_forwarder.transforms.redaction import MASK, find_secrets, redact, safe_cut

KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
JWT = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiJhaXJmbG93In0" + ".c2lnbmF0dXJl"
FERNET = "gAAAAA" + "Bk" + "x" * 92 + "=="

secret_word = st.text(
    alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+~.", min_size=6
)
pieces = st.sampled_from(
    [
        "password=",
        '"token": "',
        '\\"secret\\": \\"',
        "://user:",
        "@host",
        KEY_ID,
        JWT,
        FERNET,
        '"',
        "\\",
        " ",
        ":",
    ]
)
soup = st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=30).map(
    lambda parts: "".join(parts).encode()
)


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        (f"key {KEY_ID} used", "key *** used"),
        ("AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx", "AWS_SECRET_ACCESS_KEY=***"),
        (f"Cookie: _token={JWT}; Path=/", "Cookie: _token=***; Path=/"),
        (f"got {JWT}", "got ***"),
        (f"value {FERNET} stored", "value *** stored"),
        (
            "AIRFLOW__CORE__FERNET_KEY=81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
            "AIRFLOW__CORE__FERNET_KEY=***",
        ),
        ("postgresql+psycopg2://airflow:s3cr%40t@db:5432/x", "postgresql+psycopg2://airflow:***@db:5432/x"),
        ("redis://:only@cache/0", "redis://:***@cache/0"),
        ("login with password=hunter2, ok", "login with password=***, ok"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("{'password': 'two words'}", "{'password': '***'}"),
    ],
)
def test_each_kind_of_secret_is_masked_and_nothing_beside_it(line: str, masked: str) -> None:
    assert redact(line.encode()) == (masked.encode(), 1)


@pytest.mark.parametrize(
    "line",
    [
        "https://airflow.example:8080/dags/a?run=1",
        '{"timestamp":"2026-11-22T09:26:56Z","level":"info","event":"Task finished","dag_id":"d"}',
        "passed 3 keys to the next step",
        '{"token": null}',
        "the word password alone",
        "AKIAshort",
        "user@host:/path",
    ],
)
def test_a_line_without_a_secret_stays_as_it_is(line: str) -> None:
    assert redact(line.encode()) == (line.encode(), 0)


@given(secret_word, st.sampled_from(["password", "api_key", "Secret", "session_token", "db_passwd"]))
def test_a_named_secret_does_not_survive_in_json_nor_in_json_inside_json(secret: str, name: str) -> None:
    secret = f"S3{secret}"
    plain = json.dumps({"event": "x", name: secret, "n": 1})
    nested = json.dumps({"event": json.dumps({name: secret, "n": 1})})
    for line in (plain, nested):
        masked, hits = redact(line.encode())
        assert hits == 1
        assert secret.encode() not in masked
        assert json.loads(masked).keys() == json.loads(line).keys()


@given(
    st.dictionaries(st.sampled_from(["password", "token", "n", "event"]), st.one_of(st.text(), st.integers()))
)
def test_json_stays_json(document: dict[str, object]) -> None:
    masked, _ = redact(json.dumps(document).encode())
    assert json.loads(masked).keys() == document.keys()


@given(soup)
def test_what_is_masked_once_is_not_masked_again(data: bytes) -> None:
    masked, _ = redact(data)
    assert redact(masked) == (masked, 0)


@given(soup)
def test_hits_are_in_order_and_apart_and_only_they_change(data: bytes) -> None:
    hits = find_secrets(data)
    assert all(hit.start < hit.end for hit in hits)
    assert all(one.end <= other.start for one, other in pairwise(hits))
    masked, count = redact(data)
    assert count == len(hits)
    assert len(masked) == len(data) + sum(len(hit.mask) - (hit.end - hit.start) for hit in hits)


@given(soup, st.lists(soup, max_size=4))
def test_a_line_is_masked_alike_alone_and_among_others(line: bytes, others: list[bytes]) -> None:
    line = line.replace(b"\n", b" ").replace(b"\r", b" ")
    block = b"\n".join([*others, line, b"end"])
    assert redact(block)[0].split(b"\n")[-2] == redact(line)[0]


@given(st.integers(min_value=0, max_value=300))
def test_a_cut_never_falls_into_a_secret(at: int) -> None:
    data = f"a {KEY_ID} b {JWT} c password=hunter2 d {FERNET} e".encode()
    at = min(at, len(data))
    cut = safe_cut(data, at)
    both = redact(data[:cut])[0] + redact(data[cut:])[0]
    assert cut <= at
    assert both == redact(data)[0]


@pytest.mark.parametrize(
    "hostile", [b"eyJ", b"://a:", b"password", b'token":"', b"gAAAAA", b"eyJaaaaaaaaa.eyJaaaa "]
)
def test_no_input_makes_it_slow(hostile: bytes) -> None:
    """Work is bounded by length: a million bytes of half a secret end, and within the suite's time limit."""
    data = hostile * (1_000_000 // len(hostile))
    assert len(redact(data)[0]) <= len(data) + len(MASK)
