"""What a CI job does: ``publish`` a tree with the marker last, ``wait`` until readers see it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from dags_agent.deploy_settings import DeploySettings
from dags_agent.deploying import Deletions, _is_left_out, _Uploader, files_of
from dags_agent.settings import SourceUrl
from sidecar.errors import Permanent
from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

from .fakes import tree

Run = Callable[..., Finished]
ALL = Deletions(is_left_out=lambda _name: False, max_fraction=1)
FILES = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n", ".airflowignore": b"tests\n"}


@pytest.fixture
def bucket_name(aws: str) -> Iterator[str]:
    name = f"bucket-{uuid.uuid4().hex}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield name
    client.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A working copy as a CI job has it, with what must not be published."""
    root = tmp_path / "checkout"
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "__pycache__").mkdir()
    (root / "__pycache__/a.cpython-311.pyc").write_bytes(b"byte code")
    return root


def keys(bucket: str) -> dict[str, bytes]:
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    found = {item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}
    client.close()
    return found


def test_a_tree_is_uploaded_once_with_its_deletions_when_asked_and_the_marker(
    run_sidecar: Run, aws: str, bucket_name: str, checkout: Path
) -> None:
    url = f"s3://{bucket_name}/dags/"
    settings = {"AWS_ENDPOINT_URL": aws}
    first = run_sidecar("dags_agent", "publish", str(checkout), url, "--id", "v1", settings=settings)
    assert first.code == 0, first.err
    assert json.loads(first.out)["uploaded"] == 3
    found = keys(bucket_name)
    assert json.loads(found.pop("dags/_release.json"))["id"] == "v1"
    assert found == {f"dags/{path}": content for path, content in FILES.items()}

    (checkout / "a.py").write_bytes(b"V = 2\n")
    (checkout / "lib/b.py").unlink()
    again = run_sidecar("dags_agent", "publish", str(checkout), url, "--id", "v2", settings=settings)
    assert (json.loads(again.out)["uploaded"], json.loads(again.out)["deleted"]) == (1, 0)
    assert "dags/lib/b.py" in keys(bucket_name)
    marker = json.loads(again.out)["etag"]
    same = run_sidecar("dags_agent", "publish", str(checkout), url, "--id", "v2", settings=settings)
    assert json.loads(same.out)["etag"] != marker  # `wait --etag` waits for this run, not for one before
    last = run_sidecar("dags_agent", "publish", str(checkout), url, "--delete", settings=settings)
    assert (json.loads(last.out)["uploaded"], json.loads(last.out)["deleted"]) == (0, 1)
    assert "dags/lib/b.py" not in keys(bucket_name)


class RecordingClient:
    """Notes the order of writes; fails where a test says so."""

    def __init__(self, *, fails_at: str = "", listed: tuple[str, ...] = ("gone.py",)) -> None:
        self.wrote: list[str] = []
        self.deleted: list[str] = []
        self._listed = listed
        self._fails_at = fails_at

    def get_paginator(self, _name: str) -> RecordingClient:
        return self

    def paginate(self, **_arguments: str) -> list[dict[str, list[dict[str, object]]]]:
        return [{"Contents": [{"Key": f"dags/{name}", "Size": 1, "ETag": '"x"'} for name in self._listed]}]

    def put_object(self, *, Key: str, **_arguments: object) -> dict[str, str]:  # noqa: N803 - boto3's
        if self._fails_at and Key.endswith(self._fails_at):
            raise Permanent("S3 says no")
        self.wrote.append(f"put {Key}")
        return {"ETag": '"e"'}

    def delete_objects(self, *, Delete: dict[str, Any], **_arguments: object) -> dict[str, list[object]]:  # noqa: N803 - boto3's
        self.wrote.append("delete")
        self.deleted += [item["Key"] for item in Delete["Objects"]]
        return {}


def test_the_marker_is_written_after_everything_else_and_not_at_all_when_something_fails(
    checkout: Path,
) -> None:
    files = files_of(checkout, DeploySettings())
    url = SourceUrl(bucket="bucket", prefix="dags/")
    client = RecordingClient()
    _Uploader(client, url, threads=2).upload(files, marker="_m", document={}, deletions=ALL)  # type: ignore[arg-type]  # a fake
    assert client.wrote[-2:] == ["delete", "put dags/_m"]
    failing = RecordingClient(fails_at="b.py")
    with pytest.raises(Permanent):
        _Uploader(failing, url, threads=2).upload(files, marker="_m", document={}, deletions=ALL)  # type: ignore[arg-type]  # a fake
    assert "put dags/_m" not in failing.wrote
    assert "delete" not in failing.wrote


def test_what_is_left_out_of_a_deploy_is_not_deleted_by_it(checkout: Path) -> None:
    settings = DeploySettings(exclude=("data/",))
    client = RecordingClient(listed=("gone.py", "data/big.csv", "a.py", "lib/b.py", ".airflowignore"))
    _Uploader(client, SourceUrl(bucket="bucket", prefix="dags/"), threads=2).upload(  # type: ignore[arg-type]  # a fake
        files_of(checkout, settings),
        marker="_m",
        document={},
        deletions=Deletions(is_left_out=partial(_is_left_out, settings=settings), max_fraction=0.5),
    )
    assert client.deleted == ["dags/gone.py"]


