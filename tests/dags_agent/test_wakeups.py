"""Events wake a pass early; lost, late, double and strange ones change nothing."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

from dags_agent.events import Events
from dags_agent.program import _covering
from dags_agent.sqs import connect_queue
from dags_agent.wakeups import Message, Queue, Wakeups
from sidecar.aws import Aws
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError, Transient
from sidecar.telemetry import Telemetry
from sidecar.testing.plugin import SidecarProcess
from sidecar.testing.waiting import wait_until

from .fakes import BUCKET, PREFIX, Agent, FakeSource, SlowS3, an_agent, tree

DEADLINE_SECONDS = 15.0


def change(key: str = f"{PREFIX}a.py") -> str:
    return json.dumps({"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}]})


@dataclass
class FakeQueue(Queue):
    """Hands out what a test sends; a failure where it sends an error."""

    inbox: asyncio.Queue[list[str] | Transient] = field(default_factory=asyncio.Queue)
    deleted: list[str] = field(default_factory=list)
    count: int = 0

    async def receive(self) -> list[Message]:
        sent = await self.inbox.get()
        if isinstance(sent, Transient):
            raise sent
        self.count += len(sent)
        first = self.count - len(sent)
        return [Message(body=body, receipt=f"r{first + at}") for at, body in enumerate(sent)]

    async def delete(self, receipts: Sequence[str]) -> None:
        self.deleted += receipts


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set({"a.py": b"1"})
    with an_agent(tmp_path / "efs", source, quiet_seconds=0.05, quiet_max_seconds=0.5) as agent:
        object.__setattr__(agent.runtime, "clock", SystemClock())  # bursts are about real time
        yield agent


def wakeups_of(agent: Agent) -> Wakeups:
    return Wakeups(agent.settings, agent.runtime, Events(_fresh(agent)), asyncio.Event())


def _fresh(agent: Agent) -> Telemetry:
    return Telemetry(service="dags-agent", version="0", clock=agent.clock)


async def test_a_burst_is_one_wake_and_its_messages_go_after_the_pass_that_covers_them(agent: Agent) -> None:
    wakeups, queue = wakeups_of(agent), FakeQueue()
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        following = group.create_task(wakeups.follow(queue))
        for _ in range(30):
            queue.inbox.put_nowait([change()] * 10)
        await wakeups.wake.wait()
        wakeups.wake.clear()
        assert queue.deleted == []
        await _covering(wakeups, queue, agent.cycle)
        assert len(queue.deleted) == 300
        assert agent.files() == {"a.py": b"1"}
        assert not wakeups.wake.is_set()
        following.cancel()


async def test_events_that_never_pause_wake_a_pass_all_the_same(agent: Agent) -> None:
    wakeups, queue = wakeups_of(agent), FakeQueue()

    async def never_pause() -> None:
        while True:
            queue.inbox.put_nowait([change()])
            await agent.runtime.clock.wait(0.01, asyncio.Event())

    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        tasks = [group.create_task(wakeups.follow(queue)), group.create_task(never_pause())]
        await wakeups.wake.wait()
        for task in tasks:
            task.cancel()


async def test_test_events_foreign_ones_and_garbage_are_deleted_and_wake_nobody(agent: Agent) -> None:
    wakeups, queue = wakeups_of(agent), FakeQueue()
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        following = group.create_task(wakeups.follow(queue))
        queue.inbox.put_nowait(['{"Event": "s3:TestEvent"}', change("elsewhere/a.py"), "garbage", ""])
        while len(queue.deleted) < 4:
            await agent.runtime.clock.wait(0.01, asyncio.Event())
        assert not wakeups.begin()
        assert not wakeups.wake.is_set()
        following.cancel()


async def test_a_failed_pass_keeps_its_messages_for_the_next(agent: Agent) -> None:
    wakeups, queue = wakeups_of(agent), FakeQueue()
    await wakeups._accept([Message(body=change(), receipt="r1")], queue)

    def unwell(_key: str) -> None:
        raise Transient("S3 does not answer")

    agent.source.on_open = unwell
    with pytest.raises(Transient):
        await _covering(wakeups, queue, agent.cycle)
    assert queue.deleted == []
    agent.source.on_open = lambda _key: None
    await _covering(wakeups, queue, agent.cycle)
    assert queue.deleted == ["r1"]


async def test_a_queue_that_fails_is_told_and_asked_again(agent: Agent) -> None:
    wakeups, queue = wakeups_of(agent), FakeQueue()
    agent.runtime.stop.event.set()  # its pauses end at once
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        following = group.create_task(wakeups._receive(queue))
        queue.inbox.put_nowait(Transient("no answer"))
        queue.inbox.put_nowait([change()])
        await wakeups._arrived.wait()
        following.cancel()


async def test_a_real_queue_is_read_deleted_from_and_looked_at(aws: str) -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=f"{number}")
    runtime = Aws(service="dags-agent", version="0")
    async with asyncio.timeout(DEADLINE_SECONDS), connect_queue(runtime, url) as queue:
        await queue.look()
        received: list[Message] = []
        while len(received) < 3:
            received += await queue.receive()
        assert {message.body for message in received} == {"0", "1", "2"}
        await queue.delete([message.receipt for message in received])
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    sqs.close()
    assert left["ApproximateNumberOfMessages"] == left["ApproximateNumberOfMessagesNotVisible"] == "0"
    async with connect_queue(runtime, url + "-missing") as queue:
        with pytest.raises(ConfigError, match=r"NonExistentQueue|QueueDoesNotExist"):
            await queue.look()


def test_an_upload_of_300_files_is_one_release_a_moment_after_its_last_event(
    aws: str, start_sidecar: Callable[..., SidecarProcess], tmp_path: Path
) -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]
    s3 = SlowS3({f"{PREFIX}a.py": b"0"}, page_size=1000)
    agent = start_sidecar(
        "dags_agent",
        settings={
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_ENDPOINT_URL_SQS": aws,
            "DAGS_AGENT_SOURCE": f"s3://{BUCKET}/{PREFIX}",
            "DAGS_AGENT_TARGET": str(tmp_path / "efs"),
            "DAGS_AGENT_HTTP_PORT": "0",
            "DAGS_AGENT_INTERVAL_SECONDS": "3600",  # only an event can begin the second pass
            "DAGS_AGENT_EVENTS_QUEUE_URL": url,
            "DAGS_AGENT_QUIET_SECONDS": "10",  # the emulator takes its time on a loaded machine
            "DAGS_AGENT_QUIET_MAX_SECONDS": "300",
        },
    )
    current = tmp_path / "efs/current"
    wait_until(current.exists, "the first release", deadline_seconds=60)
    files = {f"{number}.py": b"%d" % number for number in range(300)}
    for at, (path, content) in enumerate(files.items(), start=1):
        s3.objects = s3.objects | {f"{PREFIX}{path}": content}
        if at % 10 == 0:
            entries = [{"Id": str(n), "MessageBody": change(f"{PREFIX}{n}.py")} for n in range(10)]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]  # stubs: a TypedDict
    wait_until(
        lambda: tree(current) == files | {"a.py": b"0"}, "the upload is published", deadline_seconds=60
    )
    wait_until(
        lambda: (
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
                "ApproximateNumberOfMessagesNotVisible"
            ]
            == "0"
        ),
        "its messages are deleted",
        deadline_seconds=60,
    )
    assert agent.terminate() == 0
    sqs.close()
    s3.close()
    assert len(list((tmp_path / "efs/releases").glob("*/"))) == 2
