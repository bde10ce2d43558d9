"""What is an orphan: nothing that is referred to, young, or pinned for a run that is still known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies

from airflow_ecs.xcom import sweep
from airflow_ecs.xcom.keys import pin_key
from airflow_ecs.xcom.reference import MARK
from airflow_ecs.xcom.sweeping import Listed, fingerprint, orphans, referenced

from .xcoms import TASK, XComs

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
listings = strategies.lists(
    strategies.builds(
        Listed,
        key=strategies.sampled_from(["p/v1/a", "p/v1/b", "p/v1/c"]),
        version_id=strategies.sampled_from([None, "1", "2"]),
        size=strategies.just(1),
        modified_at=strategies.sampled_from([NOON - timedelta(days=2), NOON]),
    )
)


@given(listings, strategies.sets(strategies.sampled_from(["p/v1/a", "p/v1/b"])))
def test_nothing_referred_to_and_nothing_young_is_an_orphan(listed: list[Listed], keys: set[str]) -> None:
    known = {fingerprint("b", key, "1") for key in keys}
    limit = NOON - timedelta(days=1)
    found = list(orphans(listed, bucket="b", prefix="p", known=known, runs=(), older_than=limit))
    for each in listed:
        is_kept = each.modified_at >= limit or (each.key in keys and each.version_id == "1")
        assert (each in found) == (not is_kept)


def test_a_pin_lives_as_long_as_its_run_is_known() -> None:
    keys = [pin_key("p", "dag", "r:1", "/x"), pin_key("p", "dag", "r:2", "/x"), "p/pins/v1"]
    listed = [Listed(key=key, version_id=None, size=1, modified_at=NOON) for key in keys]
    found = orphans(
        listed,
        bucket="b",
        prefix="p",
        known=(),
        runs={("dag", "r:1")},
        older_than=NOON + timedelta(1),
    )
    assert [each.key for each in found] == keys[1:]


def test_what_is_no_reference_refers_to_nothing() -> None:
    assert list(referenced([None, 5, "s3://b/k", {"uri": "s3://b/k"}, {MARK: 99}, {MARK: 1}])) == []


@pytest.mark.integration
def test_every_version_is_listed_and_deleted_one_by_one(xcoms: XComs) -> None:
    store = xcoms.store()
    first, second = store.put(TASK, "first"), store.put(TASK, "second")
    listed = list(sweep.objects_of(xcoms.s3, xcoms.bucket, "xcom"))
    known = set(referenced([second]))
    later = datetime.now(UTC) + timedelta(days=1)  # noqa: TID251  # the objects have the real time
    found = list(orphans(listed, bucket=xcoms.bucket, prefix="xcom", known=known, runs=(), older_than=later))
    assert [each.version_id for each in found] == [first["version_id"]]
    assert sweep.delete(xcoms.s3, xcoms.bucket, found) == 0
    assert store.get(second) == "second"
    assert len(list(sweep.objects_of(xcoms.s3, xcoms.bucket, "xcom"))) == 1


@pytest.mark.integration
def test_a_bucket_without_versions_is_listed_as_such(xcoms: XComs) -> None:
    bucket = xcoms.new_bucket(versioned=False)
    xcoms.store(bucket=bucket).put(TASK, "value")
    (listed,) = sweep.objects_of(xcoms.s3, bucket, "xcom")
    assert listed.version_id is None
    assert sweep.delete(xcoms.s3, bucket, [listed]) == 0
    assert list(sweep.objects_of(xcoms.s3, bucket, "xcom")) == []
