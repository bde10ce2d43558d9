"""A line that is too long is cut between characters, and no byte is lost."""

from __future__ import annotations

from hypothesis import given, strategies as st

from log_forwarder.framing import part_end


@given(st.binary(min_size=1, max_size=40))
def test_a_cut_always_advances_and_holds_back_at_most_three_bytes(data: bytes) -> None:
    assert max(1, len(data) - 3) <= part_end(data) <= len(data)


@given(st.text(alphabet="aé€🪣", min_size=4), st.integers(min_value=4))
def test_a_cut_never_splits_a_character(line: str, limit: int) -> None:
    data = line.encode()[:limit]

    data[: part_end(data)].decode()


def test_what_is_not_utf_8_is_cut_anywhere() -> None:
    assert part_end(b"\x80" * 10) == 10
    assert part_end(b"abc\xff") == 3  # the first byte of a character that does not exist: cut before it
