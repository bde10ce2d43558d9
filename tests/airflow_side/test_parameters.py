"""Parameter Store, the encrypted objects and the pins on the local cloud, and the backend inside Airflow."""

from __future__ import annotations

import json
import os
import random
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_ecs.parameter_cache.cache import ParameterCache
from airflow_ecs.parameter_cache.errors import (
    ParameterDenied,
    ParameterError,
    ParameterThrottled,
    ParameterUndecryptable,
    ParameterUnreachable,
)
from airflow_ecs.parameter_cache.levels import ObjectLevel
from airflow_ecs.parameter_cache.parameter_store import ParameterStore
from airflow_ecs.parameter_cache.pinned import Pins
from airflow_ecs.parameter_cache.settings import CacheSettings
from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.errors import XComObjectCorrupt
from airflow_ecs.xcom.objects import Objects

from .workers import AIRFLOW_PYTHON
from .xcoms import XComs

pytestmark = pytest.mark.integration

IN_AIRFLOW = """
import sys
from airflow.sdk import Variable
from airflow.models import Connection
from airflow.configuration import conf
from airflow_ecs.parameters import parameter, parameters


print("FOUND", conf.get("api", "secret_key"), Connection.get_connection_from_secrets("db").host)
print("FOUND", parameter(sys.argv[1]), parameters([sys.argv[1], "/none"]))
try:
    parameter("/none")
except Exception as err:
    print("FOUND", type(err).__name__)
"""


def put(xcoms: XComs, *values: str) -> list[str]:
    """Make parameters; return their names."""
    ssm = xcoms.client("ssm")
    names = [f"/test/{uuid.uuid4().hex}" for _ in values]
    for name, value in zip(names, values, strict=True):
        ssm.put_parameter(Name=name, Value=value, Type="SecureString")
    ssm.close()
    return names


def store(xcoms: XComs) -> ParameterStore:
    return ParameterStore(xcoms.client("ssm"))


def test_parameters_are_decrypted_and_asked_for_ten_at_a_time(xcoms: XComs) -> None:
    names = put(xcoms, *map(str, range(21)))
    before = xcoms.cloud.calls("ssm").get("GetParameters", 0)
    found = store(xcoms).ask([*names, "/none"])
    assert found == {name: str(number) for number, name in enumerate(names)}
    assert xcoms.cloud.calls("ssm")["GetParameters"] - before == 3


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("AccessDeniedException", 400, ParameterDenied, "ssm:GetParameters"),
        ("InvalidKeyId", 400, ParameterUndecryptable, "kms:Decrypt"),
        ("ThrottlingException", 400, ParameterThrottled, "TTL_SECONDS"),
        ("InternalServerError", 500, ParameterUnreachable, "health"),
        ("Teapot", 400, ParameterError, "Teapot"),
    ],
)
def test_denied_undecryptable_and_throttled_are_told_apart(
    xcoms: XComs, *, code: str, status: int, kind: type[ParameterError], says: str
) -> None:
    xcoms.cloud.add_faults({"service": "ssm", "kind": "error", "code": code, "status": status})
    with pytest.raises(kind, match=says) as caught:
        store(xcoms).ask(["/a"])
    assert type(caught.value) is kind
    assert "'/a'" in str(caught.value)


def test_a_broken_connection_is_unreachable(xcoms: XComs) -> None:
    xcoms.cloud.add_faults({"service": "ssm", "kind": "disconnect"})
    with pytest.raises(ParameterUnreachable, match="VPC endpoint"):
        store(xcoms).ask(["/a"])


def cache(xcoms: XComs) -> ParameterCache:
    """As a new container has it."""
    objects = Objects(xcoms.s3, kms_key_id=xcoms.key_id, bucket_key=True)
    distant = ObjectLevel(objects, DataKeys(xcoms.kms, xcoms.key_id), bucket=xcoms.bucket, prefix="kv")
    return ParameterCache(
        CacheSettings(),
        store(xcoms),
        memory=None,
        distant=distant,
        now=lambda: 1e6,
        rng=random.Random(0),  # noqa: S311  # jitter
    )


