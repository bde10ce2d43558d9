"""A small world for the scaler's tests: an ECS service that picks its victims, an Airflow with queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.errors import SidecarError
from worker_scaler.agent import HOLDER, ORDER_SECONDS, AgentPhase, AgentState, Order
from worker_scaler.agents import Answers
from worker_scaler.model import Fleet, Phase, QueueDepth, Reading, Sighting, Worker
from worker_scaler.steps import Give, Protect, Refusal, SetDesired, Step, Unprotect

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MANY_MINUTES = timedelta(minutes=59)


def fleet(**changes: Any) -> Fleet:
    """Return a fleet that releases at once: no window, no minimum age."""
    given: dict[str, Any] = {
        "name": "heavy",
        "cluster": "main",
        "service": "workers",
        "queues": ("heavy",),
        "tasks_per_worker": 2,
        "min_workers": 0,
        "max_workers": 20,
        "scale_in_window": timedelta(0),
        "protection": timedelta(minutes=60),
        "minimum_age": timedelta(0),
        "reading_max_age": timedelta(seconds=60),
    }
    return Fleet(**(given | changes))


def arn(number: int) -> str:
    return f"arn:aws:ecs:eu-west-1:123456789012:task/main/{number:032x}"


def host(number: int) -> str:
    """The host name of a worker, as Airflow records it."""
    return f"ip-10-0-0-{number}.eu-west-1.compute.internal"


def worker(number: int, phase: Phase = Phase.RUNNING, *, protected: bool = True, **changes: Any) -> Worker:
    """Return a worker of an hour's age; unless told otherwise it runs and is protected."""
    given: dict[str, Any] = {
        "arn": arn(number),
        "phase": phase,
        "started_at": None if phase is Phase.PENDING else NOON - timedelta(hours=1),
        "protected_until": NOON + MANY_MINUTES if protected and phase is Phase.RUNNING else None,
        "addresses": (f"10.0.0.{number}",),
    }
    return Worker(**(given | changes))


def sighting(desired: int, *workers: Worker, is_deploying: bool = False) -> Sighting:
    return Sighting(desired=desired, workers=workers, is_deploying=is_deploying)


def reading(
    queued: int = 0,
    busy: Mapping[str, int] | None = None,
    *,
    at: datetime = NOON,
    queue: str = "heavy",
    restarting: int = 0,
) -> Reading:
    """Return a reading of one queue whose running (and restarting) tasks are on these hosts."""
    busy = busy or {}
    depth = QueueDepth(
        queued=queued,
        running=sum(busy.values()) - restarting,
        restarting=restarting,
        oldest_queued_age_seconds=1.0 if queued else None,
        busy_hosts=busy,
    )
    return Reading(taken_at=at, queues={queue: depth} if depth.demand else {})


