"""The simulated world, and the scaler in it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from worker_scaler.simulate.arrivals import cron_workload
from worker_scaler.simulate.bounds import bounds
from worker_scaler.simulate.ecs import StartLatency, Status, Task
from worker_scaler.simulate.policies import scaler_policies
from worker_scaler.simulate.replay import trace_workload
from worker_scaler.simulate.report import summary
from worker_scaler.simulate.shipped import shipped_fleet
from worker_scaler.simulate.workload import Dag, DagRun, Workload, make_dag
from worker_scaler.simulate.world import STOP_TIMEOUT_SECONDS, Terms, World
from worker_scaler.trace import Trace, TraceTask

HOUR = 3600.0
TERMS = Terms(tasks_per_worker=4, latency=StartLatency(median_seconds=60.0, sigma=0.0))


def work(*runs: tuple[float, Dag], seconds: float = HOUR) -> Workload:
    """Runs that begin at these moments."""
    return Workload(
        dags=tuple(dag for _, dag in runs),
        runs=tuple(
            DagRun(dag=index, at_seconds=at, seconds=dag.seconds) for index, (at, dag) in enumerate(runs)
        ),
        past=(),
        seconds=seconds,
        description="a test",
    )


def flat(*seconds: float, name: str = "flat") -> Dag:
    return make_dag(name, seconds, [[] for _ in seconds])


def policies() -> dict[str, Any]:
    return {policy.name: policy.controller for policy in scaler_policies(TERMS, max_workers=100)}


def simulate(
    workload: Workload, policy: str, *, seed: int = 1, terms: Terms = TERMS
) -> tuple[World, dict[str, Any]]:
    world = World(workload, seed=seed, terms=terms)
    world.play(policies()[policy](world, seed))
    return world, summary(policy, world.measure, bounds(workload, terms))


def busy_day() -> Workload:
    dags = [
        make_dag("wide", [5.0, *[40.0] * 30, 20.0], [[], *[[0]] * 30, list(range(1, 31))]),
        flat(*[2.0] * 50, name="short"),
        flat(10.0, 900.0, 30.0, name="mixed"),
    ]
    wide, short, mixed = dags
    return work((0.0, wide), (300.0, short), (420.0, mixed), (900.0, wide), (1500.0, short), (1510.0, wide))


class Always:
    """A rule that wants so many workers from a moment on."""

    has_agents = False

    def __init__(self, *steps: tuple[float, int]) -> None:
        self._steps = steps

    def tick(self, world: World) -> None:
        world.service.set_desired([count for at, count in self._steps if at <= world.now][-1], world.now)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("policy", list(policies()))
def test_no_task_is_killed_and_all_are_done_whatever_part_is_off(policy: str) -> None:
    workload = busy_day()
    world, line = simulate(workload, policy)
    assert line["tasks_killed"] == 0
    assert line["tasks"] == sum(len(run.seconds) for run in workload.runs)
    assert not world.service.live
    assert not world.unfinished


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    noisy = Terms(tasks_per_worker=4, latency=StartLatency(median_seconds=60.0, sigma=0.3))
    first, again, other = (simulate(busy_day(), "default", seed=s, terms=noisy)[1] for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_what_ships_is_what_the_settings_say() -> None:
    fleet = shipped_fleet(tasks_per_worker=16, max_workers=7)
    assert (fleet.tasks_per_worker, fleet.max_workers, fleet.min_workers) == (16, 7, 0)
    assert fleet.foresight is not None
    assert fleet.packing is not None


def test_a_worker_stopped_under_a_long_task_kills_it_and_airflow_runs_it_again() -> None:
    world = World(work((0.0, flat(600.0))), seed=1, terms=TERMS)
    world.play(Always((0.0, 1), (100.0, 0), (500.0, 1), (1300.0, 0)))
    assert world.measure.killed_tasks == 1
    began, stopped = 60.0, 100.0
    assert world.measure.lost_seconds == pytest.approx(stopped + STOP_TIMEOUT_SECONDS - began)
    assert not world.unfinished


def test_a_worker_stopped_under_a_short_task_lets_it_end() -> None:
    world = World(work((0.0, flat(100.0))), seed=1, terms=TERMS)
    world.play(Always((0.0, 1), (100.0, 0)))
    assert world.measure.killed_tasks == 0


def test_a_cordoned_worker_takes_nothing_more_once_its_poll_has_returned() -> None:
    world = World(work((200.0, flat(1.0))), seed=1, terms=TERMS)
    taken: list[Task] = []

    class Cordons:
        has_agents = True

        def tick(self, world: World) -> None:
            world.service.set_desired(1 if world.now < 400 else 0, world.now)
            for task in world.service.live.values():
                if world.now < 300 and task.status is Status.RUNNING:
                    world.order(task, cordon=True)
                    taken.extend([task] if task.running else [])
                else:
                    world.order(task, cordon=False)
                    task.protected_until = 0.0 if world.now >= 400 else task.protected_until

        def close(self) -> None:
            pass

    world.play(Cordons())
    assert not taken
    assert world.measure.waits[0] == pytest.approx(100.0, abs=TERMS.tick_seconds)


def test_arrivals_repeat_by_seed_and_the_past_is_before_the_begin() -> None:
    dags = (flat(1.0), flat(2.0, name="other"))
    found = cron_workload(dags, seed=5, days=1)
    assert found == cron_workload(dags, seed=5, days=1)
    assert found != cron_workload(dags, seed=6, days=1)
    assert all(run.at_seconds < 0 for run in found.past)
    assert all(0 <= run.at_seconds < found.seconds for run in found.runs)


class TestBounds:
    def test_clairvoyant_is_the_integral_of_the_workers_that_are_needed(self) -> None:
        found = bounds(work((0.0, flat(*[HOUR] * 5))), TERMS)
        assert found.clairvoyant == pytest.approx(2.0)

    def test_a_start_costs_its_pull_and_a_gap_shorter_than_that_is_bridged(self) -> None:
        found = bounds(work((0.0, flat(HOUR)), (HOUR + 12.0, flat(HOUR))), TERMS)
        assert found.clairvoyant_with_start_latency == pytest.approx(2.0 + (48.0 + 12.0) / HOUR)

    def test_children_begin_when_their_parents_end(self) -> None:
        chain = make_dag("chain", [HOUR, HOUR], [[], [0]])
        assert bounds(work((0.0, chain)), TERMS).clairvoyant == pytest.approx(2.0)

    @pytest.mark.parametrize("policy", ["default", "protection_only"])
    def test_who_lets_nothing_wait_cannot_undercut_it(self, policy: str) -> None:
        _, line = simulate(work((0.0, flat(*[HOUR] * 4))), policy)
        assert line["worker_hours_over_clairvoyant"] > 1.0


class TestLearning:
    def test_a_known_cron_run_finds_its_workers_running(self) -> None:
        dag = flat(*[120.0] * 8)
        runs = tuple(DagRun(dag=0, at_seconds=at, seconds=dag.seconds) for at in (1800.0, 3600.0, 5400.0))
        past = (DagRun(dag=0, at_seconds=-1800.0, seconds=dag.seconds),)
        workload = Workload(dags=(dag,), runs=runs, past=past, seconds=2 * HOUR, description="cron")
        _, early = simulate(workload, "prescale_early")
        _, never = simulate(workload, "no_prescaling")
        assert early["wait_p95_seconds"] <= TERMS.tick_seconds
        assert never["wait_p95_seconds"] >= TERMS.latency.median_seconds

    def test_nothing_is_known_of_a_dag_before_its_first_run(self) -> None:
        dag = flat(*[120.0] * 8)
        _, line = simulate(work((1800.0, dag)), "prescale_early")
        assert line["wait_p95_seconds"] >= TERMS.latency.median_seconds


def test_a_trace_replays_its_moments_and_its_order() -> None:
    tasks = (
        TraceTask(ready_seconds=100.0, runs_seconds=50.0, dag="d", task="a", run="r1"),
        TraceTask(ready_seconds=120.0, runs_seconds=10.0, dag="d", task="b", run="r1", after=(0,)),
        TraceTask(ready_seconds=900.0, runs_seconds=5.0, dag="d", task="a", run="r2"),
    )
    workload = trace_workload(Trace(seconds=HOUR, tasks=tasks))
    assert [run.at_seconds for run in workload.runs] == [100.0, 900.0]
    world = World(workload, seed=1, terms=TERMS)
    world.play(partial(Always, (0.0, 1), (1200.0, 0))())
    assert list(world.measure.waits) == pytest.approx([0.0, 0.0, 0.0])
    assert bounds(workload, TERMS).clairvoyant * HOUR == pytest.approx(65.0)


def test_a_policy_that_never_goes_to_zero_is_not_waited_for_and_pays_for_it() -> None:
    workload = work((0.0, flat(60.0)))
    world = World(workload, seed=1, terms=TERMS)
    world.play(Always((0.0, 1)))
    line = summary("always", world.measure, bounds(workload, TERMS))
    assert line["time_to_zero_seconds"] is None
    assert line["worker_hours"] > 1.0
