"""One simulation of one policy, and several of them side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_scaler.simulate.bounds import Bounds
from worker_scaler.simulate.plot import load_pyplot, plot
from worker_scaler.simulate.report import summary
from worker_scaler.simulate.workload import Workload
from worker_scaler.simulate.world import Controller, Terms, World

MakeController = Callable[[World, int], Controller]
"""Builds who steers a world; the number is a seed for its own chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What all policies are played with.

    Attributes:
        seed: of the world's chance; the same for each policy.
        plots: where a picture per policy goes; None draws none.
    """

    workload: Workload
    limits: Bounds
    terms: Terms
    seed: int
    plots: Path | None = None


def play(experiment: Experiment, name: str, make: MakeController) -> dict[str, Any]:
    """Play one policy and return its numbers.

    Raises:
        ConfigError: a picture is wanted and cannot be drawn.
    """
    world = World(experiment.workload, seed=experiment.seed, terms=experiment.terms)
    controller = make(world, experiment.seed)
    world.play(controller)
    line = summary(name, world.measure, experiment.limits)
    if experiment.plots is not None:
        plot(
            experiment.plots / f"{name}.png",
            load_pyplot(),
            world.measure,
            line,
            experiment.workload,
            slots=experiment.terms.tasks_per_worker,
        )
    return line


def play_all(
    experiment: Experiment, policies: Sequence[tuple[str, MakeController]], *, jobs: int
) -> Iterator[dict[str, Any]]:
    """Play policies, ``jobs`` at a time, each in a process of its own; yield their numbers in order.

    The makers travel to other processes when ``jobs`` is more than 1, so they must be picklable.
    """
    if jobs == 1:
        for name, make in policies:
            yield play(experiment, name, make)
        return
    context = multiprocessing.get_context("spawn")  # the same on every platform, and no inherited threads
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        futures = [pool.submit(play, experiment, name, make) for name, make in policies]
        for future in futures:
            yield future.result()
