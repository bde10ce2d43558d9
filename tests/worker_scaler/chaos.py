"""An Airflow with Celery workers on a misbehaving ECS, played from outside of the scaler's process.

Tasks are rows of ``task_instance``; workers are tasks of ``local_ecs``, each at an address of its own on
loopback, so that its agent can be reached as in a VPC. The world is moved step by step by the test, and
looked at after every step.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psycopg
from botocore.exceptions import ClientError

from local_ecs.clock import SystemClock
from local_ecs.runtimes.base import Launch, Started
from local_ecs.runtimes.virtual import VirtualRuntime

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient

SLOTS = 2
TAKEN_AFTER = timedelta(seconds=2)
"""Without agents, a message waits so long before a worker takes it: longer than a tick acts on its reading.
What happens within that time is the gap that the README names, and that agents close."""

BOOT = timedelta(seconds=4)
"""From RUNNING to the first message: Celery's own start."""

ORDER_LASTS = timedelta(seconds=120)


class LoopbackRuntime(VirtualRuntime):
    """Simulated containers, each at an address of its own in 127.0.0.0/8."""

    def start(self, launch: Launch, now: datetime) -> None:
        super().start(launch, now)
        last = self._reports[-1]
        if isinstance(last, Started):
            number = self._addresses
            self._reports[-1] = Started(
                task_id=last.task_id,
                address=f"127.7.{number // 250}.{number % 250 + 1}",
                runtime_ids=last.runtime_ids,
            )


@dataclass(slots=True)
class Member:
    """One worker as it is, not as anybody sees it."""

    arn: str
    address: str
    since: datetime
    tasks: dict[uuid.UUID, datetime] = field(default_factory=dict)
    order: str | None = None
    order_until: datetime | None = None
    polls_until: datetime | None = None
    was_stopped_by_us: bool = False

    def is_cordoned(self, now: datetime) -> bool:
        return self.order == "cordon" and self.order_until is not None and self.order_until > now

    def takes_messages(self, now: datetime) -> bool:
        is_polling = self.polls_until is not None and self.polls_until > now
        return not self.is_cordoned(now) or is_polling


