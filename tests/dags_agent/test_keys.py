"""Only plain names inside the target, whatever the bucket holds."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given, strategies as st

from dags_agent.errors import Reason, Refused, Skip
from dags_agent.globs import matches_any, refuse_unusable
from dags_agent.keys import NAME_BYTES_MAX, KeyRules, UnsafeKey, relative_path, to_listing
from dags_agent.listing import Listed, Listing

from .fakes import PREFIX, RULES, listed

hostile = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.py", "\0", "\n", "~", "…", "\\", "é"]) | st.text(max_size=5),
    min_size=1,
    max_size=6,
).map("/".join)


def paths(*items: Listed, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    listing = to_listing(items, KeyRules(prefix=PREFIX, include=include, exclude=exclude))
    return [item.path for item in listing.objects]


def skipped(listing: Listing) -> dict[str, Skip]:
    return {item.key: item.skip for item in listing.skipped}


@given(hostile)
def test_a_key_becomes_a_plain_path_below_the_root_or_nothing(tail: str) -> None:
    try:
        path = relative_path(PREFIX + tail, prefix=PREFIX)
    except UnsafeKey:
        return
    parts = PurePosixPath(path).parts
    assert "/".join(parts) == path
    assert not {"..", ".", "", "/"} & set(parts)
    assert not any(ord(character) < 32 or ord(character) == 127 for character in path)
    assert all(len(part.encode()) <= 255 for part in parts)


@given(st.lists(hostile, min_size=2, max_size=2, unique=True))
def test_two_keys_never_become_one_path(tails: list[str]) -> None:
    try:
        first, second = (relative_path(PREFIX + tail, prefix=PREFIX) for tail in tails)
    except UnsafeKey:
        return
    assert first != second


@pytest.mark.parametrize(
    "tail",
    [
        "../x.py",
        "a/../../x.py",
        "/etc/passwd",
        "a//b.py",
        "./a.py",
        "a/.",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "a\u2028b",
        "n" * (NAME_BYTES_MAX + 1),
        "é" * 128,
        "\ud800",
    ],
)
def test_an_unsafe_key_is_left_out_and_named_and_the_rest_is_published(tail: str) -> None:
    objects = [listed(f"{PREFIX}good.py"), listed(PREFIX + tail), listed(f"{PREFIX}z.py")]
    listing = to_listing(objects, RULES)
    assert [item.path for item in listing.objects] == ["good.py", "z.py"]
    assert skipped(listing) == {PREFIX + tail: Skip.UNSAFE_KEY}
    assert listing.skipped[0].why

    with pytest.raises(Refused) as refused:
        to_listing(objects, KeyRules(prefix=PREFIX, refuses_unsafe=True))
    assert refused.value.reason is Reason.UNSAFE_KEY
    assert repr(PREFIX + tail) in str(refused.value)


def test_of_a_key_that_is_both_a_file_and_a_directory_the_directory_stays() -> None:
    listing = to_listing([listed("dags/a"), listed("dags/a-b"), listed("dags/a/b.py")], RULES)
    assert [item.path for item in listing.objects] == ["a-b", "a/b.py"]
    assert skipped(listing) == {"dags/a": Skip.KEY_CONFLICT}


def test_names_that_differ_in_case_or_in_unicode_form_only_are_files_of_their_own() -> None:
    composed, decomposed = "dags/\u00e9.py", "dags/e\u0301.py"
    keys = [composed, decomposed, "dags/Dag.py", "dags/dag.py"]
    assert len(paths(*map(listed, keys))) == 4


@pytest.mark.parametrize("key", ["dags/.release.json", "dags/.dags-agent/building/x.py"])
def test_the_agents_own_names_are_nobody_elses(key: str) -> None:
    assert skipped(to_listing([listed(key), listed("dags/a.py")], RULES)) == {key: Skip.RESERVED_KEY}


def test_hidden_names_pass_through_as_airflowignore_has_to() -> None:
    keys = ["dags/.airflowignore", "dags/team/.airflowignore", "dags/.hidden/x.sql", "dags/~x"]
    assert len(paths(*map(listed, keys))) == 4


def test_what_nfs_would_never_let_go_is_left_out() -> None:
    listing = to_listing([listed("dags/.nfs0000"), listed("dags/a.py")], RULES)
    assert skipped(listing) == {"dags/.nfs0000": Skip.UNSAFE_KEY}


def test_an_object_over_the_ceiling_is_left_out_and_one_without_a_byte_is_a_file() -> None:
    huge = Listed(
        key="dags/huge.zip",
        size_bytes=5 << 30,
        etag='"e-640"',
        last_modified=listed("x").last_modified,
        storage_class="STANDARD",
    )
    rules = KeyRules(prefix=PREFIX, max_file_bytes=1 << 28)
    listing = to_listing([huge, listed("dags/empty.py", b"")], rules)
    assert [item.path for item in listing.objects] == ["empty.py"]
    assert skipped(listing) == {"dags/huge.zip": Skip.OVERSIZED_OBJECT}
    assert [item.path for item in to_listing([huge], RULES).objects] == ["huge.zip"]


def test_more_files_than_a_dag_folder_has_refuse_the_publish() -> None:
    with pytest.raises(Refused, match="lists 3 files") as refused:
        to_listing([listed(f"dags/{n}.py") for n in range(3)], KeyRules(prefix=PREFIX, max_files=2))
    assert refused.value.reason is Reason.TOO_MANY_FILES


def test_a_key_listed_twice_refuses_the_publish() -> None:
    with pytest.raises(Refused, match="listed twice"):
        paths(listed("dags/a"), listed("dags/a"))


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_known_before_anything_is_downloaded(storage_class: str) -> None:
    listing = to_listing([listed("dags/a.py", storage_class=storage_class), listed("dags/b.py")], RULES)
    assert [item.path for item in listing.objects] == ["b.py"]
    assert [item.path for item in listing.archived] == ["a.py"]


def test_the_marker_is_no_file_and_gates_by_itself() -> None:
    rules = KeyRules(prefix=PREFIX, marker="_release.json", include=("*.py",))
    listing = to_listing([listed("dags/_release.json"), listed("dags/a.py")], rules)
    assert [item.path for item in listing.objects] == ["a.py"]
    assert listing.marker is not None


def test_a_key_that_nobody_asked_for_is_neither_the_marker_nor_a_file() -> None:
    rules = KeyRules(prefix=PREFIX, marker="_release.json")
    listing = to_listing([listed("_release.json"), listed("a.py"), listed(f"{PREFIX}b.py")], rules)
    assert listing.marker is None
    assert [item.path for item in listing.objects] == ["b.py"]
    assert [(item.key, item.skip) for item in listing.skipped] == [
        ("_release.json", Skip.UNSAFE_KEY),
        ("a.py", Skip.UNSAFE_KEY),
    ]


def test_directory_markers_are_ignored_but_not_data_under_such_a_name() -> None:
    assert paths(listed("dags/", b""), listed("dags/sub/", b""), listed("dags/sub/a.py")) == ["sub/a.py"]
    listing = to_listing([listed("dags/sub/", b"data")], RULES)
    assert skipped(listing) == {"dags/sub/": Skip.UNSAFE_KEY}


def test_an_excluded_key_is_not_judged() -> None:
    assert paths(listed("dags/../x"), listed("dags/a.py"), exclude=("../x",)) == ["a.py"]


def test_byte_code_is_always_left_out() -> None:
    junk = ("dags/__pycache__/a.cpython-311.pyc", "dags/sub/__pycache__/x.txt", "dags/a.pyc")
    assert paths(*map(listed, junk), listed("dags/a.py"), include=("*",)) == ["a.py"]


def test_paths_are_sorted_and_include_narrows_them() -> None:
    keys = ("dags/z.py", "dags/a.sql", "dags/team/b.py", "dags/team/notes.md")
    assert paths(*map(listed, keys)) == ["a.sql", "team/b.py", "team/notes.md", "z.py"]
    assert paths(*map(listed, keys), include=("*.py", "*.sql")) == ["a.sql", "team/b.py", "z.py"]
    assert paths(*map(listed, keys), include=("team/",), exclude=("*.md",)) == ["team/b.py"]


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("*.md", ["a.md", "x/y/a.md"], ["a.mdx", "a.md.py"]),
        ("tests", ["tests", "tests/a.py", "x/tests/a.py"], ["mytests/a.py", "tests.py"]),
        ("tests/", ["tests/a.py", "x/tests/b/c.py"], ["tests", "x/tests"]),
        ("team/*.py", ["team/a.py"], ["team/x/a.py", "x/team/a.py"]),
        ("team/**/a.py", ["team/a.py", "team/x/a.py", "team/x/y/a.py"], ["team/xa.py", "a.py"]),
        ("/a.py", ["a.py"], ["team/a.py"]),
        ("/tests", ["tests", "tests/a.py"], ["x/tests", "x/tests/a.py"]),
        ("/tests/", ["tests/a.py"], ["tests", "x/tests/a.py"]),
        ("/*.md", ["a.md"], ["x/a.md"]),
        ("team/lib/", ["team/lib/a.py"], ["team/lib", "x/team/lib/a.py"]),
        ("**/a.py", ["a.py", "x/y/a.py"], ["x/ba.py"]),
        ("a?[0-9].py", ["ab1.py"], ["a1.py", "abc.py", "a/1.py"]),
        ("[!a]*", ["b.py"], ["a.py"]),
        ("a+b(1).py", ["a+b(1).py"], ["aab1.py"]),
    ],
)
def test_globs_mean_what_people_expect(pattern: str, taken: list[str], left: list[str]) -> None:
    assert [path for path in taken + left if matches_any(path, [pattern])] == taken


@given(st.text(alphabet="ab*?[]!/^\\-", max_size=8), st.text(alphabet="ab/", min_size=1, max_size=8))
def test_any_text_is_a_usable_glob_or_refused_at_the_start(pattern: str, path: str) -> None:
    try:
        refuse_unusable([pattern])
    except ValueError:
        return
    assert matches_any(path, [pattern]) in (True, False)
