"""The stages that follow in a run are foreseen as past runs had them, and given up when they do not come."""

from __future__ import annotations

from datetime import timedelta

from worker_scaler.forecast.foresee import foresee
from worker_scaler.forecast.latency import UNKNOWN_SECONDS, StartLatencies
from worker_scaler.forecast.policy import Foresight
from worker_scaler.forecast.waves import OVERDUE, FollowedRun, follow
from worker_scaler.forecaster import Forecaster
from worker_scaler.history import QUANTILES, Durations, History, NextRun, TaskName, Wave
from worker_scaler.model import QueuedTasks, Reading, RunningTask
from worker_scaler.outlook import Outlook

from . import fakes
from .fakes import NOON, fleet, host, sighting

BOLD = Foresight(drain=timedelta(seconds=40))
TICK = timedelta(seconds=10)
AHEAD = timedelta(seconds=UNKNOWN_SECONDS) + TICK
WIDE = Wave(task_id="wide", queue="heavy", after_seconds=30.0, tasks=300)
JOIN = Wave(task_id="join", queue="heavy", after_seconds=1030.0, tasks=40)
RUN = NextRun(dag_id="d", at=NOON, width={"heavy": 1}, first_tasks=("split",), waves=(WIDE, JOIN))
DURATIONS = {
    TaskName(dag_id="d", task_id=name): Durations(samples=9, seconds=(1000.0,) * len(QUANTILES))
    for name in ("split", "wide", "join")
}


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def nothing(at: float = 0) -> Reading:
    return fakes.reading(at=NOON + seconds(at))


def queued(task: str, *, at: float, tasks: int = 1) -> Reading:
    group = QueuedTasks(queue="heavy", dag_id="d", task_id=task, tasks=tasks)
    base = fakes.reading(tasks, at=NOON + seconds(at))
    return Reading(taken_at=base.taken_at, queues=base.queues, queued_tasks=(group,))


def running(task: str, *, began: float, at: float, tasks: int = 1) -> Reading:
    one = RunningTask(host=host(1), queue="heavy", dag_id="d", task_id=task, started_at=NOON + seconds(began))
    base = fakes.reading(busy={host(1): tasks}, at=NOON + seconds(at))
    return Reading(taken_at=base.taken_at, queues=base.queues, running_tasks=(one,) * tasks)


def followed(*looks: tuple[float, Reading]) -> tuple[FollowedRun, ...]:
    """The runs that are followed after these looks at the queue."""
    runs = follow((), (RUN,), nothing(-60), now=NOON - seconds(60), until=NOON + AHEAD)
    for at, reading in looks:
        now = NOON + seconds(at)
        runs = follow(runs, (RUN,) if at < 0 else (), reading, now=now, until=now + AHEAD)
    return runs


def due(runs: tuple[FollowedRun, ...], *, at: float) -> list[str]:
    until = NOON + seconds(at) + AHEAD
    return [wave.task_id for run in runs for wave in run.coming(until)]


class TestFollowing:
    def test_a_stage_is_foreseen_before_its_run_has_begun(self) -> None:
        assert due(followed(), at=-60) == ["wide"]
        assert due(followed(), at=-90) == []

    def test_a_run_is_followed_after_the_schedule_has_gone_on_to_the_next(self) -> None:
        assert due(followed((10, queued("split", at=10))), at=10) == ["wide"]

    def test_a_stage_that_is_there_is_no_more_to_come(self) -> None:
        assert due(followed((40, queued("wide", at=40))), at=40) == []

    def test_a_slow_run_moves_what_follows(self) -> None:
        runs = followed((20, running("split", began=1, at=20)), (50, queued("wide", at=50)))
        assert due(runs, at=949) == []
        assert due(runs, at=951) == ["join"]

    def test_the_same_task_of_an_older_run_is_not_this_runs(self) -> None:
        assert due(followed((10, running("wide", began=-500, at=10))), at=10) == ["wide"]

    def test_a_stage_that_does_not_come_is_given_up(self) -> None:
        late = 30 + OVERDUE.total_seconds() + 15
        waiting = running("split", began=1, at=late)
        assert due(followed((late, waiting)), at=late) == ["wide"]
        assert due(followed((late + 1, waiting)), at=late + 1) == []

    def test_a_run_of_which_nothing_is_left_is_given_up(self) -> None:
        assert followed((31, nothing(31))) == ()

    def test_a_run_that_was_put_off_is_forgotten(self) -> None:
        known = followed()
        at = NOON - seconds(30)
        assert follow(known, (), nothing(-30), now=at, until=at + AHEAD) == ()


class TestCounting:
    def outlook(
        self, reading: Reading, runs: tuple[FollowedRun, ...], foresight: Foresight = BOLD
    ) -> Outlook:
        return foresee(
            fleet(foresight=foresight),
            sighting(0),
            reading,
            History(durations=DURATIONS),
            StartLatencies(),
            now=reading.taken_at,
            tick=TICK,
            followed=runs,
        )

    def test_workers_are_ordered_for_it(self) -> None:
        reading = queued("split", at=10)
        assert self.outlook(reading, followed((10, reading))).lead_demand_tasks == 300

    def test_switched_off_nothing_is_ordered_for_it(self) -> None:
        reading = queued("split", at=10)
        for timid in (Foresight(later_stages=False), Foresight(prescale=False)):
            assert self.outlook(reading, followed((10, reading)), timid).lead_demand_tasks == 0

    def test_slots_that_the_run_itself_gives_free_are_used_again(self) -> None:
        run = FollowedRun(plan=RUN, anchor_at=NOON + seconds(970))  # 300 tasks are due at 1000
        ends_before = running("split", began=-10, at=940, tasks=100)
        assert self.outlook(ends_before, (run,)).lead_demand_tasks == 200

    def test_slots_that_are_held_for_longer_are_not(self) -> None:
        run = FollowedRun(plan=RUN, anchor_at=NOON + seconds(970))
        ends_after = running("split", began=10, at=940, tasks=100)
        assert self.outlook(ends_after, (run,)).lead_demand_tasks == 300

    def test_another_fleets_queue_is_not_ours(self) -> None:
        plan = NextRun(
            dag_id="d", at=NOON, waves=(Wave(task_id="w", queue="light", after_seconds=1, tasks=9),)
        )
        run = FollowedRun(plan=plan, anchor_at=NOON)
        assert self.outlook(nothing(), (run,)).lead_demand_tasks == 0

    def test_cordoned_workers_are_wanted_when_it_is_due(self) -> None:
        reading = queued("split", at=25)
        assert self.outlook(reading, followed((25, reading))).imminent_tasks == 300
        early = queued("split", at=5)
        assert self.outlook(early, followed((5, early))).imminent_tasks == 0


class Planned:
    """A past with one run to come, until the schedule goes on."""

    def __init__(self) -> None:
        self.history = History(durations=DURATIONS, next_runs=(RUN,))

    def read(self) -> History:
        return self.history

    def next_runs(self, known: History) -> History:
        return History(durations=known.durations)


def test_the_forecaster_remembers_a_run_that_has_begun() -> None:
    forecaster = Forecaster(Planned(), tick=TICK)
    policy = fleet(foresight=Foresight())
    forecaster.read_history()
    forecaster.outlook(policy, sighting(0), nothing(-5), now=NOON - seconds(5))
    forecaster.read_next_runs()
    seen = forecaster.outlook(policy, sighting(0), queued("split", at=10), now=NOON + seconds(10))
    assert seen.lead_demand_tasks == 300
