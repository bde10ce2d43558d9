"""The agent: observe the load, decide with ``protection`` and ``intake``, act through couriers, tell.

Every method belongs to the worker's event loop; ``reception`` asks from other threads. It knows nothing of
Celery: ``consumer`` gives it a :class:`Pool`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from airflow_ecs.worker_agent import clock, orders
from airflow_ecs.worker_agent.courier import Courier
from airflow_ecs.worker_agent.ecs_agent import EcsAgent
from airflow_ecs.worker_agent.intake import Arrival, Intake, Question
from airflow_ecs.worker_agent.metrics import Metrics
from airflow_ecs.worker_agent.order_file import OrderFile
from airflow_ecs.worker_agent.pool import Pool
from airflow_ecs.worker_agent.protection import (
    Answer,
    Confirmed,
    Denied,
    NotApplicable,
    Protection,
    Unreachable,
    Verdict,
)
from airflow_ecs.worker_agent.returns import give_back
from airflow_ecs.worker_agent.settings import Settings
from airflow_ecs.worker_agent.state import Load, WorkerState
from airflow_ecs.worker_agent.telling import tell_problem

ABANDON_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Agent:
    """One worker's agent.

    Args:
        settings: see ``settings``.
        pool: the Celery side.
        call_soon: runs something in the event loop; may be called from any thread.
        wait_seconds: how long SQS may hold a poll open.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool,
        call_soon: Callable[[Callable[[], None]], object],
        wait_seconds: int,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._call_soon = call_soon
        self.metrics = Metrics()
        self.intake = Intake(
            wait_seconds=wait_seconds,
            free_slots=pool.free_slots,
            begin=self._begin,
            give_back=self._give_back,
        )
        self._protection = Protection(
            lifetime_seconds=settings.protection_minutes * 60.0,
            release_after_seconds=settings.release_after_seconds,
            is_applicable=bool(settings.agent_uri),
        )
        self._ecs = EcsAgent(
            settings.agent_uri, metadata_uri=settings.metadata_uri, minutes=settings.protection_minutes
        )
        self._order: orders.Order | None = None
        self._order_file = OrderFile(settings.order_file)
        self._couriers: tuple[Courier, Courier] | None = None
        self.task_arn: str | None = None
        self.hostname = ""
        self.stopping_since: float | None = None
        self._loop_has_ended = False

    def start(self) -> None:
        """Start the threads that wait for networks; after the pool has forked."""
        # Two: a dead ECS agent must not hold up what goes back to its queue.
        self._couriers = Courier("protection", self._call_soon), Courier("returns", self._call_soon)

    # ------------------------------------------------------------------ the event loop

    def tick(self) -> None:
        """Do what is due; called at every turn of the event loop, and at least once a second."""
        now, wall = clock.monotonic(), clock.epoch()
        order = self._order_in_force(now, wall)
        load = self.load()
        is_busy = bool(load.active_tasks or self.intake.waiting)
        self._ask_ecs(
            self._protection.next(now=now, wall=wall, is_busy=is_busy, has_order=order is not None), wall
        )
        if not self._takes_work(order):
            self.intake.give_back_all()
            return
        if self.intake.waiting:
            verdict = self._protection.verdict(wall)
            if self.intake.settle(verdict) and verdict is Verdict.GIVE_BACK:
                self._protection.gave_back(now)
        for queue in self.intake.woken(may_ask=self._protection.may_ask_for_work(now, wall), now=now):
            self._pool.wake(queue)

    def ask(self, queue: str, *, queues: int) -> Question | None:
        """Return what to ask a queue now; None parks it until the pool is told to wake it."""
        now, wall = clock.monotonic(), clock.epoch()
        may_ask = self._takes_work(self._order_in_force(now, wall)) and self._protection.may_ask_for_work(
            now, wall
        )
        return self.intake.ask(queue, queues=queues, may_ask=may_ask, now=now)

    def arrived(self, queue: str, url: str, messages: Sequence[dict[str, Any]]) -> None:
        """Take what a poll brought."""
        now, wall = clock.monotonic(), clock.epoch()
        for message in messages:
            self._count_arrival(message.get("Attributes", {}), wall)
        arrivals = [Arrival(queue=queue, url=url, message=message, at=now) for message in messages]
        self.intake.arrived(queue, arrivals)
        if arrivals:
            self.tick()

    def poll_failed(self, queue: str, why: str) -> None:
        """A poll ended with an error; the queue is asked again in a moment."""
        self.metrics.count("poll_failures_total")
        _log.warning("Asking SQS for messages of queue %s failed and is repeated: %s", queue, why)
        self.intake.failed(queue, clock.monotonic())

    def disconnected(self) -> None:
        """Celery's connection is gone with its open polls; a new one is being made."""
        self.intake.forget_polls()
        self.intake.give_back_all()

    def stop(self) -> None:
        """The worker is ending: take nothing more. Safe in a signal handler."""
        if self.stopping_since is None:
            self.stopping_since = clock.monotonic()

    def abandon(self) -> None:
        """The worker ends at once: what has not begun goes back now, within seconds."""
        self.stop()
        self.intake.give_back_all()
        self._courier(1).finish(ABANDON_SECONDS)
        self.loop_ended()

    def loop_ended(self) -> None:
        """The event loop turns no more; what is asked over HTTP from now on is answered without it."""
        self._loop_has_ended = True

    def load(self) -> Load:
        """Count what is here."""
        return Load(
            active_tasks=self._pool.active_tasks(),
            reserved_messages=self.intake.reserved,
            open_polls=self.intake.open_polls,
        )

    def state(self) -> WorkerState:
        """Return what the worker says about itself."""
        now, wall = clock.monotonic(), clock.epoch()
        return WorkerState(
            task_arn=self.task_arn,
            hostname=self.hostname,
            is_stopping=self.stopping_since is not None,
            load=self.load(),
            protected_until=self._protection.until,
            order=self._order_in_force(now, wall),
            observed_at=wall,
        )

    def take_order(self, request: orders.OrderRequest) -> None:
        """Put an order into force in place of the last one; it holds for whatever is asked of SQS next."""
        before = self._order
        self._order = orders.take(request, now=clock.monotonic(), wall=clock.epoch())
        if before is None or before.order != request.order:
            _log.info("The worker was told to %s by %s.", request.order, request.holder)
        self.tick()

    @property
    def knows_its_task(self) -> bool:
        """Whether the worker can say which ECS task it is, or that it is none."""
        return not self._settings.metadata_uri or self.task_arn is not None

    @property
    def loop_has_ended(self) -> bool:
        """Whether the event loop turns no more."""
        return self._loop_has_ended

    # ------------------------------------------------------------------ inside

    def _order_in_force(self, now: float, wall: float) -> orders.Order | None:
        written = self._order_file.order(now=now, wall=wall)  # a human's hand: it goes before the scaler's
        return written or orders.in_force(self._order, now)

    def _takes_work(self, order: orders.Order | None) -> bool:
        return self.stopping_since is None and (order is None or order.order == "work")

    def _count_arrival(self, attributes: dict[str, str], wall: float) -> None:
        self.metrics.count("messages_received_total")
        if int(attributes.get("ApproximateReceiveCount", "1")) > 1:
            self.metrics.count("messages_redelivered_total")
        if "SentTimestamp" in attributes:
            self.metrics.publish_to_receive.observe(wall - int(attributes["SentTimestamp"]) / 1000)

    def _begin(self, arrival: Arrival) -> None:
        if self._protection.is_unprotected_work_allowed(clock.epoch()):
            self.metrics.count("tasks_unprotected_total")
        self._pool.begin(arrival)

    def _give_back(self, arrivals: Sequence[Arrival]) -> None:
        self.metrics.count("messages_given_back_total", len(arrivals))
        for queue, group in groupby(
            sorted(arrivals, key=lambda each: each.queue), key=lambda each: each.queue
        ):
            members = list(group)
            _log.info(
                "Giving back %d message(s) of queue %s, of which nothing has begun.", len(members), queue
            )
            client = self._pool.sqs_client(queue)
            self._courier(1).send(
                functools.partial(give_back, client, members),
                functools.partial(self._given_back, len(members)),
            )

    def _given_back(self, count: int, failed: int) -> None:
        self.metrics.count("give_back_failures_total", failed)
        self.intake.returned(count)

    def _ask_ecs(self, wanted: str, wall: float) -> None:
        if wanted == "add":
            self._courier(0).send(functools.partial(self._ecs.add, wall), self._ecs_answered)
        elif wanted == "remove":
            self._courier(0).send(self._ecs.remove, self._ecs_answered)

    def _ecs_answered(self, answer: Answer) -> None:
        before = self._protection.problem
        self._protection.answered(answer, now=clock.monotonic(), wall=clock.epoch())
        match answer:
            case Confirmed():
                self.metrics.count("protections_confirmed_total")
                if before is not None:
                    _log.info("ECS protects this task from scale-in again.")
            case NotApplicable(why=why):
                _log.info("This task needs no scale-in protection: %s", why)
            case Denied() | Unreachable():
                self.metrics.count("protection_failures_total")
                if type(before) is not type(answer):
                    tell_problem(answer)
        self.tick()

    def _courier(self, number: int) -> Courier:
        if self._couriers is None:
            raise RuntimeError("the agent was used before start()")
        return self._couriers[number]
