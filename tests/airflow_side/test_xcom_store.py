"""The XCom store on an emulated S3 and KMS: values come back, and nothing else ever passes for one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from airflow_ecs.xcom.content import JSON
from airflow_ecs.xcom.errors import XComReferenceRefused, XComTooLarge
from airflow_ecs.xcom.objects import PART_BYTES
from airflow_ecs.xcom.reference import MARK

from .xcoms import TASK, XComs

pytestmark = pytest.mark.integration

JSON_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "texto ção 🚀",
    [],
    [1, [2]],
    {},
    {"a": {"b": None}},
]
scalars = strategies.none() | strategies.booleans() | strategies.integers() | strategies.text()
values = strategies.recursive(
    scalars, lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner)
)


@pytest.mark.parametrize("encrypted", [(), ("*",)], ids=["sse-kms", "client"])
@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
def test_values_of_every_json_type_come_back(xcoms: XComs, value: Any, encrypted: tuple[str, ...]) -> None:
    store = xcoms.store(client_encrypted_dags=encrypted)
    reference = store.put(TASK, value)
    assert store.get(reference) == value
    assert store.get(json.loads(json.dumps(reference))) == value


@given(value=values)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_comes_back_through_the_envelope(xcoms: XComs, value: Any) -> None:
    store = xcoms.store(client_encrypted_dags=("*",))
    assert store.get(store.put(TASK, value)) == value


def test_the_reference_says_what_is_where_and_the_object_is_encrypted_under_the_key(xcoms: XComs) -> None:
    reference = xcoms.store().put(TASK, {"rows": 3})
    body = xcoms.body(reference)
    assert json.loads(body) == {"rows": 3}
    assert reference == {
        MARK: 1,
        "uri": f"s3://{xcoms.bucket}/xcom/v1/dag/manual__2026-01-01T00%253A00%253A00%252B00%253A00/task/-1/return_value",
        "version_id": reference["version_id"],
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "encryption": "sse-kms",
        "content_type": JSON,
        "content_encoding": None,
        "context": TASK.context(),
    }
    head = xcoms.head(reference)
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"].endswith(xcoms.key_id)
    assert head["BucketKeyEnabled"] is True
    assert head["VersionId"] == reference["version_id"]


def test_a_client_encrypted_value_is_unreadable_for_who_may_only_read_the_bucket(xcoms: XComs) -> None:
    store = xcoms.store(client_encrypted_dags=("d*",))
    reference = store.put(TASK, {"password": "hunter2" * 300})
    body = xcoms.body(reference)
    assert body.startswith(b"AECX")
    assert b"hunter2" not in body
    assert reference["encryption"] == "aes-256-gcm"
    assert store.get(reference) == {"password": "hunter2" * 300}


def test_only_the_dags_that_are_named_are_client_encrypted(xcoms: XComs) -> None:
    reference = xcoms.store(client_encrypted_dags=("secret_*",)).put(TASK, 1)
    assert reference["encryption"] == "sse-kms"


@pytest.mark.parametrize("encrypted", [(), ("*",)], ids=["sse-kms", "client"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 1_023, 70_000, 1_048_576, 1_048_577, 3 * 1_048_576])
def test_bytes_come_back_as_they_were(
    xcoms: XComs, size: int, compression: str, encrypted: tuple[str, ...]
) -> None:
    value = (b"airflow" * (size // 7 + 1))[:size]
    store = xcoms.store(compression=compression, client_encrypted_dags=encrypted)
    reference = store.put(TASK, value)
    assert store.get(reference) == value
    assert reference["content_encoding"] == (compression if size >= 1_024 and compression != "none" else None)


def test_what_does_not_get_smaller_is_not_compressed(xcoms: XComs) -> None:
    assert xcoms.store(compression="gzip").put(TASK, os.urandom(50_000))["content_encoding"] is None


def test_a_file_comes_back_as_a_file_with_its_name(xcoms: XComs, tmp_path: Path) -> None:
    report = tmp_path / "report 1.csv"
    report.write_bytes(b"a,b\n" * 10_000)
    store = xcoms.store()
    found = store.get(store.put(TASK, report))
    assert isinstance(found, Path)
    assert (found.name, found.read_bytes()) == (report.name, report.read_bytes())
    assert found != report


def test_a_file_that_was_renamed_in_its_reference_leads_nowhere_else(xcoms: XComs, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"x")
    store = xcoms.store(download_directory=str(tmp_path))
    reference = {**store.put(TASK, tmp_path / "value"), "name": "../../../../etc/passwd"}
    found = store.get(reference)
    assert isinstance(found, Path)
    assert found.is_relative_to(tmp_path)


@pytest.mark.parametrize("what", ["missing", "directory"])
def test_a_path_that_is_no_file_is_refused(xcoms: XComs, tmp_path: Path, what: str) -> None:
    path = tmp_path if what == "directory" else tmp_path / "missing"
    with pytest.raises(OSError, match="stands for the file's content"):
        xcoms.store().put(TASK, path)


def test_a_large_value_goes_in_parts(xcoms: XComs, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(PART_BYTES) + b"the end")
    store = xcoms.store(client_encrypted_dags=("*",))
    reference = store.put(TASK, large)
    assert xcoms.head(reference)["ETag"].rstrip('"').endswith("-2")
    found = store.get(reference)
    assert isinstance(found, Path)
    assert found.read_bytes() == large.read_bytes()


def test_tables_and_data_frames_come_back_as_such(xcoms: XComs) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: tables cannot be made")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: data frames cannot be made")
    store = xcoms.store()
    table = arrow.table({"x": [1, 2], "y": ["a", None]})
    frame = pandas.DataFrame({"x": [1, 2], "y": ["a", None]}, index=["one", "two"])
    found: Any = store.get(store.put(TASK, table))
    assert found.equals(table)
    found = store.get(store.put(TASK, frame))
    assert found.equals(frame)


@pytest.mark.system
def test_two_hundred_mebibytes_pass_in_parts_and_come_back(xcoms: XComs, tmp_path: Path) -> None:
    large, block = tmp_path / "large", os.urandom(1_048_576)
    with large.open("wb") as file:
        file.writelines(block for _ in range(200))
    store = xcoms.store(compression="none")
    found = store.get(store.put(TASK, large))
    assert isinstance(found, Path)
    with found.open("rb") as one, large.open("rb") as other:
        assert hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()


@pytest.mark.parametrize("value", [b"x" * 2_000, "x" * 2_000])
def test_a_value_above_the_cap_is_refused_and_nothing_of_it_is_stored(xcoms: XComs, value: Any) -> None:
    with pytest.raises(XComTooLarge, match="AIRFLOW_ECS_XCOM_MAX_BYTES"):
        xcoms.store(max_bytes=1_000).put(TASK, value)
    assert xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["KeyCount"] == 0


def test_an_upload_in_parts_that_goes_over_the_cap_leaves_nothing(xcoms: XComs, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(PART_BYTES + 1_048_577))
    with pytest.raises(XComTooLarge):
        xcoms.store(max_bytes=PART_BYTES + 1_000).put(TASK, large)
    assert not xcoms.s3.list_multipart_uploads(Bucket=xcoms.bucket).get("Uploads")
    assert xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["KeyCount"] == 0


def test_small_values_stay_in_the_database_below_a_threshold(xcoms: XComs) -> None:
    store = xcoms.store(threshold_bytes=100)
    assert store.put(TASK, {"a": 1}) == {"a": 1}
    assert MARK in store.put(TASK, "x" * 99)
    assert xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["KeyCount"] == 1


def test_bytes_go_to_s3_whatever_the_threshold_is(xcoms: XComs) -> None:
    store = xcoms.store(threshold_bytes=100)
    assert store.get(store.put(TASK, b"x")) == b"x"


@pytest.mark.parametrize("value", [None, 5, "s3://bucket/key", ["a"], {"a": 1}, {"uri": "s3://bucket/key"}])
def test_native_values_that_it_did_not_write_are_what_they_are(xcoms: XComs, value: Any) -> None:
    assert xcoms.store().get(value) == value
    xcoms.store().purge(value)


def test_a_value_that_looks_like_a_reference_is_stored_and_not_followed(xcoms: XComs) -> None:
    store = xcoms.store(threshold_bytes=100_000)
    tricky = {MARK: 1, "uri": "s3://elsewhere/key"}
    reference = store.put(TASK, tricky)
    assert reference["uri"].startswith(f"s3://{xcoms.bucket}/")
    assert store.get(reference) == tricky


def test_a_retry_overwrites_and_the_older_reference_still_means_what_it_meant(xcoms: XComs) -> None:
    store = xcoms.store()
    first, second = store.put(TASK, "first"), store.put(TASK, "second")
    assert first["uri"] == second["uri"]
    assert (store.get(first), store.get(second)) == ("first", "second")


def test_purge_deletes_exactly_the_version_of_the_reference(xcoms: XComs) -> None:
    store = xcoms.store()
    first, second = store.put(TASK, "first"), store.put(TASK, "second")
    store.purge(first)
    store.purge(first)
    assert store.get(second) == "second"
    versions = xcoms.s3.list_object_versions(Bucket=xcoms.bucket)
    assert [each["VersionId"] for each in versions["Versions"]] == [second["version_id"]]
    assert not versions.get("DeleteMarkers")


def test_a_bucket_without_versions_works_and_has_none_in_the_reference(xcoms: XComs) -> None:
    store = xcoms.store(bucket=xcoms.new_bucket(versioned=False))
    reference = store.put(TASK, "value")
    assert reference["version_id"] is None
    assert store.get(reference) == "value"


def test_a_reference_from_where_the_store_was_before_is_followed_when_it_is_named(xcoms: XComs) -> None:
    old = xcoms.store(prefix="old").put(TASK, "value")
    with pytest.raises(XComReferenceRefused, match="AIRFLOW_ECS_XCOM_ALSO_READ"):
        xcoms.store().get(old)
    assert xcoms.store(also_read=((xcoms.bucket, "old"),)).get(old) == "value"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({MARK: 2}, "format 2"),
        ({"uri": "https://example.com/x"}, "not s3://"),
        ({"uri": "s3://elsewhere/xcom/v1/a"}, "not in AIRFLOW_ECS_XCOM_URL"),
        ({"context": {**TASK.context(), "dag_id": "other"}}, "that of another object"),
        ({"context": {}}, "that of another object"),
        ({"context": None}, "is none"),
        ({"encryption": "none"}, "is none"),
        ({"size": "many"}, "is none"),
        ({"sha256": 5}, "is none"),
    ],
)
def test_a_reference_that_somebody_made_up_is_refused(xcoms: XComs, changed: Any, says: str) -> None:
    store = xcoms.store()
    with pytest.raises(XComReferenceRefused, match=says):
        store.get({**store.put(TASK, "value"), **changed})
