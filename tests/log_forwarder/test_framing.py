"""Lines are cut without losing a byte, and the same way however the bytes arrive."""

from __future__ import annotations

from hypothesis import given, strategies as st

from log_forwarder.framing import Piece, cut, cut_tail

# Few letters, so that newlines, long lines, split characters and broken UTF-8 are common.
texts = st.lists(
    st.sampled_from([b"\n", b"a", b"bc\r\n", b"x" * 9, "é".encode(), "🪣".encode(), b"\xff"])
).map(b"".join)
limits = st.integers(min_value=4, max_value=12)


def pieces_of(data: bytes, limit: int, *, start: int = 0, parts_before: int = 0) -> list[Piece]:
    return list(cut(data, start=start, parts_before=parts_before, limit_bytes=limit))


def bytes_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece.text + (b"\n" if piece.is_terminated else b"") for piece in pieces)


@given(texts, limits)
def test_no_byte_is_lost_and_the_order_is_kept(data: bytes, limit: int) -> None:
    pieces = pieces_of(data, limit)
    end = pieces[-1].end if pieces else 0

    assert bytes_of(pieces) == data[:end]
    assert b"\n" not in data[end:]
    assert len(data) - end <= limit


@given(texts, limits)
def test_pieces_tile_the_file_and_none_is_too_long(data: bytes, limit: int) -> None:
    offset = 0
    for piece in pieces_of(data, limit):
        assert piece.start == offset
        assert piece.end - piece.start == len(piece.text) + piece.is_terminated
        assert len(piece.text) <= limit
        offset = piece.end


@given(texts, limits, st.data())
def test_a_restart_anywhere_cuts_the_same_pieces(data: bytes, limit: int, choose: st.DataObject) -> None:
    whole = pieces_of(data, limit)
    kept = whole[: choose.draw(st.integers(0, len(whole)))]
    end, parts = (kept[-1].end, kept[-1].parts_after) if kept else (0, 0)

    assert kept + pieces_of(data[end:], limit, start=end, parts_before=parts) == whole


@given(texts, limits, st.data())
def test_growing_files_are_cut_as_if_they_had_been_there_at_once(
    data: bytes, limit: int, choose: st.DataObject
) -> None:
    seen = choose.draw(st.integers(0, len(data)))
    first = pieces_of(data[:seen], limit)
    end, parts = (first[-1].end, first[-1].parts_after) if first else (0, 0)

    assert first + pieces_of(data[end:], limit, start=end, parts_before=parts) == pieces_of(data, limit)


@given(texts.filter(lambda data: b"\n" not in data), limits)
def test_the_parts_of_a_long_line_are_numbered_and_the_last_says_so(line: bytes, limit: int) -> None:
    pieces = pieces_of(line + b"\n", limit)

    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert [piece.part for piece in pieces] == ([0] if len(pieces) == 1 else list(range(1, len(pieces) + 1)))


@given(st.text(alphabet="aé🪣", min_size=1), limits)
def test_a_cut_never_splits_a_character(line: str, limit: int) -> None:
    for piece in pieces_of(line.encode() + b"\n", limit):
        piece.text.decode()


def test_a_flushed_tail_goes_on_with_the_number_of_its_line() -> None:
    tail = cut_tail(b"end", start=8, parts_before=2)

    assert (tail.start, tail.end, tail.part, tail.is_last, tail.is_terminated) == (8, 11, 3, True, False)