def test_a_new_container_finds_the_value_encrypted_in_s3_and_does_not_ask(xcoms: XComs) -> None:
    (name,) = put(xcoms, "hunter2")
    assert cache(xcoms).get(name) == "hunter2"
    xcoms.cloud.add_faults({"service": "ssm", "kind": "disconnect"})
    assert cache(xcoms).get(name) == "hunter2"
    (listed,) = xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["Contents"]
    body = xcoms.s3.get_object(Bucket=xcoms.bucket, Key=listed["Key"])["Body"].read()
    assert b"hunter2" not in body
    assert name not in listed["Key"]


def test_a_cached_object_that_was_changed_is_not_used(xcoms: XComs) -> None:
    (name,) = put(xcoms, "right")
    cache(xcoms).get(name)
    (listed,) = xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["Contents"]
    xcoms.s3.put_object(Bucket=xcoms.bucket, Key=listed["Key"], Body=b"[1, 'wrong', 0, 9e9]")
    assert cache(xcoms).get(name) == "right"


def test_a_bucket_that_refuses_does_not_keep_anybody_from_parameter_store(xcoms: XComs) -> None:
    (name,) = put(xcoms, "value")
    xcoms.cloud.add_faults({"service": "s3", "kind": "error", "code": "AccessDenied", "status": 403})
    assert cache(xcoms).get(name) == "value"


def pins(xcoms: XComs) -> Pins:
    objects = Objects(xcoms.s3, kms_key_id=xcoms.key_id, bucket_key=True)
    return Pins(objects, DataKeys(xcoms.kms, xcoms.key_id), bucket=xcoms.bucket, prefix="xcom")


def test_a_run_keeps_the_value_that_it_had_first_and_another_run_has_its_own(xcoms: XComs) -> None:
    pinned = pins(xcoms)
    assert pinned.get("dag", "r1", "/x", lambda: "old") == "old"
    assert pinned.get("dag", "r1", "/x", lambda: "new") == "old"
    assert pinned.get("dag", "r2", "/x", lambda: "new") == "new"


def test_tasks_that_ask_at_once_get_the_same(xcoms: XComs) -> None:
    with ThreadPoolExecutor(4) as pool:
        values = pool.map(
            lambda number: pins(xcoms).get("dag", "r", "/x", lambda: f"asked by {number}"), range(4)
        )
        assert len(set(values)) == 1


def test_a_pin_that_was_changed_is_corrupt_and_no_value(xcoms: XComs) -> None:
    pins(xcoms).get("dag", "r", "/x", lambda: "value")
    (listed,) = xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["Contents"]
    xcoms.s3.put_object(Bucket=xcoms.bucket, Key=listed["Key"], Body=b"other")
    with pytest.raises(XComObjectCorrupt, match="pin anew"):
        pins(xcoms).get("dag", "r", "/x", lambda: "value")


@pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready")
def test_airflow_finds_connections_and_configuration_and_tasks_their_parameters(
    xcoms: XComs, tmp_path: Path
) -> None:
    (name,) = put(xcoms, "a value")
    prefix = f"/test/{uuid.uuid4().hex}"
    ssm = xcoms.client("ssm")
    for key, value in (("config/secret_key", "from-ssm"), ("connections/db", "postgres://u:p@example/db")):
        ssm.put_parameter(Name=f"{prefix}/{key}", Value=value, Type="SecureString")
    ssm.close()
    environment: dict[str, Any] = {
        **xcoms.cloud.environment(),
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_ECS_PARAMETERS_MEMORY_DIRECTORY": "",
        "AIRFLOW__API__SECRET_KEY_SECRET": "secret_key",
        "AIRFLOW__SECRETS__BACKEND": "airflow_ecs.parameters.ParameterStoreBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(
            {
                "connections_prefix": f"{prefix}/connections",
                "variables_prefix": None,
                "config_prefix": f"{prefix}/config",
            }
        ),
    }
    done = subprocess.run(
        [AIRFLOW_PYTHON, "-c", IN_AIRFLOW, name],
        env=environment, check=False, capture_output=True, text=True, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    found = [line.removeprefix("FOUND ") for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert found == ["from-ssm example", f"a value {{'{name}': 'a value'}}", "ParameterAbsent"], done.stderr