class Chaos:
    """The world.

    Attributes:
        violations: what must never happen, in words.
        looks: how many instants were observed.
        lowered: how often the count was seen lower than before.
    """

    def __init__(
        self, *, client: ECSClient, service: str, database: str, seed: int, has_agents: bool
    ) -> None:
        self.clock = SystemClock()
        self.violations: list[str] = []
        self.looks = 0
        self.lowered = 0
        self._last_desired = 0
        self.finished = 0
        self.lock = threading.Lock()
        self.members: dict[str, Member] = {}
        self.strange: uuid.UUID | None = None
        self._client = client
        self._service = service
        self._has_agents = has_agents
        self._dice = random.Random(seed)  # noqa: S311 - repeatable chance
        self._rows = psycopg.connect(database, autocommit=True)
        self._queued: dict[uuid.UUID, datetime] = {}

    def close(self) -> None:
        self._rows.close()

    # ------------------------------------------------------------ what happens

    def queue(self, count: int) -> None:
        """Let the scheduler queue tasks."""
        for _ in range(count):
            row = uuid.uuid4()
            self._queued[row] = self.clock.now()
            self._row(row, "queued")

    def move(self) -> None:
        """Let a moment pass: workers appear and go, messages are taken, tasks end."""
        self._meet_workers()
        with self.lock:
            now = self.clock.now()
            for member in self.members.values():
                for row in [row for row, until in member.tasks.items() if until <= now]:
                    self._end(member, row)
            takers = [one for one in self.members.values() if self._may_take(one, now)]
            self._dice.shuffle(takers)
            for member in takers:
                self._take(member, now)

    def finish_all(self) -> None:
        """Let every running task end now."""
        with self.lock:
            for member in self.members.values():
                for row in list(member.tasks):
                    self._end(member, row)

    def lose_a_worker(self) -> None:
        """Let ECS lose a worker with all it holds; Airflow queues its tasks again."""
        with self.lock:
            if not self.members:
                return
            member = self._dice.choice(sorted(self.members.values(), key=lambda one: one.arn))
            member.was_stopped_by_us = True
            self._ask(lambda: self._client.stop_task(cluster="main", task=member.arn))
            for row in list(member.tasks):
                del member.tasks[row]
                self._queued[row] = self.clock.now()
                self._row(row, "queued")

    def a_strange_host(self, *, is_there: bool) -> None:
        """Let Airflow name a host with a task that is no worker's."""
        if self.strange is None:
            self.strange = uuid.uuid4()
        self._row(self.strange, "running" if is_there else "success", host="laptop-of-somebody")

    # ------------------------------------------------------------ what is observed

    def look(self) -> None:
        """Observe one instant: nobody busy is stopped, and the count is not below the busy workers."""
        with self.lock:
            busy = [one for one in self.members.values() if one.tasks and not one.was_stopped_by_us]
            desired = self.desired()
            stopped = self._stopped([one.arn for one in busy])
            self.looks += 1
            self.lowered += desired < self._last_desired
            self._last_desired = desired
            if desired < len(busy):
                self.violations.append(f"desired {desired} with {len(busy)} busy workers")
            self.violations += [f"busy worker {arn} was stopped: {reason}" for arn, reason in stopped.items()]

    def desired(self) -> int:
        answer = self._ask(lambda: self._client.describe_services(cluster="main", services=[self._service]))
        return int(answer["services"][0]["desiredCount"])

    def busy(self) -> int:
        return sum(1 for member in self.members.values() if member.tasks)

    # ------------------------------------------------------------ the agents' side

    def agent_answer(self, address: str, order: dict[str, Any] | None) -> dict[str, Any] | None:
        """Answer for the worker at this address; None when there is none."""
        with self.lock:
            now = self.clock.now()
            member = next((one for one in self.members.values() if one.address == address), None)
            if member is None:
                return None
            if order is not None:
                if order["order"] == "cordon" and not member.is_cordoned(now):
                    member.polls_until = now + timedelta(seconds=self._dice.uniform(0, 1))
                member.order = order["order"]
                member.order_until = now + timedelta(seconds=order["expires_seconds"])
            return self._state(member, now)

    def _state(self, member: Member, now: datetime) -> dict[str, Any]:
        is_cordoned = member.is_cordoned(now)
        is_quiet = is_cordoned and not member.takes_messages(now) and not member.tasks
        return {
            "version": 1,
            "task_arn": member.arn,
            "hostname": member.address,
            "phase": "quiet" if is_quiet else "cordoned" if is_cordoned else "working",
            "active_tasks": len(member.tasks),
            "reserved_messages": 0,
            "protected_until": None,
            "order": member.order,
            "order_until": member.order_until.isoformat() if member.order_until else None,
            "order_holder": "worker-scaler" if member.order else None,
            "observed_at": now.isoformat(),
        }

    # ------------------------------------------------------------ within

    def _meet_workers(self) -> None:
        arns = self._ask(
            lambda: self._client.list_tasks(
                cluster="main", serviceName=self._service, desiredStatus="RUNNING", maxResults=100
            )
        )["taskArns"]
        described = self._describe(arns)
        with self.lock:
            for arn, task in described.items():
                if task["lastStatus"] == "RUNNING" and arn not in self.members:
                    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
                    self.members[arn] = Member(arn=arn, address=address, since=self.clock.now())
            for arn in [arn for arn in self.members if arn not in described]:
                if not self.members[arn].tasks or self.members[arn].was_stopped_by_us:
                    del self.members[arn]

    def _may_take(self, member: Member, now: datetime) -> bool:
        if member.was_stopped_by_us or len(member.tasks) >= SLOTS:
            return False
        return member.takes_messages(now) and (self._has_agents or now - member.since >= BOOT)

    def _take(self, member: Member, now: datetime) -> None:
        """Let a worker take the oldest message, if it may."""
        waits = timedelta(0) if self._has_agents else TAKEN_AFTER
        ripe = [row for row, since in self._queued.items() if now - since >= waits]
        if not ripe or self._dice.random() < 0.5:
            return
        if self._has_agents and not self._protects_itself(member):
            return  # the message goes back
        row = ripe[0]
        del self._queued[row]
        member.tasks[row] = now + timedelta(seconds=self._dice.choice([0.3, 1.0, 3.0, 8.0]))
        self._row(row, "running", host=f"ip-{member.address.replace('.', '-')}.ec2.internal")

    def _protects_itself(self, member: Member) -> bool:
        """Work begins only under a confirmed protection (docs/adr/0004)."""
        try:
            answer = self._client.update_task_protection(
                cluster="main", tasks=[member.arn], protectionEnabled=True, expiresInMinutes=30
            )
        except ClientError:
            return False
        return not answer["failures"]

    def _end(self, member: Member, row: uuid.UUID) -> None:
        del member.tasks[row]
        self.finished += 1
        self._row(row, "success", host=member.address)

    def _row(self, row: uuid.UUID, state: str, *, host: str = "") -> None:
        self._rows.execute(
            "INSERT INTO task_instance (id, dag_id, task_id, run_id, state, queue, hostname, queued_dttm)"
            " VALUES (%s, 'd', 't', 'r', %s, 'heavy', %s, now())"
            " ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, hostname = EXCLUDED.hostname",
            (row, state, host),
        )

    def _stopped(self, arns: Sequence[str]) -> dict[str, str]:
        return {
            arn: task.get("stoppedReason", "")
            for arn, task in self._describe(arns).items()
            if task["desiredStatus"] == "STOPPED"
        }

    def _describe(self, arns: Sequence[str]) -> dict[str, Any]:
        """Describe tasks until ECS left none out."""
        found: dict[str, Any] = {}
        while missing := [arn for arn in arns if arn not in found]:
            answer = self._ask(lambda: self._client.describe_tasks(cluster="main", tasks=missing))
            found |= {task["taskArn"]: task for task in answer["tasks"]}
        return found

    def _ask(self, call: Any) -> Any:
        """Ask until it is answered: the faults strike everybody."""
        while True:
            try:
                return call()
            except ClientError as err:
                if err.response["Error"]["Code"] not in ("ThrottlingException", "ServerException"):
                    raise


@contextmanager
def agents_of(chaos: Chaos) -> Iterator[int]:
    """Serve the agents of all workers on one port; each is found at its own address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PUT(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, order: dict[str, Any] | None) -> None:
            state = chaos.agent_answer(self.connection.getsockname()[0], order)
            data = json.dumps(state).encode()
            self.send_response(200 if state else 503)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Stay silent: the scaler is killed in the middle of requests."""

    server = Server(("0.0.0.0", 0), Handler)  # every address of 127.0.0.0/8 is a worker
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
