"""Any day in the life of a fleet: at no moment is a busy worker stopped, whatever happens in which order."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from worker_scaler.decide import decide
from worker_scaler.memory import Memory
from worker_scaler.model import Packing

from .fakes import World, fleet


class AnyDay(RuleBasedStateMachine):
    """Tasks come and go, ECS picks the worst victim, people interfere, readings fail, the scaler restarts."""

    has_agents = False

    @initialize(
        window=st.sampled_from([0, 30]),
        slots=st.integers(1, 3),
        packs=st.booleans(),
        step_in=st.sampled_from([None, 1]),
    )
    def begin(self, window: int, slots: int, packs: bool, step_in: int | None) -> None:
        self.policy = fleet(
            tasks_per_worker=slots,
            scale_in_window=timedelta(seconds=window),
            max_workers=6,
            min_workers=0,
            max_step_in=step_in,
            agent_port=9465 if self.has_agents else None,
            packing=Packing() if packs and self.has_agents else None,
        )
        self.world = World()
        self.world.has_agents = self.has_agents
        self.memory = Memory()
        self.is_blocked_by_others = False

    @rule(count=st.integers(0, 8))
    def somebody_else_sets_the_count(self, count: int) -> None:
        self.world.desired = count
        self.world.settle()
        self.world.killed_busy.clear()  # that accident is theirs
        self.is_blocked_by_others = self.world.protected > count

    @rule(count=st.integers(1, 6))
    def tasks_are_queued(self, count: int) -> None:
        self.world.queued += count

    @rule(data=st.data())
    def a_worker_receives_a_message(self, data: st.DataObject) -> None:
        world = self.world
        free = sorted(
            one
            for one in world.workers
            if world.takes_messages(one)
            and world.busy.get(one, 0) + world.receiving.get(one, 0) < self.policy.tasks_per_worker
        )
        if free:
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
            self.world.settle()
        if not self.world.is_reading_down:
            assert self.world.protected <= self.world.desired, "repaired, whoever caused it"

    @rule(done=st.integers(0, 2))
    def a_tick_is_cut_off(self, done: int) -> None:
        """The calls fail from some step on."""
        self._tick(done)

    @rule()
    def ecs_catches_up(self) -> None:
        self.world.settle()

    def _tick(self, steps: int | None = None) -> None:
        """Decide and act on one consistent look."""
        decision = decide(self.policy, self.world.look(), self.world.read(), self.memory, now=self.world.now)
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
