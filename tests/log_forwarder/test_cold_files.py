"""A set of files that takes 17 bytes for each, and forgets those that are gone."""

from __future__ import annotations

from hypothesis import given, strategies as st

from log_forwarder.inputs.cold_files import ColdFiles

operations = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.integers(1, 40), st.integers(0, 3)), max_size=200
)


@given(operations)
def test_it_is_a_set_with_states(steps: list[tuple[str, int, int]]) -> None:
    cold, model = ColdFiles(), dict[int, int]()
    for verb, inode, size in steps:
        if verb == "add":
            cold.add(1, inode, size, 5)
            model[inode] = size
        else:
            cold.remove(1, inode)
            model.pop(inode, None)

    assert len(cold) == len(model)
    for inode in range(1, 41):
        assert cold.has(1, inode) == (inode in model)
        for size in range(4):
            assert cold.meet(1, inode, size, 5) == (model.get(inode) == size)


def test_it_grows_and_what_a_scan_does_not_meet_is_dropped() -> None:
    cold = ColdFiles()
    for inode in range(1, 20_001):
        cold.add(1, inode, 10, inode)
    assert len(cold) == 20_000

    cold.begin_round()
    assert all(cold.meet(1, inode, 10, inode) for inode in range(1, 20_001, 2))
    assert cold.end_round() == 10_000

    assert (len(cold), cold.has(1, 1), cold.has(1, 2)) == (10_000, True, False)


def test_a_file_that_changed_is_not_cold() -> None:
    cold = ColdFiles()
    cold.add(1, 7, 10, 5)

    assert not cold.meet(1, 7, 11, 5)
    assert not cold.meet(1, 7, 10, 6)
    assert not cold.meet(2, 7, 10, 5)
    assert cold.meet(1, 7, 10, 5)
