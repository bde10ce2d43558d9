"""Each thing that can befall a stored XCom is a typed error that says why; none is ever a value."""

from __future__ import annotations

import os
from typing import Any

import pytest

from airflow_ecs.xcom.errors import (
    XComAccessDenied,
    XComKeyUnavailable,
    XComObjectArchived,
    XComObjectCorrupt,
    XComObjectMissing,
    XComStoreError,
    XComUnreachable,
)
from airflow_ecs.xcom.failures import of_answer
from airflow_ecs.xcom.keys import Coordinate

from .xcoms import TASK, XComs

integration = pytest.mark.integration


@integration
def test_a_deleted_version_is_missing_and_the_error_names_bucket_key_and_version(xcoms: XComs) -> None:
    store = xcoms.store()
    reference = store.put(TASK, "value")
    xcoms.s3.delete_object(**xcoms.object_of(reference))
    with pytest.raises(XComObjectMissing) as caught:
        store.get(reference)
    told = str(caught.value)
    assert xcoms.bucket in told
    assert "/task/-1/return_value" in told
    assert reference["version_id"] in told
    assert "lifecycle" in told


@integration
def test_an_object_that_is_gone_from_a_bucket_without_versions_is_missing(xcoms: XComs) -> None:
    store = xcoms.store(bucket=xcoms.new_bucket(versioned=False))
    reference = store.put(TASK, "value")
    xcoms.s3.delete_object(**xcoms.object_of(reference))
    with pytest.raises(XComObjectMissing, match="lifecycle"):
        store.get(reference)


@integration
def test_a_bucket_that_is_gone_is_missing(xcoms: XComs) -> None:
    bucket = xcoms.new_bucket(versioned=False)
    store = xcoms.store(bucket=bucket)
    reference = store.put(TASK, "value")
    xcoms.s3.delete_object(**xcoms.object_of(reference))
    xcoms.s3.delete_bucket(Bucket=bucket)
    with pytest.raises(XComObjectMissing, match="bucket is not there"):
        store.get(reference)


@integration
@pytest.mark.parametrize("encrypted", [(), ("*",)], ids=["sse-kms", "client"])
@pytest.mark.parametrize("harm", ["flip", "cut", "append", "empty", "other"])
def test_an_object_that_was_changed_is_corrupt(xcoms: XComs, harm: str, encrypted: tuple[str, ...]) -> None:
    store = xcoms.store(bucket=xcoms.new_bucket(versioned=False), client_encrypted_dags=encrypted)
    reference = store.put(TASK, {"rows": list(range(500))})
    body = xcoms.body(reference)
    harmed = {
        "flip": body[:50] + bytes([body[50] ^ 1]) + body[51:],
        "cut": body[:-1],
        "append": body + b" ",
        "empty": b"",
        "other": os.urandom(len(body)),
    }[harm]
    xcoms.s3.put_object(**xcoms.object_of(reference), Body=harmed)
    with pytest.raises(XComObjectCorrupt, match=r"is not what was stored|object was changed"):
        store.get(reference)


@integration
def test_an_overwritten_object_of_a_bucket_without_versions_is_corrupt_and_the_remedy_is_told(
    xcoms: XComs,
) -> None:
    store = xcoms.store(bucket=xcoms.new_bucket(versioned=False))
    first = store.put(TASK, "first")
    store.put(TASK, "second")
    with pytest.raises(XComObjectCorrupt, match="no versioning"):
        store.get(first)


@integration
def test_an_envelope_that_was_moved_to_another_task_does_not_open(xcoms: XComs) -> None:
    store = xcoms.store(client_encrypted_dags=("*",), bucket=xcoms.new_bucket(versioned=False))
    secret = store.put(TASK, "secret")
    other = store.put(Coordinate(dag_id="other", run_id="r", task_id="t"), "secrex")
    xcoms.s3.put_object(**xcoms.object_of(other), Body=xcoms.body(secret))
    forged = {**other, "sha256": secret["sha256"], "size": secret["size"]}
    with pytest.raises(XComObjectCorrupt, match=r"another DAG|data key"):
        store.get(forged)


@integration
def test_a_disabled_key_is_told_as_such_when_reading_and_when_writing(xcoms: XComs) -> None:
    store = xcoms.store(client_encrypted_dags=("*",))
    reference = store.put(TASK, "value")
    # moto goes on encrypting under a disabled key; KMS does not
    refusal = {"service": "kms", "kind": "error", "code": "DisabledException", "status": 400}
    xcoms.cloud.add_faults({**refusal, "action": "Decrypt"}, {**refusal, "action": "GenerateDataKey"})
    with pytest.raises(XComKeyUnavailable, match="enable it"):
        store.get(reference)
    with pytest.raises(XComKeyUnavailable, match=xcoms.key_id):
        store.put(TASK, "value")


@integration
@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("AccessDenied", 403, XComAccessDenied, "s3:GetObject"),
        ("KMS.DisabledException", 400, XComKeyUnavailable, "enable it"),
        ("KMS.KMSInvalidStateException", 400, XComKeyUnavailable, "deletion"),
        ("InvalidObjectState", 403, XComObjectArchived, "restore"),
        ("SlowDown", 503, XComUnreachable, "Try again"),
        ("InternalError", 500, XComUnreachable, "Try again"),
    ],
)
@pytest.mark.parametrize("action", ["GetObject", "PutObject"])
def test_what_s3_refuses_is_a_typed_error_each_time(
    xcoms: XComs, *, action: str, code: str, status: int, kind: type[XComStoreError], says: str
) -> None:
    store = xcoms.store()
    reference = store.put(TASK, "value")
    xcoms.cloud.add_faults(
        {"service": "s3", "action": action, "kind": "error", "code": code, "status": status}
    )
    for _ in range(2):
        with pytest.raises(kind, match=says):
            store.get(reference) if action == "GetObject" else store.put(TASK, "value")


@integration
def test_a_connection_that_breaks_is_unreachable(xcoms: XComs) -> None:
    store = xcoms.store()
    reference = store.put(TASK, "value")
    xcoms.cloud.add_faults({"service": "s3", "action": "GetObject", "kind": "disconnect"})
    with pytest.raises(XComUnreachable, match="a retry helps"):
        store.get(reference)


@pytest.mark.parametrize(
    ("code", "status", "message", "kind", "says"),
    [
        (
            "AccessDenied",
            403,
            "User: x is not authorized to perform: kms:Decrypt on resource: k",
            XComAccessDenied,
            "kms:Decrypt",
        ),
        ("AccessDenied", 403, "Access Denied", XComAccessDenied, "s3:ListBucket"),
        ("MethodNotAllowed", 405, "", XComObjectMissing, "delete marker"),
        ("KMS.NotFoundException", 400, "Key 'x' does not exist", XComKeyUnavailable, "cannot be used"),
        ("InvalidCiphertextException", 400, "", XComObjectCorrupt, "moved from elsewhere"),
        ("ThrottlingException", 400, "Rate exceeded", XComUnreachable, "quotas"),
        ("Teapot", 418, "short and stout", XComStoreError, "short and stout"),
    ],
)
def test_each_answer_of_s3_and_kms_is_one_kind_with_a_hint(
    code: str, status: int, message: str, kind: type[Any], says: str
) -> None:
    error = of_answer(code, status, message, doing="reading", where="s3://b/k")
    assert type(error) is kind
    assert says in str(error)
    assert "reading s3://b/k failed" in str(error)
