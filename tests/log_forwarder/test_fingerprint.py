"""A place in a file is known by the bytes around it, however they were cut into pieces and reads."""

from __future__ import annotations

from functools import reduce

from hypothesis import given, strategies as st

from log_forwarder.fingerprint import HEAD_BYTES, MARKER_BYTES, Fingerprint
from log_forwarder.framing import cut

contents = st.lists(
    st.one_of(st.just(b""), st.binary(max_size=20), st.binary(min_size=900, max_size=1200)), max_size=12
).map(lambda lines: b"".join(line + b"\n" for line in lines))


@given(contents, st.integers(4, 2000))
def test_it_is_the_first_1024_and_the_last_64_bytes(content: bytes, limit_bytes: int) -> None:
    pieces = cut(content, start=0, parts_before=0, limit_bytes=limit_bytes)

    assert reduce(Fingerprint.after, pieces, Fingerprint(b"", b"")) == Fingerprint(
        content[:HEAD_BYTES], content[-MARKER_BYTES:]
    )


@given(contents)
def test_a_head_that_is_known_is_not_collected_again(content: bytes) -> None:
    pieces = cut(content, start=5000, parts_before=0, limit_bytes=2000)

    assert reduce(Fingerprint.after, pieces, Fingerprint(None, b"x" * MARKER_BYTES)) == Fingerprint(
        None, (b"x" * MARKER_BYTES + content)[-MARKER_BYTES:]
    )
