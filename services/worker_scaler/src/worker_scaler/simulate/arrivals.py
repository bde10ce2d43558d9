"""Synthetic cron arrivals for workflows that come without any: invented, repeatable, and told.

Each workflow gets one cron schedule. Half of them begin at minute 0, as people's crons do. A run takes the
workflow's runtimes, each multiplied by chance, so that no run is an exact copy of an earlier one: what the
history predicts is never the truth.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from worker_scaler.simulate.workload import Dag, DagRun, Workload

HOUR = 3600
DAY = 24 * HOUR
PERIOD_SHARES = {1: 0.10, 2: 0.15, 4: 0.20, 6: 0.20, 12: 0.20, 24: 0.15}
"""Hours between two runs, and how many of the workflows have it: 11 runs in two days on average."""
MINUTE_ZERO_SHARE = 0.5
RUNTIME_SIGMA = 0.2  # log-normal: of each task, and half as much of a whole run
PAST_DAYS = 3.0
"""What the simulated database remembers at the begin. A daily run is in it three times."""


def cron_workload(dags: Sequence[Dag], *, seed: int, days: float) -> Workload:
    """Return ``days`` of cron runs of all workflows, and the past that a history is learnt from."""
    dice = random.Random(seed)  # noqa: S311 - chance that can be repeated, nothing secret
    hours = list(PERIOD_SHARES)
    runs: list[DagRun] = []
    past: list[DagRun] = []
    for index, dag in enumerate(dags):
        period = dice.choices(hours, tuple(PERIOD_SHARES.values()))[0] * HOUR
        minute = 0 if dice.random() < MINUTE_ZERO_SHARE else dice.randrange(5, 60, 5)
        at = dice.randrange(period // HOUR) * HOUR + minute * 60 - PAST_DAYS * DAY
        while at < days * DAY:
            run = DagRun(dag=index, at_seconds=at, seconds=_runtimes(dag, dice))
            (runs if at >= 0 else past).append(run)
            at += period
    runs.sort(key=lambda run: (run.at_seconds, run.dag))
    past.sort(key=lambda run: (run.at_seconds, run.dag))
    return Workload(
        dags=tuple(dags),
        runs=tuple(runs),
        past=tuple(past),
        seconds=days * DAY,
        description=(
            f"{len(dags)} workflows with their own runtimes and shapes; SYNTHETIC: cron schedules "
            f"(seed {seed}), and each runtime varied log-normally (sigma {RUNTIME_SIGMA:g})"
        ),
    )


def _runtimes(dag: Dag, dice: random.Random) -> tuple[float, ...]:
    """Vary a run as a whole and each task in it; the mean stays."""
    of_run = dice.lognormvariate(-((RUNTIME_SIGMA / 2) ** 2) / 2, RUNTIME_SIGMA / 2)
    mu = -(RUNTIME_SIGMA**2) / 2
    return tuple(
        seconds * of_run * dice.lognormvariate(mu, RUNTIME_SIGMA) if seconds else 0.0
        for seconds in dag.seconds
    )
