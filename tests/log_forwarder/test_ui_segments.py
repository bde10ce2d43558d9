"""A task's log is where Airflow's S3 reader looks for it, while the task runs and after a SIGKILL."""

from __future__ import annotations

import secrets
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from log_forwarder.inputs.base import Chunk, Kind, Origin
from log_forwarder.ui_segments import UiSegments
from sidecar.errors import SidecarError, Transient
from sidecar.testing.plugin import _environment
from sidecar.testing.waiting import wait_until

from .world import World

pytestmark = pytest.mark.timeout(120)

AIRFLOW = Path(__file__).parents[2] / ".airflow/bin/python"
RELATIVE = "dag_id=d/run_id=manual__2026-11-22T00:00:00+00:00/task_id=t/attempt=1.log"
_READ = """
import sys
from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO
io = S3RemoteLogIO(remote_base=sys.argv[1], base_log_folder="/nowhere", delete_local_copy=False)
_, logs = io.read(sys.argv[2], None)
sys.stdout.write("<<<" + "".join(logs or []) + ">>>")
"""


class Store:
    """Objects in memory; fails on order."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fails = False

    def put(self, key: str, data: bytes) -> None:
        if self.fails:
            raise Transient("Cannot write", why="the bucket is away")
        self.objects[key] = data


class Told:
    """What a listener was told."""

    def __init__(self) -> None:
        self.failed = 0
        self.left_out_bytes = 0

    def segment_written(self, *, written_bytes: int) -> None:
        """Seen in the store."""

    def segment_failed(self, error: SidecarError) -> None:
        self.failed += 1

    def segment_left_out(self, *, left_out_bytes: int) -> None:
        self.left_out_bytes += left_out_bytes


class Keeper:
    """Keeps nothing."""

    def keep(self, spans: object) -> None:
        """Nothing to keep."""


def origin(path: str = f"/logs/{RELATIVE}", kind: Kind = "airflow_task", source: str = "aa") -> Origin:
    return Origin(source=source, path=path, kind=kind, keeper=Keeper(), about={})


def chunk(of: Origin, start: int, data: bytes) -> Chunk:
    return Chunk(of, start, start + len(data), data, None, 0.0)


def segments(store: Store, told: Told, *, at_second: int = 0) -> UiSegments:
    return UiSegments(
        store,
        base_log_folder="/logs",
        every_seconds=0,
        monotonic=lambda: 0.0,
        now=lambda: datetime(2026, 11, 23, 10, 0, at_second, tzinfo=UTC),
        listener=told,
    )


def test_segments_sort_as_the_log_goes_and_hold_all_of_it() -> None:
    store, told, task = Store(), Told(), origin()
    ui = segments(store, told)
    for start in range(0, 200_000, 10):
        ui.add(chunk(task, start, b"%09d\n" % start))
    ui.close()
    assert all(key.startswith(f"{RELATIVE}.from-") for key in store.objects)
    assert b"".join(store.objects[key] for key in sorted(store.objects)) == b"".join(
        b"%09d\n" % start for start in range(0, 200_000, 10)
    )


def test_two_workers_that_write_one_tasks_log_do_not_replace_each_others_segments() -> None:
    store = Store()
    for second, source, text in ((1, "ff", b"before it was deferred\n"), (2, "aa", b"resumed elsewhere\n")):
        ui = segments(store, Told(), at_second=second)
        ui.add(chunk(origin(source=source), 0, text))
        ui.close()
    assert [store.objects[key] for key in sorted(store.objects)] == [
        b"before it was deferred\n",
        b"resumed elsewhere\n",
    ]


def test_only_task_logs_below_the_base_folder_are_written() -> None:
    store, told = Store(), Told()
    ui = segments(store, told)
    ui.add(chunk(origin(kind="file"), 0, b"x\n"))
    ui.add(chunk(origin(path="/elsewhere/task_id=t/attempt=1.log"), 0, b"x\n"))
    ui.close()
    assert store.objects == {}


def test_a_bucket_that_is_away_is_tried_again_and_memory_is_bounded() -> None:
    store, told, task = Store(), Told(), origin()
    store.fails = True
    ui = segments(store, told)
    for number in range(40):
        ui.add(chunk(task, number * 1_000_000, b"x" * 999_999 + b"\n"))
    wait_until(lambda: told.failed, "a failure is told")
    assert told.left_out_bytes >= 20_000_000
    store.fails = False
    wait_until(lambda: len(store.objects) >= 16, "what was held is written", deadline_seconds=30)
    ui.close()
    assert told.failed == 1


@pytest.mark.integration
def test_airflows_own_reader_shows_the_log_live_and_after_a_sigkill(
    world: World, aws: str, tmp_path: Path
) -> None:
    """The worker is this test: it writes its log and never uploads it, as one that was killed."""
    assert AIRFLOW.exists(), "run: make .airflow/.ready"
    bucket = f"ui-{secrets.token_hex(6)}"
    s3 = boto3.client("s3", endpoint_url=aws)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    forwarder = world.start_process(
        "log_forwarder",
        "run",
        settings={
            **world.settings(UI_URL=f"s3://{bucket}/logs", UI_BASE_LOG_FOLDER=str(world.logs)),
            "AWS_ENDPOINT_URL_S3": aws,
        },
    )
    world.log(RELATIVE, range(100))
    wait_until(
        lambda: s3.list_objects_v2(Bucket=bucket).get("KeyCount"), "a first segment", deadline_seconds=40
    )
    world.log(RELATIVE, range(100, 200))
    wait_until(lambda: (s3.list_objects_v2(Bucket=bucket)["KeyCount"]) >= 2, "another", deadline_seconds=40)
    forwarder.kill_dash_nine()

    done = subprocess.run(
        [str(AIRFLOW), "-c", _READ, f"s3://{bucket}/logs", RELATIVE],
        env=_environment(
            {
                "AWS_ENDPOINT_URL": aws,
                "AIRFLOW_HOME": str(tmp_path / "airflow"),
                "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
                "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "aws_default",
            }
        ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    shown = done.stdout.partition("<<<")[2].partition(">>>")[0]
    assert shown == (world.logs / RELATIVE).read_text(), done.stderr[-2000:]
