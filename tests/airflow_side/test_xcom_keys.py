"""Where XComs lie: the same place for the same coordinates, another for others, and always a legal key."""

from __future__ import annotations

from hypothesis import given, strategies

from airflow_ecs.xcom.keys import MAX_KEY_BYTES, MAX_PREFIX_BYTES, Coordinate, object_key, pin_key, segment
from airflow_ecs.xcom.reference import Reference, parse

texts = strategies.text(strategies.characters(exclude_categories=["Cs"]), max_size=300)
coordinates = strategies.builds(
    Coordinate,
    dag_id=texts,
    run_id=texts,
    task_id=texts,
    map_index=strategies.integers(-1, 10_000),
    key=texts,
)


@given(coordinates, coordinates)
def test_other_coordinates_never_share_a_key(one: Coordinate, other: Coordinate) -> None:
    same = object_key("p", one.context()) == object_key("p", other.context())
    assert same == (one == other)


@given(texts, texts)
def test_no_text_looks_like_another_or_leaves_its_place(one: str, other: str) -> None:
    assert (segment(one) == segment(other)) == (one == other)
    assert "/" not in segment(one)
    assert segment(one) not in {"", ".", ".."}


@given(coordinates)
def test_the_longest_key_is_legal(coordinate: Coordinate) -> None:
    key = object_key("p" * MAX_PREFIX_BYTES, coordinate.context())
    assert len(key.encode()) <= MAX_KEY_BYTES


def test_ids_of_the_longest_kind_fit() -> None:
    longest = Coordinate(
        dag_id="ç" * 250, run_id="ç" * 250, task_id="ç" * 250, map_index=99_999, key="ç" * 512
    )
    assert len(object_key("p" * MAX_PREFIX_BYTES, longest.context())) <= MAX_KEY_BYTES


def test_usual_ids_are_readable_in_the_bucket() -> None:
    run = Coordinate(dag_id="etl", run_id="scheduled__2026-01-01T00:00:00+00:00", task_id="group.load")
    assert (
        object_key("xcom", run.context())
        == "xcom/v1/etl/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00/group.load/-1/return_value"
    )
    assert object_key("", run.context()).startswith("v1/etl/")
    assert pin_key("xcom", "etl", "r", "/db/password") == "xcom/pins/v1/etl/r/%2Fdb%2Fpassword"


@given(coordinates)
def test_a_reference_survives_the_database(coordinate: Coordinate) -> None:
    reference = Reference(
        bucket="b",
        key=object_key("p", coordinate.context()),
        version_id="v",
        sha256="0",
        size=1,
        encryption="sse-kms",
        content_type="application/json",
        content_encoding=None,
        context=coordinate.context(),
    )
    assert parse(reference.to_json()) == reference
