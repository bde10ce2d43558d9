"""Crash safety without crashing: every plan is stopped after each of its steps, and must still converge.

The idea is Patroni's (``quorum.py`` and its tests): apply a prefix, forget all memory, look again,
plan again, finish, and demand the goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

World = TypeVar("World")
Step = TypeVar("Step")


def run_every_prefix(
    *,
    start: Callable[[], World],
    plan: Callable[[World], Sequence[Step]],
    apply: Callable[[World, Step], None],
    holds: Callable[[World], None],
    is_goal: Callable[[World], None],
) -> int:
    """Stop a plan after each prefix, plan again from what is found, and check both halves.

    Args:
        start: makes a fresh world; called once per prefix.
        plan: looks at a world and returns the steps to its goal. Must not remember.
        apply: does one step to a world.
        holds: asserts what must be true after *every* step (the invariant).
        is_goal: asserts what must be true at the end.

    Returns:
        How many prefixes were tried, so that a test can assert that there were some.
    """
    length = len(plan(start()))
    for stop_after in range(length + 1):
        world = start()
        for step in list(plan(world))[:stop_after]:
            apply(world, step)
            holds(world)
        for step in plan(world):
            apply(world, step)
            holds(world)
        is_goal(world)
    return length + 1