class World:
    """One fleet's ECS service and its queue. ``pick`` chooses whom ECS stops: by default the worst choice.

    Attributes:
        receiving: messages that workers hold and have not reported yet: the database still says ``queued``.
        strange_hosts: hosts with tasks that are no worker's.
        elsewhere: those of the busy workers whose tasks Airflow lists under another queue.
        ecs_is_late: whether ECS acts on a new count only with :meth:`settle`, not at once.
        has_agents: whether its workers speak for themselves. They do not protect themselves here: that is one
            net more than the scaler may count on.
        cordoned: workers told not to take messages.
        polling: cordoned ones whose open poll may still bring a message.
        silent: workers whose agent does not answer.
        killed_busy: workers that were stopped while they held a task: the accident that must not happen.
    """

    def __init__(self, desired: int = 0, *, pick: Callable[[list[str]], str] | None = None) -> None:
        self.now = NOON
        self.desired = desired
        self.workers: dict[str, Worker] = {}
        self.busy: dict[str, int] = {}
        self.queued = 0
        self.receiving: dict[str, int] = {}
        self.killed_busy: list[str] = []
        self.strange_hosts: dict[str, int] = {}
        self.elsewhere: set[str] = set()
        self.ecs_is_late = False
        self.is_reading_down = False
        self.has_agents = False
        self.cordoned: set[str] = set()
        self.polling: set[str] = set()
        self.silent: set[str] = set()
        self._pick = pick or (lambda exposed: max(exposed, key=self._harm))
        self._numbers = 0

    def copy(self) -> World:
        """Return a world that goes its own way from here."""
        twin = World(self.desired)
        twin.__dict__.update(self.__dict__)
        twin.workers, twin.busy = dict(self.workers), dict(self.busy)
        twin.killed_busy = list(self.killed_busy)
        twin.receiving = dict(self.receiving)
        twin.elsewhere = set(self.elsewhere)
        twin.cordoned, twin.polling, twin.silent = set(self.cordoned), set(self.polling), set(self.silent)
        twin._pick = lambda exposed: max(exposed, key=twin._harm)
        return twin

    def start(self, *, tasks: int = 0, protected: bool = False) -> str:
        """Let one more worker run."""
        self._numbers += 1
        until = self.now + MANY_MINUTES if protected else None
        started = worker(self._numbers, protected_until=until, started_at=self.now)
        self.workers[started.arn] = started
        if tasks:
            self.busy[started.arn] = tasks
        return started.arn

    def settle(self) -> None:
        """Let ECS start and stop until there are as many workers as desired, or all others are protected."""
        while len(self.workers) < self.desired:
            self.start()
        while len(self.workers) > self.desired:
            exposed = [one for one, seen in self.workers.items() if not seen.is_protected(self.now)]
            if not exposed:
                return
            self.stop(self._pick(sorted(exposed)))

    def stop(self, which: str) -> None:
        """End a worker as scale-in does."""
        if self.busy.pop(which, 0) + self.receiving.pop(which, 0):
            self.killed_busy.append(which)
        del self.workers[which]

    def takes_messages(self, which: str) -> bool:
        """Whether a message can still reach this worker."""
        return which not in self.cordoned or which in self.polling

    def look(self) -> Sighting:
        seen = list(self.workers.values())
        if self.has_agents:
            seen = [replace(one, agent=self.agent(one.arn)) for one in seen]
        return Sighting(desired=self.desired, workers=tuple(seen))

    def agent(self, which: str) -> AgentState | None:
        """What a worker's agent says; None when it is silent."""
        if which in self.silent:
            return None
        is_cordoned = which in self.cordoned
        active, reserved = self.busy.get(which, 0), self.receiving.get(which, 0)
        is_quiet = not self.takes_messages(which) and not active and not reserved
        phase = AgentPhase.CORDONED if is_cordoned else AgentPhase.WORKING
        return AgentState(
            phase=AgentPhase.QUIET if is_quiet else phase,
            hostname=self.workers[which].addresses[0],
            active_tasks=active,
            reserved_messages=reserved,
            order=Order.CORDON if is_cordoned else Order.WORK,
            order_until=self.now + timedelta(seconds=ORDER_SECONDS),
            order_holder=HOLDER,
        )

    def order(self, which: str, order: Order) -> None:
        """Give an order; a cordon leaves the open poll open."""
        if which in self.silent or which not in self.workers:
            return
        if order is Order.CORDON and which not in self.cordoned:
            self.cordoned.add(which)
            self.polling.add(which)
        elif order is Order.WORK:
            self.cordoned.discard(which)
            self.polling.discard(which)

    def read(self) -> Reading | None:
        return None if self.is_reading_down else self.read_now()

    def read_now(self) -> Reading:
        """What the database says at this moment, whether it can be asked or not."""
        hosts = {self.workers[one].addresses[0]: tasks for one, tasks in self.busy.items()}
        others = {self.workers[one].addresses[0] for one in self.elsewhere if one in self.busy}
        own = {host: tasks for host, tasks in hosts.items() if host not in others} | self.strange_hosts
        read = reading(self.queued + sum(self.receiving.values()), own, at=self.now)
        foreign = {host: hosts[host] for host in others}
        if not foreign:
            return read
        depth = QueueDepth(running=sum(foreign.values()), busy_hosts=foreign)
        return replace(read, queues={**read.queues, "another": depth})

    def pass_time(self, seconds: float = 10.0) -> None:
        self.now += timedelta(seconds=seconds)

    def do(self, step: Step) -> None:
        """Carry out one step as ECS does."""
        if isinstance(step, SetDesired):
            self.desired = step.count
            if not self.ecs_is_late:
                self.settle()
        elif isinstance(step, Protect):
            for which in step.arns:
                self.protect(which, step.minutes)
        elif isinstance(step, Give):
            for which in step.arns:
                self.order(which, step.order)
        else:
            for which in step.arns:
                self._update(which, protected_until=None)

    def protect(self, which: str, minutes: int) -> Refusal | None:
        """Protect one worker; refused when there would be more of them than desired."""
        others = sum(1 for one, seen in self.workers.items() if one != which and seen.is_protected(self.now))
        if which not in self.workers:
            return Refusal(arn=which, reason="MISSING")
        if others + 1 > self.desired:
            return Refusal(arn=which, reason="DEPLOYMENT_BLOCKED")
        self._update(which, protected_until=self.now + timedelta(minutes=minutes))
        return None

    @property
    def protected(self) -> int:
        return sum(1 for seen in self.workers.values() if seen.is_protected(self.now))

    def _harm(self, which: str) -> tuple[bool, str]:
        return which in self.busy or which in self.receiving, which

    def _update(self, which: str, **changes: Any) -> None:
        if which in self.workers:
            self.workers[which] = replace(self.workers[which], **changes)


class FakeServices:
    """Implements the scaler's ``Services`` port on a world, and writes down what changed it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.acts: list[Step] = []
        self.look_error: SidecarError | None = None
        self.act_errors: dict[type[Step], Exception] = {}

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
        return dict.fromkeys((fleet.name for fleet in fleets), self.look_error or self.world.look())

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        self._act(Protect(arns=tuple(arns), minutes=minutes))
        refused = [self.world.protect(which, minutes) for which in arns]
        return tuple(refusal for refusal in refused if refusal is not None)

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        self._act(Unprotect(arns=tuple(arns)))
        self.world.do(Unprotect(arns=tuple(arns)))
        return ()

    def set_desired(self, fleet: Fleet, count: int) -> None:
        step = SetDesired(count=count, before=self.world.desired)
        self._act(step)
        self.world.do(step)

    def _act(self, step: Step) -> None:
        error = self.act_errors.get(type(step))
        if error is not None:
            raise error
        self.acts.append(step)


class FakeAgents:
    """Implements the scaler's ``Agents`` port on a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.orders: list[tuple[Order, int]] = []

    def ask(self, fleet: Fleet, workers: Sequence[Worker]) -> Answers:
        known = [one.arn for one in workers if one.arn in self.world.workers]
        states = {one: state for one in known if (state := self.world.agent(one)) is not None}
        return Answers(states=states, failures={one: "timed out" for one in known if one not in states})

    def order(self, fleet: Fleet, workers: Sequence[Worker], order: Order) -> Answers:
        self.orders.append((order, len(workers)))
        for one in workers:
            self.world.order(one.arn, order)
        return self.ask(fleet, workers)


class FakeSource:
    """Implements the scaler's ``Source`` port on a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.error: Exception | None = None

    def read(self) -> Reading:
        if self.error is not None:
            raise self.error
        found = self.world.read()
        assert found is not None
        return found
