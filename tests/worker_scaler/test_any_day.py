"""Any day in the life of a fleet: at no moment is a busy worker stopped, whatever happens in which order.

ECS acts at once or late, readings are fresh or up to 50 s old, and some tasks are listed under a queue that
is not the fleet's. One thing is left out, because no scaler can help it (README, "Not promised"): a late ECS
stops a worker that was let go and received a task since the scaler looked last. So it looks once before.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from worker_scaler.decide import decide
from worker_scaler.memory import Memory
from worker_scaler.model import Packing, Reading

from .fakes import World, fleet


class AnyDay(RuleBasedStateMachine):
    """Tasks come and go, ECS picks the worst victim, people interfere, readings fail, the scaler restarts."""

    has_agents = False

    @initialize(
        window=st.sampled_from([0, 30]),
        slots=st.integers(1, 3),
        packs=st.booleans(),
        step_in=st.sampled_from([None, 1]),
        low=st.sampled_from([0, 2]),
        is_late=st.booleans(),
    )
    def begin(
        self, *, window: int, slots: int, packs: bool, step_in: int | None, low: int, is_late: bool
    ) -> None:
        self.policy = fleet(
            tasks_per_worker=slots,
            scale_in_window=timedelta(seconds=window),
            max_workers=6,
            min_workers=low,
            max_step_in=step_in,
            agent_port=9465 if self.has_agents else None,
            packing=Packing() if packs and self.has_agents else None,
        )
        self.world = World()
        self.world.has_agents = self.has_agents
        self.world.ecs_is_late = is_late
        self.memory = Memory()
        self.is_blocked_by_others = False
        self.past: list[Reading | None] = []
        self.late_by_ticks = 0
        self.is_all_seen = True

    @rule(count=st.integers(0, 8))
    def somebody_else_sets_the_count(self, count: int) -> None:
        self.world.desired = count
        self.world.settle()
        self.world.killed_busy.clear()  # that accident is theirs
        self.is_blocked_by_others = self.world.protected > count

    @rule(ticks=st.integers(2, 4))
    def a_quiet_hour_ends_while_readings_lag_or_ecs_has_not_acted(self, ticks: int) -> None:
        """Surplus workers are being let go; then each that was exposed runs a task."""
        self.world.queued, self.world.receiving = 0, {}
        self.world.busy.clear()
        for _ in range(ticks):
            self._tick()
        for one, seen in self.world.workers.items():
            if not seen.is_protected(self.world.now) and self.world.takes_messages(one):
                self.world.busy[one] = 1
                self.is_all_seen = False
        for _ in range(self.late_by_ticks):
            self._tick()

    @rule(is_late=st.booleans())
    def ecs_becomes_late_or_prompt(self, is_late: bool) -> None:
        if not is_late:
            self.ecs_catches_up()
        self.world.ecs_is_late = is_late

    @rule(ticks=st.sampled_from([0, 0, 2, 3, 5]))
    def readings_become_late_or_fresh(self, ticks: int) -> None:
        self.late_by_ticks = ticks

    @rule(data=st.data())
    def a_worker_runs_a_task_that_airflow_lists_elsewhere(self, data: st.DataObject) -> None:
        free = self._free()
        if free:
            taker = data.draw(st.sampled_from(free))
            self.world.busy[taker] = self.world.busy.get(taker, 0) + 1
            self.world.elsewhere.add(taker)
            self.is_all_seen = False

    @rule(count=st.integers(1, 6))
    def tasks_are_queued(self, count: int) -> None:
        self.world.queued += count

    @rule(data=st.data())
    def a_worker_receives_a_message(self, data: st.DataObject) -> None:
        world = self.world
        free = self._free()
        if free:
            self.is_all_seen = False
            taker = data.draw(st.sampled_from(free))
            world.receiving[taker] = world.receiving.get(taker, 0) + 1
            world.queued = max(0, world.queued - 1)  # when nothing waited, it was queued this moment

    @rule()
    def workers_report_their_tasks_as_running(self) -> None:
        for one, tasks in self.world.receiving.items():
            self.world.busy[one] = self.world.busy.get(one, 0) + tasks
        self.world.receiving = {}

    @rule(data=st.data())
    def a_task_ends(self, data: st.DataObject) -> None:
        if self.world.busy:
            which = data.draw(st.sampled_from(sorted(self.world.busy)))
            self.world.busy[which] -= 1
            if not self.world.busy[which]:
                del self.world.busy[which]

    @rule()
    def all_running_tasks_end(self) -> None:
        self.world.busy.clear()

    @rule(is_down=st.sampled_from([True, False, False]))
    def the_database_goes_or_comes_back(self, is_down: bool) -> None:
        self.world.is_reading_down = is_down

    @rule()
    def the_scaler_restarts(self) -> None:
        self.memory = Memory()

    @rule(ticks=st.integers(1, 4))
    def the_scaler_ticks(self, ticks: int) -> None:
        for _ in range(ticks):
            self._tick()
            if not self.world.ecs_is_late:
                self.ecs_catches_up()
        assert self.world.protected <= self.world.desired, "repaired, whoever caused it, whatever is known"

    @rule(done=st.integers(0, 2))
    def a_tick_is_cut_off(self, done: int) -> None:
        """The calls fail from some step on."""
        self._tick(done)

    @rule()
    def ecs_catches_up(self) -> None:
        """It starts and stops; when it is late the scaler has looked since somebody received a message."""
        if self.world.ecs_is_late and not self.is_all_seen:
            self.workers_report_their_tasks_as_running()
            self._tick(read=self.world.read_now())
        self.world.settle()

    def _free(self) -> list[str]:
        world, slots = self.world, self.policy.tasks_per_worker
        return sorted(
            one
            for one in world.workers
            if world.takes_messages(one) and world.busy.get(one, 0) + world.receiving.get(one, 0) < slots
        )

    def _tick(self, steps: int | None = None, *, read: Reading | None = None) -> None:
        """Decide and act on one consistent look, and on a reading that may be late."""
        self.is_all_seen = self.is_all_seen or (read is not None and steps is None)
        self.past.append(self.world.read())
        if read is None and len(self.past) > self.late_by_ticks:
            read = self.past[-1 - self.late_by_ticks]
        decision = decide(self.policy, self.world.look(), read, self.memory, now=self.world.now)
        self.memory = decision.memory
        for step in decision.steps[:steps]:
            self.world.do(step)
        self.world.pass_time()

    @invariant()
    def no_busy_worker_was_killed(self) -> None:
        if hasattr(self, "world"):
            assert self.world.killed_busy == []

    @invariant()
    def never_more_protected_than_desired(self) -> None:
        if hasattr(self, "world"):
            is_fine = self.world.protected <= self.world.desired
            self.is_blocked_by_others = self.is_blocked_by_others and not is_fine
            assert is_fine or self.is_blocked_by_others


class AnyDayWithAgents(AnyDay):
    """The same with agents: some are silent, polls stay open for a while, orders are forgotten."""

    has_agents = True

    @rule()
    def the_open_polls_of_cordoned_workers_come_back(self) -> None:
        self.world.polling.clear()

    @rule(data=st.data())
    def an_agent_falls_silent_or_speaks_again(self, data: st.DataObject) -> None:
        if self.world.workers:
            which = data.draw(st.sampled_from(sorted(self.world.workers)))
            self.world.silent.symmetric_difference_update({which})


TestAnyDay = AnyDay.TestCase
TestAnyDay.settings = settings(deadline=None, stateful_step_count=60, max_examples=150)
TestAnyDayWithAgents = AnyDayWithAgents.TestCase
TestAnyDayWithAgents.settings = settings(deadline=None, stateful_step_count=60, max_examples=150)
