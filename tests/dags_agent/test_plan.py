"""The decision: what a pass does, and what it refuses."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from dags_agent.errors import Reason, Refused
from dags_agent.listing import Listing
from dags_agent.manifest import Manifest, ManifestUnreadable, ReleasedFile, new_release_id, published_at
from dags_agent.plan import compare, make_plan
from dags_agent.policy import Policy
from dags_agent.retention import to_retire
from dags_agent.steps import CompileFiles, FetchFiles, Record, Retire, Seal, Sweep, Switch
from dags_agent.target import Target

from .fakes import NOON, listing_of

POLICY = Policy(max_delete_fraction=1.0, keep_releases=3, keep=timedelta(hours=24), must_compile=False)
names = st.sampled_from(["a.py", "b.py", "lib/c.py", "lib/d.sql", "e"])
trees = st.dictionaries(names, st.binary(max_size=3), min_size=1)


def a_release_of(listing: Listing, at: datetime = NOON) -> Manifest:
    release_id = new_release_id(int(at.timestamp()), listing.fingerprint)
    files = tuple(
        ReleasedFile(
            key=item.key,
            path_begins=item.path_begins,
            size_bytes=item.size_bytes,
            etag=item.etag,
            version_id=None,
            last_modified=item.last_modified,
            sha256="",
            mtime_seconds=int(at.timestamp()),
        )
        for item in listing.objects
    )
    return Manifest(release_id=release_id, source="s3://bucket/dags/", files=files)


def live_with(files: dict[str, bytes], at: datetime = NOON) -> Target:
    manifest = a_release_of(listing_of(files), at)
    return Target(live=manifest.release_id, manifest=manifest, releases={manifest.release_id: None})


@given(trees, trees)
def test_the_delta_is_exact(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    delta = compare(listing_of(after), live_with(before))
    assert {file.path for file in delta.unchanged} == {p for p in after if before.get(p) == after[p]}
    assert {item.path for item in delta.changed} == {p for p in after if before.get(p) != after[p]}
    assert set(delta.deleted) == before.keys() - after.keys()


@given(trees)
def test_an_unchanged_listing_has_no_steps_whatever_its_times(files: dict[str, bytes]) -> None:
    listing = listing_of(files)
    touched = tuple(replace(item, last_modified=NOON + timedelta(days=9)) for item in listing.objects)
    target = live_with(files)
    assert make_plan(Listing(objects=touched), target, POLICY, now=NOON) == ()


def test_an_edit_of_the_same_size_in_the_same_second_is_a_change() -> None:
    delta = compare(listing_of({"a.py": b"retries=2"}), live_with({"a.py": b"retries=1"}))
    assert [item.path for item in delta.changed] == ["a.py"]


@given(trees, trees)
def test_current_moves_after_the_release_is_whole_and_before_anything_is_retired(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    old = {new_release_id(day * 86400, "0" * 8): None for day in range(1, 6)}
    target = live_with(before)
    target = replace(target, releases={**old, **target.releases})
    kinds = [type(step) for step in make_plan(listing_of(after), target, POLICY, now=NOON)]
    if before == after:
        assert set(kinds) <= {Retire, Sweep}
        return
    assert kinds.index(FetchFiles) < kinds.index(Seal) < kinds.index(Switch) < kinds.index(Retire)
    assert kinds.count(Switch) == 1


def test_an_empty_listing_is_refused_even_when_all_may_be_deleted() -> None:
    for target in (live_with({"a.py": b""}), Target()):
        with pytest.raises(Refused) as refused:
            make_plan(Listing(objects=()), target, POLICY, now=NOON)
        assert refused.value.reason is Reason.EMPTY_LISTING


@given(trees, trees, st.floats(0, 1))
def test_more_deletions_than_allowed_are_refused(
    before: dict[str, bytes], after: dict[str, bytes], fraction: float
) -> None:
    policy = replace(POLICY, max_delete_fraction=fraction)
    is_too_many = len(before.keys() - after.keys()) / len(before) > fraction
    expectation = pytest.raises(Refused, match="lacks") if is_too_many else nullcontext()
    with expectation:
        make_plan(listing_of(after), live_with(before), policy, now=NOON)


def test_a_damaged_file_is_fetched_again_into_a_new_release() -> None:
    files = {"a.py": b"1", "b.py": b"2"}
    target = replace(live_with(files), damaged=frozenset({"b.py"}))
    steps = make_plan(listing_of(files), target, POLICY, now=NOON)
    assert [item.path for step in steps if isinstance(step, FetchFiles) for item in step.objects] == ["b.py"]
    assert any(isinstance(step, Switch) and step.release_id != target.live for step in steps)


def test_a_release_built_before_a_crash_is_used_not_built_again() -> None:
    target = live_with({"a.py": b"1"})
    listing = listing_of({"a.py": b"2"})
    ready = a_release_of(listing, NOON + timedelta(seconds=5)).release_id
    target = replace(target, releases={**target.releases, ready: listing.fingerprint})
    steps = make_plan(listing, target, POLICY, now=NOON + timedelta(minutes=1))
    assert Switch(release_id=ready, predecessor=target.live) in steps
    assert not any(isinstance(step, FetchFiles) for step in steps)


@given(st.lists(trees, min_size=2, max_size=5), st.integers(-5, 5))
def test_no_two_releases_share_a_modification_second_whatever_the_clock_does(
    versions: list[dict[str, bytes]], drift_seconds: int
) -> None:
    target, seconds = Target(), []
    for number, files in enumerate(versions):
        now = NOON + timedelta(seconds=number * drift_seconds / 5)
        listing = listing_of({**files, "version": str(number).encode()})
        fetch = next(
            step for step in make_plan(listing, target, POLICY, now=now) if isinstance(step, FetchFiles)
        )
        seconds.append(fetch.mtime_seconds)
        manifest = a_release_of(listing, published_at(fetch.release_id))
        releases = {**target.releases, manifest.release_id: None}
        target = Target(live=manifest.release_id, manifest=manifest, releases=releases)
    assert seconds == sorted(set(seconds))


def test_only_changed_python_files_go_through_the_gate() -> None:
    target = live_with({"old.py": b"1", "notes.md": b"1"})
    listing = listing_of({"old.py": b"1", "notes.md": b"2", "lib/new.py": b"1"})
    steps = make_plan(listing, target, replace(POLICY, must_compile=True), now=NOON)
    assert [step.paths for step in steps if isinstance(step, CompileFiles)] == [("lib/new.py",)]


@given(
    st.sets(st.integers(0, 200), min_size=1, max_size=8),
    st.data(),
    st.integers(1, 4),
    st.integers(0, 100),
)
def test_retention_keeps_the_live_the_newest_and_the_lately_replaced(
    hours: set[int], data: st.DataObject, keep_releases: int, keep_hours: int
) -> None:
    ids = sorted(new_release_id(int((NOON + timedelta(hours=h)).timestamp()), "0" * 8) for h in hours)
    live = data.draw(st.sampled_from(ids))
    now = NOON + timedelta(hours=300)
    ages = {release: data.draw(st.integers(0, 300), label=release) for release in ids if release != live}
    superseded = {release: now - timedelta(hours=age) for release, age in ages.items()}
    policy = replace(POLICY, keep_releases=keep_releases, keep=timedelta(hours=keep_hours))
    retired = to_retire(set(ids), live, superseded, policy, now=now)
    expected = [r for r in ids[:-keep_releases] if r != live and ages[r] >= keep_hours]
    assert retired == expected


def test_a_release_is_young_while_its_successor_is_when_nobody_recorded_the_change() -> None:
    first, second = (new_release_id(int((NOON + timedelta(hours=h)).timestamp()), "0" * 8) for h in (0, 48))
    policy = replace(POLICY, keep_releases=1)
    for hours, expected in ((71, []), (72, [first])):
        now = NOON + timedelta(hours=hours)
        assert to_retire({first, second}, second, {}, policy, now=now) == expected


def test_a_release_replaced_just_before_a_kill_still_stays_its_hours() -> None:
    rolled_back_to, *replaced = (
        new_release_id(int((NOON + timedelta(days=day)).timestamp()), "0" * 8) for day in range(3)
    )
    old = live_with({"a.py": b"1"})
    assert old.manifest is not None
    now = NOON + timedelta(days=9)
    target = replace(
        old,
        live=rolled_back_to,
        releases=dict.fromkeys([rolled_back_to, *replaced]),
        superseded=dict.fromkeys(replaced, NOON + timedelta(days=2)),
    )
    listing = listing_of({"a.py": b"2"})
    steps = make_plan(listing, target, POLICY, now=now)
    switch = next(step for step in steps if isinstance(step, Switch))
    done = steps[: steps.index(switch) + 1]  # killed here

    records = [step.superseded for step in done if isinstance(step, Record)]
    after = Target(
        live=switch.release_id,
        manifest=a_release_of(listing, now),
        releases={**target.releases, switch.release_id: None},
        superseded=records[-1] if records else target.superseded,
    )
    for hours, expected in ((0, []), (23, []), (24, [Retire(release_id=rolled_back_to), Sweep()])):
        assert list(make_plan(listing, after, POLICY, now=now + timedelta(hours=hours))) == expected


def test_a_manifest_survives_writing_and_reading_and_a_torn_one_is_noticed() -> None:
    manifest = a_release_of(listing_of({"a b.py": b"1", "é/c.py": b"2"}))
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    for torn in (
        b"",
        text[:-9],
        text.replace(b"a b.py", b"a c.py"),
        text.replace(b'"format": 1', b'"format": 2'),
    ):
        with pytest.raises(ManifestUnreadable):
            Manifest.from_json(torn)
