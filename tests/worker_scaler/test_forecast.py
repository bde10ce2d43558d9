"""What is foreseen, and what it may change."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, strategies as st

from worker_scaler.decide import decide
from worker_scaler.forecast.foresee import foresee
from worker_scaler.forecast.latency import UNKNOWN_SECONDS, StartLatencies
from worker_scaler.forecast.policy import Foresight
from worker_scaler.forecast.slots import WHOLE, share_of_new, share_of_running
from worker_scaler.history import QUANTILES, Durations, History, NextRun, TaskName
from worker_scaler.memory import Memory
from worker_scaler.model import Phase, QueuedTasks, Reading, RunningTask
from worker_scaler.outlook import Outlook

from . import fakes
from .fakes import NOON, fleet, host, sighting, worker

TICK = timedelta(seconds=10)
BOLD = Foresight()
SHORT, LONG = TaskName(dag_id="d", task_id="short"), TaskName(dag_id="d", task_id="long")


def always(seconds: float) -> Durations:
    return Durations(samples=9, seconds=(seconds,) * len(QUANTILES))


HISTORY = History(taken_at=NOON, durations={SHORT: always(4.0), LONG: always(4000.0)})


def queued(**tasks: int) -> Reading:
    """A reading of queue "heavy" in which these wait."""
    base = fakes.reading(sum(tasks.values()))
    groups = [QueuedTasks(queue="heavy", dag_id="d", task_id=name, tasks=n) for name, n in tasks.items()]
    return Reading(taken_at=NOON, queues=base.queues, queued_tasks=tuple(groups))


def outlook(
    reading: Reading, history: History = HISTORY, *, foresight: Foresight | None = BOLD, **more: object
) -> Outlook:
    policy = fleet(foresight=foresight)
    seen = more.get("seen", sighting(0))
    latencies = more.get("latencies", StartLatencies())
    return foresee(policy, seen, reading, history, latencies, now=NOON, tick=TICK)  # type: ignore[arg-type]  # test builder


def next_run(seconds: float, width: int = 10, **changes: object) -> History:
    run = NextRun(
        dag_id="d", at=NOON + timedelta(seconds=seconds), width={"heavy": width}, first_tasks=("long",)
    )
    return History(taken_at=NOON, durations=HISTORY.durations, next_runs=(run,))


class TestDrain:
    def test_short_tasks_do_not_need_a_slot_each(self) -> None:
        seen = outlook(queued(short=100), foresight=Foresight(drain=timedelta(seconds=40)))
        assert seen.drained_tasks == 90  # 100 tasks of 4 s keep 10 slots busy for 40 s

    def test_long_and_unknown_tasks_need_a_slot_each(self) -> None:
        assert outlook(queued(long=7, stranger=5)).drained_tasks == 0

    def test_without_history_the_count_is_exact(self) -> None:
        assert outlook(queued(short=100), History()) == outlook(queued(short=100), foresight=None)

    def test_a_task_that_outlived_all_before_it_is_not_expected_to_end(self) -> None:
        assert share_of_running(None, 40.0) == WHOLE

    def test_a_running_task_that_is_about_to_end_gives_its_slot_away(self) -> None:
        began = NOON - timedelta(seconds=3990)
        running = [RunningTask(host=host(1), queue="heavy", dag_id="d", task_id="long", started_at=began)] * 4
        base = fakes.reading(busy={host(1): 4})
        reading = Reading(taken_at=NOON, queues=base.queues, running_tasks=tuple(running))
        assert outlook(reading, foresight=Foresight(drain=timedelta(seconds=40))).drained_tasks == 3

    @given(st.floats(0.0, 1e5), st.floats(0.0, 1e4))
    def test_a_share_is_never_more_than_a_slot_and_never_less_than_none(
        self, seconds: float, window: float
    ) -> None:
        assert 0.0 <= share_of_new(SHORT, {SHORT: always(seconds)}, window) <= WHOLE
        assert 0.0 <= share_of_running(seconds, window) <= WHOLE

    @given(st.integers(1, 500), st.integers(0, 10_000))
    def test_waiting_tasks_get_a_worker_however_much_drains(self, tasks: int, drained: int) -> None:
        decision = decide(
            fleet(),
            sighting(0),
            fakes.reading(tasks),
            Memory(),
            now=NOON,
            outlook=Outlook(drained_tasks=drained),
        )
        assert decision.numbers.desired_after >= 1


class TestKnownRuns:
    def test_a_run_within_the_start_latency_is_ordered_for(self) -> None:
        assert outlook(fakes.reading(), next_run(UNKNOWN_SECONDS)).lead_demand_tasks == 10

    def test_a_later_run_is_not(self) -> None:
        later = UNKNOWN_SECONDS + TICK.total_seconds() + 1
        assert outlook(fakes.reading(), next_run(later)).lead_demand_tasks == 0

    def test_switched_off_it_orders_nothing(self) -> None:
        seen = outlook(fakes.reading(), next_run(30), foresight=Foresight(prescale=False))
        assert (seen.lead_demand_tasks, seen.imminent_tasks) == (0, 0)

    def test_a_run_of_another_fleets_queue_is_not_ours(self) -> None:
        run = NextRun(dag_id="d", at=NOON + TICK, width={"light": 9})
        assert outlook(fakes.reading(), History(next_runs=(run,))).lead_demand_tasks == 0

    def test_a_run_that_is_late_stays_expected_until_it_is_seen(self) -> None:
        assert outlook(fakes.reading(), next_run(-5)).lead_demand_tasks == 10
        assert outlook(queued(long=10), next_run(-5)).lead_demand_tasks == 0

    def test_a_run_that_never_came_is_given_up(self) -> None:
        assert outlook(fakes.reading(), next_run(-60)).lead_demand_tasks == 0

    def test_what_comes_before_the_next_decision_is_imminent(self) -> None:
        assert outlook(fakes.reading(), next_run(9)).imminent_tasks == 10
        assert outlook(fakes.reading(), next_run(30)).imminent_tasks == 0

    def test_workers_are_ordered_before_the_first_task_is_queued(self) -> None:
        expected = outlook(fakes.reading(), next_run(60))
        decision = decide(fleet(), sighting(0), fakes.reading(), Memory(), now=NOON, outlook=expected)
        assert decision.numbers.desired_after == 5  # ten tasks, two per worker


class TestOrder:
    def test_the_longest_task_says_how_long_a_worker_is_held(self) -> None:
        running = (
            RunningTask(host=host(1), queue="heavy", dag_id="d", task_id="short", started_at=NOON),
            RunningTask(host=host(1), queue="heavy", dag_id="d", task_id="long", started_at=NOON),
            RunningTask(host=host(2), queue="heavy", dag_id="d", task_id="short", started_at=NOON),
        )
        base = fakes.reading(busy={host(1): 2, host(2): 1})
        reading = Reading(taken_at=NOON, queues=base.queues, running_tasks=running)
        seen = outlook(reading, seen=sighting(2, worker(1), worker(2)))
        assert seen.remaining_seconds_by_arn == {worker(1).arn: 4000.0, worker(2).arn: 4.0}

    def test_a_worker_with_an_unknown_task_is_left_out(self) -> None:
        running = (RunningTask(host=host(1), queue="heavy", dag_id="d", task_id="x", started_at=NOON),)
        base = fakes.reading(busy={host(1): 1})
        reading = Reading(taken_at=NOON, queues=base.queues, running_tasks=running)
        assert outlook(reading, seen=sighting(1, worker(1))).remaining_seconds_by_arn == {}


class TestStartLatencies:
    def test_they_are_learnt_from_ecs_timestamps_and_nothing_is_stored(self) -> None:
        workers = [
            worker(n, created_at=NOON, started_at=NOON + timedelta(seconds=60 + n)) for n in range(1, 11)
        ]
        learnt = StartLatencies().seen(sighting(10, *workers))
        assert (learnt.at(0.5), learnt.at(0.9)) == (66.0, 70.0)
        assert learnt.seen(sighting(10, *workers)) is learnt

    def test_before_enough_starts_were_seen_a_common_value_is_taken(self) -> None:
        pending = worker(1, Phase.PENDING, created_at=NOON)
        assert StartLatencies().seen(sighting(1, pending)).at(0.9) == UNKNOWN_SECONDS
