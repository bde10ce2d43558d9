"""A trace as text: what was written is what is read, and what is not a trace is said to be none."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from worker_scaler.trace import Trace, TraceError, TraceTask, read_trace, write_trace

HEADER = '{"trace": "worker-scaler", "version": 1, "source": "airflow", "seconds": 10}'
milliseconds = st.integers(min_value=0, max_value=10**9).map(lambda value: value / 1000)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    tasks: list[TraceTask] = []
    for place in range(draw(st.integers(min_value=0, max_value=8))):
        after = draw(st.sets(st.integers(min_value=0, max_value=max(0, place - 1)), max_size=place))
        name = st.text(min_size=1, max_size=5)
        tasks.append(
            TraceTask(
                ready_seconds=draw(milliseconds),
                runs_seconds=draw(milliseconds),
                queue=draw(name),
                dag=draw(name),
                task=draw(name),
                run=draw(name),
                after=tuple(sorted(after)),
            )
        )
    return Trace(seconds=draw(milliseconds), source="airflow", tasks=tuple(tasks))


@given(traces())
def test_what_is_written_is_what_is_read(trace: Trace) -> None:
    assert read_trace(write_trace(trace)) == trace


def test_members_that_nobody_knows_yet_are_ignored() -> None:
    read = read_trace([HEADER, '{"ready": 1, "runs": 2, "colour": "blue"}'])

    assert read.tasks == (TraceTask(ready_seconds=1.0, runs_seconds=2.0),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "line 1: the text is empty"),
        (["[]"], "line 1: is not an object"),
        (["{}"], "line 1: is not the header"),
        (['{"trace": "worker-scaler", "version": 2}'], "this program reads 1"),
        ([HEADER, "{"], "line 2: is not JSON"),
        ([HEADER, '{"ready": -1, "runs": 2}'], "line 2: 'ready' must be seconds"),
        ([HEADER, '{"ready": 1, "runs": true}'], "line 2: 'runs' must be seconds"),
        ([HEADER, '{"ready": 1, "runs": 1, "after": [0]}'], "line 2: 'after' must list places of earlier"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(lines: list[str], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        read_trace(lines)
