"""The agent as a real process: exit codes, what it says, kill -9, SIGTERM, the operator's commands."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

from .fakes import BUCKET, PREFIX, SlowS3, tree

Run = Callable[..., Finished]
Launch = Callable[..., SidecarProcess]

ONE = {f"{number}.py": b"V = 1\n" for number in range(5)} | {"same.sql": b"select 1"}
TWO = {f"{number}.py": b"V = 2\n" for number in range(5)} | {"same.sql": b"select 1"}


def keyed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{PREFIX}{path}": content for path, content in files.items()}


@pytest.fixture
def s3() -> Iterator[SlowS3]:
    server = SlowS3(keyed(ONE))
    yield server
    server.close()


@pytest.fixture
def settings(s3: SlowS3, tmp_path: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": s3.url,
        "DAGS_AGENT_SOURCE": f"s3://{BUCKET}/dags",
        "DAGS_AGENT_TARGET": str(tmp_path / "efs"),
        "DAGS_AGENT_HTTP_PORT": "0",
        "DAGS_AGENT_MAX_CONCURRENCY": "2",
    }


def events(output: str, name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DAGS_AGENT_SORCE": "x"}, "DAGS_AGENT_SORCE: no such setting (did you mean DAGS_AGENT_SOURCE?)"),
        ({"DAGS_AGENT_OWNER": "airflow"}, "DAGS_AGENT_OWNER: must look like 50000:0"),
    ],
)
def test_bad_settings_exit_2_with_one_clear_line(
    run_sidecar: Run, settings: dict[str, str], changes: dict[str, str], sentence: str
) -> None:
    done = run_sidecar("dags_agent", "once", settings=settings | changes)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert sentence in done.err
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize("verb", ["run", "once"])
def test_a_missing_bucket_exits_2_with_one_clear_line(
    run_sidecar: Run, settings: dict[str, str], aws: str, verb: str
) -> None:
    bucket = f"missing-{uuid.uuid4().hex}"
    changes = {"AWS_ENDPOINT_URL": aws, "DAGS_AGENT_SOURCE": f"s3://{bucket}/dags/"}
    done = run_sidecar("dags_agent", verb, settings=settings | changes)
    (fatal,) = events(done.out, "fatal")
    assert done.code == 2
    assert fatal["what"] == f"Cannot list s3://{bucket}/dags/"
    assert "NoSuchBucket" in str(fatal["why"])
    assert fatal["to_do"]
    assert "Traceback" not in done.out + done.err


def test_once_publishes_from_a_real_bucket_and_a_refusal_exits_1(
    run_sidecar: Run, settings: dict[str, str], aws: str, tmp_path: Path
) -> None:
    bucket = f"bucket-{uuid.uuid4().hex}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key, content in keyed(ONE).items():
        client.put_object(Bucket=bucket, Key=key, Body=content)
    settings |= {"AWS_ENDPOINT_URL": aws, "DAGS_AGENT_SOURCE": f"s3://{bucket}/dags/"}

    done = run_sidecar("dags_agent", "once", settings=settings)
    assert done.code == 0, done.out + done.err
    assert tree(tmp_path / "efs/current") == ONE
    (published,) = events(done.out, "published")
    assert (published["files"], published["changed"], published["deleted"]) == (6, 6, 0)

    for key in keyed(ONE):
        client.delete_object(Bucket=bucket, Key=key)
    client.close()
    refused = run_sidecar("dags_agent", "once", settings=settings)
    assert refused.code == 1
    assert [line["reason"] for line in events(refused.out, "refused")] == ["empty_listing"]
    assert "Traceback" not in refused.out + refused.err
    assert tree(tmp_path / "efs/current") == ONE


@pytest.mark.parametrize("gets", [0, 3])
def test_kill_dash_nine_during_a_build_changes_nothing_and_the_next_run_converges(
    start_sidecar: Launch, run_sidecar: Run, s3: SlowS3, settings: dict[str, str], gets: int
) -> None:
    target = Path(settings["DAGS_AGENT_TARGET"])
    assert run_sidecar("dags_agent", "once", settings=settings).code == 0
    s3.objects = keyed(TWO)
    s3.allow(gets)
    agent = start_sidecar("dags_agent", "run", settings=settings)
    assert s3.waiting.wait(30), agent.text()
    building = target / ".dags-agent/building"
    wait_until(lambda: len(list(building.glob("*/*.py"))) >= gets, f"{gets} files were written")
    agent.kill_dash_nine()
    assert tree(target / "current") == ONE
    assert any(building.iterdir())

    s3.allow(None)
    done = run_sidecar("dags_agent", "once", settings=settings)
    assert done.code == 0, done.out + done.err
    assert tree(target / "current") == TWO
    assert list(building.iterdir()) == []
    assert len(events(done.out, "leftovers_removed")) == 1


def upload_and_wait(s3: SlowS3, target: Path, content: bytes) -> None:
    """Return the moment a release of this content is whole: `current` may not have moved yet."""
    newest = max((target / "releases").glob("*/"))
    s3.objects = keyed(dict.fromkeys(ONE, content))
    wait_until(lambda: max((target / "releases").glob("*/")) > newest, "a new release", deadline_seconds=30)


def test_kill_dash_nine_again_and_again_at_any_moment_never_shows_a_reader_a_mix(
    start_sidecar: Launch, run_sidecar: Run, s3: SlowS3, settings: dict[str, str]
) -> None:
    target = Path(settings["DAGS_AGENT_TARGET"])
    s3.page_size = 1000  # several pages are no snapshot: S3 itself may change between them
    settings |= {"DAGS_AGENT_INTERVAL_SECONDS": "0.01", "DAGS_AGENT_KEEP_HOURS": "0"}
    assert run_sidecar("dags_agent", "once", settings=settings).code == 0
    for round_ in range(3):
        agent = start_sidecar("dags_agent", settings=settings)
        for version in range(2 + round_):  # killed at another point of its work each time
            upload_and_wait(s3, target, b"V = %d%d\n" % (round_, version))
        agent.kill_dash_nine()
        files = tree(target / "current")
        assert files.keys() == ONE.keys()
        assert len(set(files.values())) == 1 or files == ONE
    assert run_sidecar("dags_agent", "once", settings=settings).code == 0
    own = target / ".dags-agent"
    assert tree(target / "current") == {key.removeprefix(PREFIX): body for key, body in s3.objects.items()}
    assert not [*own.glob("building/*"), *own.glob("trash/*"), *own.glob("link-*"), *own.glob(".tmp-*")]


def test_sigterm_during_a_slow_download_ends_within_the_deadline_and_leaves_nothing(
    start_sidecar: Launch, s3: SlowS3, settings: dict[str, str], tmp_path: Path
) -> None:
    s3.allow(1)
    agent = start_sidecar("dags_agent", settings=settings | {"DAGS_AGENT_STOP_TIMEOUT_SECONDS": "0.2"})
    assert s3.waiting.wait(30)
    assert agent.terminate(deadline_seconds=10) == 1  # unfinished work is not success
    assert not (tmp_path / "efs/current").exists()
    assert list((tmp_path / "efs/.dags-agent/building").iterdir()) == []


def test_the_operator_goes_back_stays_there_and_follows_again(
    run_sidecar: Run, s3: SlowS3, settings: dict[str, str], tmp_path: Path
) -> None:
    current = tmp_path / "efs/current"

    def say(*arguments: str) -> Finished:
        return run_sidecar("dags_agent", *arguments, settings=settings)

    assert say("once").code == 0
    first = current.readlink().name
    s3.objects = keyed(TWO)
    assert say("once").code == 0
    second = current.readlink().name

    back = say("rollback")
    assert (back.code, current.readlink().name) == (0, first)
    assert say("once").code == 0
    assert tree(current) == ONE
    shown = say("releases")
    assert [line.split()[:2] for line in shown.out.splitlines()[:2]][1] == ["*", first]
    assert f"held at {first}" in shown.out

    unknown = say("rollback", "yesterday")
    assert unknown.code == 1
    assert "'yesterday': no such release is kept" in unknown.err

    assert say("resume").code == 0
    assert say("once").code == 0
    assert (tree(current), current.readlink().name) == (TWO, second)


def test_the_doctor_names_what_is_wrong_and_changes_nothing(
    run_sidecar: Run, s3: SlowS3, settings: dict[str, str], tmp_path: Path
) -> None:
    bad = run_sidecar("dags_agent", "check", settings=settings)
    assert bad.code == 2
    assert "ok       source s3://bucket/dags/: 6 files" in bad.out
    assert f"PROBLEM  target {tmp_path / 'efs'}: it is no directory. Mount the volume there" in bad.out
    assert not (tmp_path / "efs").exists()
    (tmp_path / "efs").mkdir()
    assert run_sidecar("dags_agent", "check", settings=settings).code == 0
    assert list((tmp_path / "efs").iterdir()) == []
