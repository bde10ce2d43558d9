"""Accidents in any order, from a seed: what arrives is counted line by line."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import boto3
import pytest

from log_forwarder.__main__ import SIDECAR
from log_forwarder.program import LogForwarder
from log_forwarder.settings import ForwarderSettings
from sidecar.clock import SystemClock
from sidecar.process import build_runtime
from sidecar.testing.waiting import wait_until

from .fakes import Reply, Verdict, answer_lost, disconnect, ok, unavailable
from .world import World

pytestmark = pytest.mark.timeout(180)


def chaos(seed: int) -> Verdict:
    """Fail every other call, each time in another way."""
    rng = random.Random(seed)  # noqa: S311 - a script, not cryptography

    def verdict(call: int, records: list[bytes]) -> Reply:
        fault = rng.choice(["ok", "503", "500", "partial", "lost", "cut"])
        if fault == "partial":
            failed = tuple(index for index in range(len(records)) if rng.random() < 0.5)
            return Reply(failed=failed)
        if fault in ("lost", "cut"):
            return (answer_lost if fault == "lost" else disconnect)(call, records)
        return ok(call, records) if fault == "ok" else Reply(status=int(fault))

    return verdict


class Writer:
    """Writes numbered lines into several files, and rotates them, until it has written them all."""

    def __init__(self, world: World, count: int, seed: int) -> None:
        self.count = count
        self._world = world
        self._rng = random.Random(seed)  # noqa: S311 - a script, not cryptography
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._pace = threading.Event()

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        at = 0
        while at < self.count:
            block = range(at, min(self.count, at + self._rng.randint(1, 400)))
            name = f"dag_id=d/run_id=r/task_id={self._rng.randrange(6)}/attempt=1.log"
            path = self._world.log(name, block, padding=self._rng.randrange(400))
            if self._rng.random() < 0.05:
                path.rename(path.with_name(f"attempt=1.log.{at}"))
            at = block.stop
            self._pace.wait(0.01)


def assert_repeats_are_the_same_bytes(world: World) -> None:
    by_number: dict[int, bytes] = {}
    for line in world.firehose.lines:
        number = json.loads(line)["n"]
        assert by_number.setdefault(number, line) == line


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_throttling_partial_failures_and_lost_answers_lose_nothing(world: World, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a script, not cryptography
    writer = Writer(world, 20_000, seed)
    world.firehose.mode = chaos(seed)
    forwarder = world.start()
    with writer.writing():
        for _ in range(4):
            arrived = world.firehose.arrived + rng.randint(1, 6)
            wait_until(lambda: world.firehose.arrived >= arrived, "some calls", deadline_seconds=60)  # noqa: B023 - at once
            forwarder.kill_dash_nine()
            forwarder = world.start()
    world.firehose.mode = ok
    wait_until(lambda: len(set(world.numbers())) == writer.count, "every line", deadline_seconds=90)

    assert forwarder.terminate() == 0
    assert_repeats_are_the_same_bytes(world)


def test_kill_dash_nine_repeats_the_records_in_flight_byte_for_byte(world: World) -> None:
    """Also in format envelope, where an id is of a whole record: ADR 0027."""
    for number in range(3):
        world.log(f"{number}.log", range(number * 6000, number * 6000 + 6000), padding=300)
    world.firehose.mode = answer_lost
    forwarder = world.start(FORMAT="envelope", COMPRESSION="gzip")
    wait_until(lambda: world.firehose.accepted, "a call that was accepted")
    forwarder.kill_dash_nine()
    wait_until(lambda: len(world.firehose.calls) == world.firehose.arrived, "the orphaned call to end")
    before = set(world.firehose.accepted)
    world.log("0.log", range(18_000, 18_100))  # there is more to read now than there was
    world.firehose.mode = ok

    assert world.once(FORMAT="envelope", COMPRESSION="gzip").code == 0
    assert before <= set(world.firehose.accepted[len(world.firehose.accepted) - len(before) - 10 :])
    assert sum(record in before for record in world.firehose.accepted) >= 2 * len(before)


def test_sigterm_in_the_middle_of_chaos_is_kept_for_the_next_start(world: World) -> None:
    world.firehose.mode = chaos(3)
    for number in range(4):
        world.log(f"{number}.log", range(number * 3000, number * 3000 + 3000), padding=200)
    forwarder = world.start()
    wait_until(lambda: world.firehose.arrived > 2, "some calls")
    assert forwarder.terminate() in (0, 3)
    world.firehose.mode = ok

    assert world.once().code == 0
    assert set(world.numbers()) == set(range(12_000))
    assert_repeats_are_the_same_bytes(world)


def test_a_storm_of_rotations_loses_nothing_and_repeats_nothing(world: World) -> None:
    forwarder = world.start()
    world.log("a.log", range(1))
    world.has_all(range(1))
    for rotation in range(60):
        log = world.log("a.log", range(1 + rotation * 5, 6 + rotation * 5))
        log.rename(log.with_name(f"a.log.{rotation}"))

    world.has_all(range(301))
    assert forwarder.terminate() == 0
    assert world.repeated() == []


def test_hundreds_of_short_lived_tasks_are_shipped_although_their_directories_are_removed(
    world: World,
) -> None:
    """20,000 of them, and the same beside a peer: benchmarks/log_forwarder."""
    forwarder = world.start()
    world.log("first.log", range(1))
    world.has_all(range(1))
    lived = threading.Event()
    alive: list[Path] = []
    for task in range(400):
        log = world.log(f"dag_id=d/run_id=r{task}/task_id=t/attempt=1.log", range(1 + task * 5, 6 + task * 5))
        alive.append(log.parent.parent)
        lived.wait(0.002)
        if len(alive) > 100:  # each lives for a fifth of a second or longer
            shutil.rmtree(alive.pop(0))
    for directory in alive:
        lived.wait(0.002)
        shutil.rmtree(directory)

    world.has_all(range(2001))
    assert forwarder.terminate() == 0
    assert world.repeated() == []


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 2 MiB."""
    volume = tmp_path / "volume"
    volume.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(volume)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"a small volume needs the right to mount one: {done.stderr.decode().strip()}")
    yield volume
    subprocess.run(["umount", "-l", str(volume)], check=True)