def test_a_deploy_that_would_delete_most_of_a_prefix_is_refused_before_it_begins(checkout: Path) -> None:
    client = RecordingClient(listed=("x.py", "y.py", "z.py"))
    with pytest.raises(Permanent, match="3 of 3 objects would be deleted"):
        _Uploader(client, SourceUrl(bucket="bucket", prefix="dags/"), threads=2).upload(  # type: ignore[arg-type]  # a fake
            files_of(checkout, DeploySettings()),
            marker="_m",
            document={},
            deletions=Deletions(is_left_out=lambda _name: False, max_fraction=0.5),
        )
    assert client.wrote == []


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "nowhere"])
def test_a_symlink_is_named_and_stops_the_upload_unless_it_is_excluded(checkout: Path, target: str) -> None:
    (checkout / "lib/link").symlink_to(target)
    with pytest.raises(Permanent, match=r"'lib/link' cannot be published: it is a symlink"):
        files_of(checkout, DeploySettings())
    assert files_of(checkout, DeploySettings(exclude=("lib/link",))).keys() == FILES.keys()


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (("publish", "/nowhere", "s3://bucket/x/"), "it is no directory", 2),
        (("publish", ".", "bucket/x"), "is no place to publish to", 2),
        (("publish", ".", "s3://bucket", "--delete"), "it is a whole bucket", 2),
        (("wait", "--release", "v1"), "There is nowhere to look. Give --url, or set DAGS_AGENT_TARGET", 2),
        (("wait", "--release", "v1", "--url", "host:1"), "is no address", 2),
        (("wait", "--release", "v1", "--url", "http://127.0.0.1:99999"), "is no address", 2),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run_sidecar: Run, arguments: tuple[str, ...], sentence: str, code: int
) -> None:
    done = run_sidecar("dags_agent", *arguments, settings={})
    assert (done.code, len(done.err.splitlines())) == (code, 1)
    assert sentence in done.err


def test_a_name_that_no_agent_would_publish_stops_the_upload_before_it_begins(checkout: Path) -> None:
    (checkout / "a\nb.py").write_bytes(b"")
    with pytest.raises(Permanent, match="control character"):
        files_of(checkout, DeploySettings())


def test_a_pipeline_publishes_waits_and_goes_on_when_readers_see_its_files(  # noqa: PLR0917 - fixtures
    run_sidecar: Run,
    start_sidecar: Callable[..., SidecarProcess],
    aws: str,
    bucket_name: str,
    checkout: Path,
    tmp_path: Path,
) -> None:
    url, target = f"s3://{bucket_name}/dags/", tmp_path / "efs"
    agent = start_sidecar(
        "dags_agent",
        settings={
            "AWS_ENDPOINT_URL": aws,
            "DAGS_AGENT_SOURCE": url,
            "DAGS_AGENT_TARGET": str(target),
            "DAGS_AGENT_HTTP_PORT": "0",
            "DAGS_AGENT_INTERVAL_SECONDS": "0.2",
            "DAGS_AGENT_SETTLE_SECONDS": "0",
        },
    )
    on_target = {"AWS_ENDPOINT_URL": aws, "DAGS_AGENT_TARGET": str(target)}
    done = run_sidecar("dags_agent", "publish", str(checkout), url, "--id", "v1", settings=on_target)
    assert done.code == 0, done.err
    wait_until((target / "current").exists, "a first release", deadline_seconds=60)
    etag = boto3_etag(bucket_name, "dags/lib/b.py")
    by_etag = run_sidecar("dags_agent", "wait", "--etag", etag, settings=on_target)
    assert by_etag.code == 0, by_etag.err
    live = json.loads(by_etag.out)["id"]
    by_id = run_sidecar("dags_agent", "wait", "--release", live, settings=on_target)
    assert by_id.code == 0
    assert agent.terminate() == 0
    late = run_sidecar("dags_agent", "wait", "--release", "v9", "--timeout", "0.1", settings=on_target)
    assert late.code == 1
    assert f"v9 was not live within 0.1 s: live is {live}" in late.err


def boto3_etag(bucket: str, key: str) -> str:
    client = boto3.client("s3")
    etag = client.head_object(Bucket=bucket, Key=key)["ETag"]
    client.close()
    return etag


def test_a_deploy_with_a_marker_is_waited_for_by_its_name_over_http(  # noqa: PLR0917 - fixtures
    run_sidecar: Run,
    start_sidecar: Callable[..., SidecarProcess],
    aws: str,
    bucket_name: str,
    checkout: Path,
    tmp_path: Path,
    unused_tcp_port: int,
) -> None:
    url = f"s3://{bucket_name}/dags/"
    start_sidecar(
        "dags_agent",
        settings={
            "AWS_ENDPOINT_URL": aws,
            "DAGS_AGENT_SOURCE": url,
            "DAGS_AGENT_TARGET": str(tmp_path / "efs"),
            "DAGS_AGENT_HTTP_PORT": str(unused_tcp_port),
            "DAGS_AGENT_HTTP_HOST": "127.0.0.1",
            "DAGS_AGENT_INTERVAL_SECONDS": "0.2",
            "DAGS_AGENT_MARKER": "_release.json",
        },
    )
    settings = {"AWS_ENDPOINT_URL": aws}
    assert run_sidecar("dags_agent", "publish", str(checkout), url, "--id", "v7", settings=settings).code == 0
    waited = run_sidecar(
        "dags_agent",
        *("wait", "--release", "v7", "--url", f"http://127.0.0.1:{unused_tcp_port}", "--timeout", "60"),
        settings=settings,
        deadline_seconds=90,
    )
    assert waited.code == 0, waited.err
    assert json.loads(waited.out)["deploy"] == "v7"
    assert tree(tmp_path / "efs/current") == FILES
