"""One picture per run: the demand, the workers, and the waits. Needs the extra ``plot``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigError
from worker_scaler.simulate.measure import Measure, Sample, quantile
from worker_scaler.simulate.workload import Workload

_HOUR = 3600.0
_POINTS = 1500  # more cannot be seen
_INK, _MUTED, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
_NEEDED, _BUSY, _DRAINING, _STARTING, _WAITING = "#1f2933", "#3d7ea6", "#a9cce3", "#f2b134", "#c8553d"


def load_pyplot() -> Any:
    """Return matplotlib's pyplot, drawing without a screen.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra: only who plots needs it

        mpl.use("Agg")
        from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend was chosen
    except ImportError as err:
        raise ConfigError(
            "Nothing can be plotted",
            why="matplotlib is not installed",
            remedy="Install it with: pip install 'worker-scaler[plot]', or leave out --plot",
        ) from err
    return plt


def plot(
    path: Path, pyplot: Any, measure: Measure, line: Mapping[str, Any], workload: Workload, *, slots: int
) -> None:
    """Write one run's picture."""
    until = workload.seconds
    samples = [sample for sample in measure.samples if sample.at_seconds <= until]
    figure, (workers, tasks, waits) = pyplot.subplots(
        3, 1, figsize=(12, 9.5), height_ratios=(3, 1.6, 1.6), layout="constrained"
    )
    figure.suptitle(_title(line), x=0.01, ha="left", fontsize=13, color=_INK, fontweight="bold")
    _draw_workers(workers, samples, slots)
    _draw_tasks(tasks, samples)
    _draw_waits(waits, measure)
    for axes in (workers, tasks, waits):
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_MUTED)
    for axes in (workers, tasks):
        axes.set_xlim(0, until / _HOUR)
    tasks.set_xlabel("hours of virtual time", color=_MUTED)
    figure.text(0.01, -0.02, workload.description, fontsize=8, color=_MUTED)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def _title(line: Mapping[str, Any]) -> str:
    return (
        f"{line['policy']}: {line['worker_hours']:.0f} worker-hours, "
        f"{line['worker_hours_over_clairvoyant']:.2f} x clairvoyant · "
        f"wait p95 {line['wait_p95_seconds']:.0f} s · {line['tasks_killed']} tasks killed"
    )


def _draw_workers(axes: Any, samples: Sequence[Sample], slots: int) -> None:
    hours, peaks = _buckets(samples)
    working = peaks(lambda sample: sample.running_workers - sample.cordoned_workers)
    draining = peaks(lambda sample: sample.cordoned_workers)
    starting = peaks(lambda sample: sample.pending_workers)
    axes.stackplot(
        hours,
        working,
        draining,
        starting,
        labels=("working", "cordoned", "starting"),
        colors=(_BUSY, _DRAINING, _STARTING),
        step="post",
        linewidth=0,
    )
    needed = peaks(lambda sample: -(-(sample.executing + sample.queued) // slots))
    axes.step(
        hours, needed, where="post", color=_NEEDED, linewidth=0.9, label="needed for the tasks there are"
    )
    axes.set_ylabel("workers", color=_INK)
    axes.legend(loc="upper right", frameon=False, ncols=4, fontsize=9)


def _draw_tasks(axes: Any, samples: Sequence[Sample]) -> None:
    hours, peaks = _buckets(samples)
    axes.fill_between(
        hours,
        peaks(lambda sample: sample.executing),
        step="post",
        color=_BUSY,
        linewidth=0,
        label="executing",
    )
    axes.step(
        hours,
        peaks(lambda sample: sample.queued),
        where="post",
        color=_WAITING,
        linewidth=1.0,
        label="queued",
    )
    axes.set_ylabel("tasks", color=_INK)
    axes.legend(loc="upper right", frameon=False, ncols=2, fontsize=9)


def _draw_waits(axes: Any, measure: Measure) -> None:
    """Draw which share of the tasks waited at most so long."""
    ordered = sorted(measure.waits)
    step = max(1, len(ordered) // _POINTS)
    shown = ordered[::step]
    shares = [100.0 * (index * step + 1) / len(ordered) for index in range(len(shown))]
    axes.step(shown, shares, where="post", color=_BUSY, linewidth=1.6)
    for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        seconds = quantile(measure.waits, share)
        axes.plot([seconds], [100 * share], "o", color=_WAITING, markersize=5)
        axes.annotate(
            f"{name} {seconds:.0f} s",
            (seconds, 100 * share),
            xytext=(7, -12),
            textcoords="offset points",
            fontsize=9,
            color=_INK,
        )
    axes.set_xlim(0, max(10.0, 1.25 * quantile(measure.waits, 0.995)))
    axes.set_ylim(0, 103)
    axes.set_ylabel("% of tasks", color=_INK)
    axes.set_xlabel("seconds from queued to begun, at most", color=_MUTED)


def _buckets(
    samples: Sequence[Sample],
) -> tuple[list[float], Callable[[Callable[[Sample], int]], list[int]]]:
    """Thin out the samples; each point is the highest of its bucket, so that no burst is hidden."""
    size = max(1, len(samples) // _POINTS)
    groups = [samples[at : at + size] for at in range(0, len(samples), size)]
    hours = [group[0].at_seconds / _HOUR for group in groups]
    return hours, lambda value: [max(value(sample) for sample in group) for group in groups]