def test_a_full_state_volume_holds_everything_and_nothing_is_repeated_when_it_is_free(
    world: World, small_volume: Path
) -> None:
    state = str(small_volume / "state")
    forwarder = world.start(STATE_DIR=state)
    world.log("a.log", range(10))
    world.has_all(range(10))
    filler = small_volume / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    for number in range(10, 60):
        world.log(f"{number}.log", range(number, number + 1))
    wait_until(lambda: "state_unwritable" in forwarder.text(), "a line that says so", deadline_seconds=30)
    filler.unlink()

    world.has_all(range(60))
    assert forwarder.terminate() == 0
    assert world.repeated() == []


def test_when_the_time_to_stop_runs_out_the_rest_goes_straight_to_s3_with_kms(world: World, aws: str) -> None:
    bucket = f"overflow-{uuid.uuid4().hex}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    world.firehose.mode = unavailable
    world.log("a.log", range(100))
    forwarder = world.start(OVERFLOW_URL=f"s3://{bucket}/logs/", STOP_TIMEOUT_SECONDS="8")
    wait_until(lambda: world.firehose.calls, "a refused call")

    assert forwarder.terminate() == 0
    objects = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    got = [s3.get_object(Bucket=bucket, Key=key) for key in objects]
    lines = [json.loads(line) for each in got for line in each["Body"].read().splitlines()]
    assert [line["n"] for line in lines] == list(range(100))
    assert {each["ServerSideEncryption"] for each in got} == {"aws:kms"}
    assert all(key.startswith("logs/20") and key.endswith(".ndjson") for key in objects)


class JumpingClock(SystemClock):
    """A wall clock that is set back or forth by a day at each look."""

    def __init__(self) -> None:
        self._rng = random.Random(1)  # noqa: S311 - a script, not cryptography

    def now(self) -> datetime:
        return super().now() + timedelta(days=self._rng.choice([-1, 1]))


async def test_a_clock_that_jumps_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", world.firehose.url)
    world.firehose.mode = lambda call, records: unavailable(call, records) if call < 6 else ok(call, records)
    world.log("a.log", range(100))
    settings = ForwarderSettings.load(
        {name: value for name, value in world.settings().items() if name.startswith("LOG_FORWARDER_")}
    )
    runtime = build_runtime(SIDECAR, settings, {"AWS_REGION": "eu-west-1"}, dry_run=False)

    assert await LogForwarder(settings, replace(runtime, clock=JumpingClock())).once() == 0
    assert world.numbers() == list(range(100))


def test_a_stop_while_nothing_is_there_is_quick(world: World) -> None:
    forwarder = world.start(FLUSH_SECONDS="600")
    wait_until((world.state / "checkpoints.sqlite3").exists, "the start")

    assert forwarder.terminate(deadline_seconds=10) == 0
    assert os.listdir(world.logs) == []  # noqa: PTH208 - of names alone
