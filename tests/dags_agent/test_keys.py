"""Only plain names inside the target, whatever the bucket holds."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given, strategies as st

from dags_agent.errors import Reason, Refused
from dags_agent.globs import matches_any, refuse_unusable
from dags_agent.keys import NAME_BYTES_MAX, relative_path, to_listing
from dags_agent.listing import Listed

from .fakes import PREFIX, listed

hostile = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.py", "\0", "\n", "~", "…", "\\", "é"]) | st.text(max_size=5),
    min_size=1,
    max_size=6,
).map("/".join)


def paths(*items: Listed, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    listing = to_listing(items, prefix=PREFIX, include=include, exclude=exclude)
    return [item.path for item in listing.objects]


@given(hostile)
def test_a_key_becomes_a_plain_path_below_the_root_or_nothing(tail: str) -> None:
    try:
        path = relative_path(PREFIX + tail, prefix=PREFIX)
    except Refused:
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
    except Refused:
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
def test_an_unsafe_key_refuses_the_publish_and_is_named(tail: str) -> None:
    with pytest.raises(Refused) as refused:
        paths(listed(f"{PREFIX}good.py"), listed(PREFIX + tail))
    assert refused.value.reason is Reason.UNSAFE_KEY
    assert repr(PREFIX + tail) in str(refused.value)


def test_a_key_that_is_both_a_file_and_a_directory_refuses_the_publish() -> None:
    with pytest.raises(Refused, match=r"'dags/a'.*'dags/a/b\.py'"):
        paths(listed("dags/a"), listed("dags/a-b"), listed("dags/a/b.py"))


def test_a_key_listed_twice_refuses_the_publish() -> None:
    with pytest.raises(Refused, match="listed twice"):
        paths(listed("dags/a"), listed("dags/a"))


def test_an_archived_object_refuses_the_publish_before_anything_is_downloaded() -> None:
    with pytest.raises(Refused, match="DEEP_ARCHIVE") as refused:
        paths(listed("dags/a.py", storage_class="DEEP_ARCHIVE"))
    assert refused.value.reason is Reason.ARCHIVED_OBJECT


def test_directory_markers_are_ignored_but_not_data_under_such_a_name() -> None:
    assert paths(listed("dags/", b""), listed("dags/sub/", b""), listed("dags/sub/a.py")) == ["sub/a.py"]
    with pytest.raises(Refused, match="empty name"):
        paths(listed("dags/sub/", b"data"))


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
