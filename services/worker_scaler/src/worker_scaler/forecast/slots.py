"""How much of a slot a task will hold. Pure.

A worker that is ordered now runs in a minute. A task that will be over long before then gives its slot to the
next one, so a hundred tasks of three seconds do not need a hundred slots. Over a drain window a task holds
``min(1, remaining / window)`` of one: with as many slots as these shares add up to, all of them have begun
when the window is over.
"""

from __future__ import annotations

from collections.abc import Mapping

from worker_scaler.history import Durations, TaskName

WHOLE = 1.0
"""The share of a task of which nothing is known, or that is older than all before it."""

_POINTS = tuple((point + 0.5) / 20 for point in range(20))


def share_of_new(name: TaskName, durations: Mapping[TaskName, Durations], window_seconds: float) -> float:
    """Return how much of a slot a task that has not begun will hold over the window, 0 to 1."""
    known = durations.get(name)
    if known is None or window_seconds <= 0:
        return WHOLE
    return sum(min(WHOLE, known.at(point) / window_seconds) for point in _POINTS) / len(_POINTS)


def share_of_running(remaining_seconds: float | None, window_seconds: float) -> float:
    """Return how much of its slot a running task will go on to hold over the window, 0 to 1."""
    if remaining_seconds is None or window_seconds <= 0:
        return WHOLE
    return min(WHOLE, remaining_seconds / window_seconds)
