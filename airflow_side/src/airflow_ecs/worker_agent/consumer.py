"""Celery's consumer with the agent inside, for the documented Celery setting ``worker_consumer``.

``worker_consumer = "airflow_ecs.worker_agent.consumer:AgentConsumer"``; ``airflow_ecs.celery_sqs`` sets it.
https://docs.celeryq.dev/en/stable/userguide/extending.html
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from typing import Any

from celery import signals  # type: ignore[import-not-found]  # of the Airflow image
from celery.exceptions import (  # type: ignore[import-not-found]  # the same
    ImproperlyConfigured,
    WorkerShutdown,
    WorkerTerminate,
)
from celery.worker import state  # type: ignore[import-not-found]  # the same
from celery.worker.consumer import Consumer  # type: ignore[import-not-found]  # the same
from celery.worker.loops import asynloop  # type: ignore[import-not-found]  # the same
from kombu.asynchronous import set_event_loop  # type: ignore[import-not-found]  # the same

from airflow_ecs import hostname as hostnames
from airflow_ecs.worker_agent import clock, heartbeat, settings
from airflow_ecs.worker_agent.agent import Agent
from airflow_ecs.worker_agent.channel import AgentChannel, install_http_client, transport_for
from airflow_ecs.worker_agent.http_server import Server
from airflow_ecs.worker_agent.identity import Identity
from airflow_ecs.worker_agent.intake import MAX_MESSAGES, Arrival
from airflow_ecs.worker_agent.reception import Reception

_STOP_MARGIN_SECONDS = 10.0  # for Airflow's supervisors to report what was interrupted
_KNOWN_STARTS = 1000

_log = logging.getLogger(__name__)


class AgentConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """A consumer that asks SQS only when, and begins a task only if, the agent allows it."""

    def __init__(self, on_task_request: Any, **options: Any) -> None:
        super().__init__(on_task_request, **options)
        if self.hub is None or self.conninfo.transport.driver_type != "sqs":
            raise ImproperlyConfigured(
                "airflow_ecs.worker_agent needs broker_url = sqs:// and a pool that leaves the event loop to"
                f" Celery (prefork, which is the default), not {self.conninfo.transport.driver_type} with"
                f" {type(self.pool).__name__}. Change that, or set AIRFLOW_ECS_WORKER_AGENT=off"
            )
        self._settings = settings.read(os.environ)  # noqa: TID251  # where users set it
        wait_seconds = int(self.conninfo.transport_options.get("wait_time_seconds", 10))
        self._wait_seconds = wait_seconds
        self.agent = Agent(self._settings, pool=self, call_soon=self.hub.call_soon, wait_seconds=wait_seconds)
        self._identity = Identity(self._settings.metadata_uri)
        self._channel: AgentChannel | None = None
        self._beginning: Arrival | None = None
        self._starting: deque[tuple[Any, Arrival]] = deque(maxlen=_KNOWN_STARTS)
        self._beat_at = float("-inf")
        self._server: Server | None = None
        self._has_interrupted = False
        self._told_at = float("-inf")
        self.on_task_message.add(self._on_task_message)
        signals.worker_shutting_down.connect(self._on_shutting_down, weak=False)

    # ------------------------------------------------------------------ what Celery calls

    def start(self) -> None:
        """Start the agent, and then what Celery starts. By now the pool has forked."""
        self.agent.start()
        self.hub.on_tick.add(self._tick)
        super().start()

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """Return the connection that messages come from, with the agent's transport."""
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        connection.transport_cls = transport_for(self.agent)
        # A hub that was reset, as after a lost connection, is no longer the current one, and a channel made
        # without a current hub never polls.
        set_event_loop(self.hub)
        install_http_client(self.hub, poll_seconds=self._wait_seconds)
        return self.ensure_connected(connection)

    def loop(self, *arguments: Any) -> None:
        """Run Celery's event loop; at its end, go on until nothing is left that could be lost."""
        self._channel = self.task_consumer.channel
        self._listen()
        try:
            asynloop(*arguments)
        except WorkerShutdown:
            self._drain()
            raise
        except WorkerTerminate:
            self.agent.abandon()
            raise
        except Exception:
            self._channel = None
            self.agent.disconnected()
            raise

    def _drain(self) -> None:
        """Turn the event loop until no poll is open, what came went back, and all tasks are done.

        Celery itself stops turning it here; an open poll then takes a message for a worker that is gone.
        """
        self.agent.stop()
        loop = self.hub.create_loop()
        try:
            while not self.agent.load().is_nothing:
                self._end_if_told()
                self._interrupt_if_late()
                try:
                    next(loop)
                except StopIteration:
                    loop = self.hub.create_loop()
        except Exception:  # noqa: BLE001  # whatever it is, the worker goes on to end
            _log.exception("The worker could not drain; messages it holds come again after their timeout.")
        self._beat(force=True)
        self.agent.loop_ended()

    def _end_if_told(self) -> None:
        if state.should_terminate not in (None, False):
            self.agent.abandon()
            raise WorkerTerminate(state.should_terminate)

    def _interrupt_if_late(self) -> None:
        """Shortly before ECS kills the container, let tasks end by Celery's cold shutdown.

        A task's supervisor then reports at once; of a killed one Airflow hears minutes later.
        """
        limit, since = self._settings.stop_timeout_seconds, self.agent.stopping_since
        if limit is None or since is None or self._has_interrupted:
            return
        if clock.monotonic() - since > limit - _STOP_MARGIN_SECONDS:
            self._has_interrupted = True
            _log.warning("The stop timeout of %g s is almost over: interrupting what still runs.", limit)
            os.kill(os.getpid(), signal.SIGQUIT)

    def _on_shutting_down(self, **_: Any) -> None:
        self.agent.stop()

    def _on_task_message(self, request: Any) -> None:
        if self._beginning is not None:
            self._starting.append((request, self._beginning))

    # ------------------------------------------------------------------ what the agent asks (pool.Pool)

    def active_tasks(self) -> int:
        """Tasks handed to Celery and not yet acknowledged or reported."""
        unacknowledged = 0 if self._channel is None else self._channel.unacknowledged
        return max(len(state.reserved_requests), len(state.active_requests), unacknowledged)

    def free_slots(self) -> int:
        """How many more tasks would begin at once."""
        if self._channel is None or not self._channel._active_queues:  # noqa: SLF001  # nothing is consumed now
            return 0
        prefetch: int | None = self._channel.qos.can_consume_max_estimate()
        # With autoscaling up to the most it may grow to: it grows when there is more to do than processes.
        slots = int(getattr(self.controller, "max_concurrency", None) or self.pool.num_processes)
        free = slots - self.active_tasks()
        return max(min(MAX_MESSAGES * free if prefetch is None else prefetch, free), 0)

    def begin(self, arrival: Arrival) -> None:
        """Hand a message to Celery."""
        if self._channel is None:
            raise RuntimeError("a message was to begin without a connection")
        self._beginning = arrival
        try:
            self._channel.begin(arrival)
        finally:
            self._beginning = None

    def wake(self, queue: str) -> None:
        """Let the queue be asked again soon."""
        if self._channel is not None:
            self.hub.call_soon(self._channel._schedule_queue, queue)  # noqa: SLF001  # our own override

    def sqs_client(self, queue: str) -> Any:
        """Return the boto3 client of a queue; usable from any thread."""
        channel = self.connection.default_channel if self._channel is None else self._channel
        return channel.sqs(queue=channel.canonical_queue_name(queue))

    # ------------------------------------------------------------------ inside

    def _tick(self) -> None:
        try:
            self._turn()
        except Exception:  # noqa: BLE001  # an error here would end Celery's loop, and with it every task
            if clock.monotonic() - self._told_at > heartbeat.WRITE_EVERY_SECONDS:
                self._told_at = clock.monotonic()
                _log.exception("The worker agent failed; without heartbeats ECS will replace this worker.")

    def _turn(self) -> None:
        self._identity.refresh()
        self.agent.task_arn = self._identity.task_arn
        if self._identity.is_stopping:
            self.agent.stop()
        self.agent.tick()
        self._count_starts()
        self._beat()

    def _count_starts(self) -> None:
        now, wall = clock.monotonic(), clock.epoch()
        waiting = len(self._starting)
        for _ in range(waiting):
            request, arrival = self._starting.popleft()
            if request.time_start is not None:
                self.agent.metrics.receive_to_start.observe(now - (wall - request.time_start) - arrival.at)
            elif request.id in state.requests:
                self._starting.append((request, arrival))

    def _beat(self, *, force: bool = False) -> None:
        now = clock.monotonic()
        if not force and now - self._beat_at < heartbeat.WRITE_EVERY_SECONDS:
            return
        self._beat_at = now
        found = self.agent.state()
        beat = heartbeat.Beat(
            at=now,
            pid=os.getpid(),
            phase=found.phase,
            active_tasks=found.load.active_tasks,
            oldest_poll_seconds=self.agent.intake.oldest_poll_seconds(now),
        )
        try:
            heartbeat.write(self._settings.heartbeat_file, beat)
        except OSError as err:
            _log.warning("The heartbeat cannot be written, so the health check will fail: %s", err)

    def _listen(self) -> None:
        """Answer over HTTP from now on; a worker that cannot is never released, and says why."""
        if self._server is not None:
            return
        self.agent.hostname = hostnames.as_airflow_has_it()
        host = self._settings.host or (self.agent.hostname if self._settings.metadata_uri else "")
        try:
            self._server = Server(
                Reception(self.agent, call_soon=self.hub.call_soon),
                host=host,
                port=self._settings.port,
                token=self._settings.token,
            )
        except OSError as err:
            _log.error(
                "The worker agent cannot listen on %s:%d (%s): worker_scaler will not release this worker."
                " Set AIRFLOW_ECS_WORKER_AGENT_HOST or _PORT.",
                host,
                self._settings.port,
                err,
            )
            return
        self._server.start()
        _log.info("The worker agent listens on http://%s:%d", *self._server.server_address[:2])
