from __future__ import annotations

from sidecar.errors import ConfigError, Transient


def test_an_error_is_one_line_of_what_why_and_what_to_do() -> None:
    assert str(Transient("It failed", why="it is down.", remedy="Wait")) == "It failed: it is down. Wait"
    assert str(Transient("It failed", why="is it down?", remedy="Wait")) == "It failed: is it down? Wait"
    assert str(Transient("It failed", remedy="Wait")) == "It failed. Wait"
    assert str(Transient("It failed")) == "It failed"


def test_several_problems_are_several_lines_and_a_single_one_is_the_error_itself() -> None:
    assert ConfigError("Bad", problems=["a", "b"]).lines() == ("a", "b")
    assert ConfigError("Bad", why="because").lines() == ("Bad: because",)
