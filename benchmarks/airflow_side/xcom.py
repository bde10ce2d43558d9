"""S3XComBackend beside common.io's XComObjectStorageBackend: time, processor and S3 calls of one XCom.

    .venv/bin/python -m benchmarks.airflow_side.xcom [--s3fs DIRECTORY]

It starts a local cloud and measures in Airflow's own Python (``.airflow``), each backend in a process of its
own, in turns, the same values for both. common.io reaches S3 through s3fs, which the image does not have (it
pins an older botocore): without ``--s3fs`` its rows say why they are missing. To have them::

    uv pip install --python .airflow/bin/python --target DIRECTORY --no-deps \
        s3fs aiobotocore aioitertools wrapt boto3==1.43.117 botocore==1.43.117
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import boto3

from local_cloud.testing import LocalCloud

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".airflow/bin/python"
SIZES = {"1 KiB": 1_024, "1 MiB": 1_048_576}
ROUNDS = 3
REPEATS = 20

MEASURE = """
import importlib, json, os, sys, time
from types import SimpleNamespace

name, size, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
started = time.perf_counter(), time.process_time()
module, _, attribute = name.rpartition(".")
backend = getattr(importlib.import_module(module), attribute)
text = os.urandom(size // 2).hex()
place = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}

def both(number):
    return backend.deserialize_value(
        SimpleNamespace(value=backend.serialize_value(text, key=f"k{number}", **place))
    )

both("first")
first = time.perf_counter() - started[0], time.process_time() - started[1]
put, get, processor = [], [], time.process_time()
for number in range(repeats):
    t0 = time.perf_counter()
    stored = backend.serialize_value(text, key=f"k{number}", **place)
    t1 = time.perf_counter()
    found = backend.deserialize_value(SimpleNamespace(value=stored))
    t2 = time.perf_counter()
    assert found == text
    put.append(t1 - t0)
    get.append(t2 - t1)
processor = (time.process_time() - processor) / repeats
print("FOUND" + json.dumps({"first": first, "put": put, "get": get, "processor": processor}))
"""


class Contender:
    """One backend and its settings."""

    def __init__(self, name: str, backend: str, settings: dict[str, str]) -> None:
        self.name = name
        self.backend = backend
        self.settings = settings
        self.found: dict[str, list[dict[str, Any]]] = {size: [] for size in SIZES}
        self.calls: dict[str, dict[str, float]] = {}

    def measure(self, cloud: LocalCloud, size: str, home: str) -> None:
        """Run one process."""
        before = {**cloud.calls("s3"), **cloud.calls("kms")}
        done = subprocess.run(
            [PYTHON, "-c", MEASURE, self.backend, str(SIZES[size]), str(REPEATS)],
            env={
                **cloud.environment(),
                "PATH": os.defpath,
                "HOME": home,
                "AIRFLOW_HOME": home,
                "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
                **self.settings,
            },
            check=False,
            capture_output=True,
            text=True,
            cwd=home,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
        if done.returncode or not lines:
            raise SystemExit(f"{self.name}: {done.stderr[-3000:]}")
        self.found[size].append(json.loads(lines[0].removeprefix("FOUND")))
        after = {**cloud.calls("s3"), **cloud.calls("kms")}
        self.calls[size] = {
            action: round((count - before.get(action, 0)) / (REPEATS + 1), 1)
            for action, count in after.items()
            if count > before.get(action, 0)
        }

    def row(self, size: str) -> str:
        """Return medians over all rounds, in milliseconds."""
        runs = self.found[size]
        put = statistics.median(each for run in runs for each in run["put"]) * 1e3
        get = statistics.median(each for run in runs for each in run["get"]) * 1e3
        processor = statistics.median(run["processor"] for run in runs) * 1e3
        first = statistics.median(run["first"][0] for run in runs)
        first_processor = statistics.median(run["first"][1] for run in runs)
        calls = ", ".join(f"{action} {count:g}" for action, count in sorted(self.calls[size].items()))
        return (
            f"| {size} | {self.name} | {put:.1f} | {get:.1f} | {processor:.1f} | {first:.2f} | "
            f"{first_processor:.2f} | {calls} |"
        )


def contenders(bucket: str, key_id: str, s3fs: str | None) -> list[Contender]:
    """Return who is measured."""
    ours = {
        "AIRFLOW_ECS_XCOM_URL": f"s3://{bucket}/ours",
        "AIRFLOW_ECS_XCOM_KMS_KEY_ID": key_id,
        "AIRFLOW_ECS_XCOM_COMPRESSION": "none",
    }
    found = [
        Contender("S3XComBackend, SSE-KMS", "airflow_ecs.xcom_s3.S3XComBackend", ours),
        Contender(
            "S3XComBackend, client envelope",
            "airflow_ecs.xcom_s3.S3XComBackend",
            {**ours, "AIRFLOW_ECS_XCOM_CLIENT_ENCRYPTED_DAGS": '["*"]'},
        ),
    ]
    if s3fs is None:
        print("common.io is left out: it needs s3fs, which is not in .airflow; see --help for how to add it")
        return found
    for contender in found:  # the same botocore for all
        contender.settings["PYTHONPATH"] = s3fs
    common = {
        "PYTHONPATH": s3fs,
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"s3://aws_default@{bucket}/common",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
    }
    backend = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
    return [*found, Contender("common.io XComObjectStorageBackend", backend, common)]


def main() -> None:
    """Measure in turns; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--s3fs", metavar="DIRECTORY", help="where s3fs was installed")
    given = parser.parse_args()
    with LocalCloud() as cloud, tempfile.TemporaryDirectory() as home:
        make: Any = boto3.client
        access = {"endpoint_url": cloud.url, "region_name": "us-east-1"}
        access |= {"aws_access_key_id": "t", "aws_secret_access_key": "t"}
        s3, kms = make("s3", **access), make("kms", **access)
        s3.create_bucket(Bucket="xcoms")
        s3.put_bucket_versioning(Bucket="xcoms", VersioningConfiguration={"Status": "Enabled"})
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        all_of_them = contenders("xcoms", key_id, given.s3fs)
        for _ in range(ROUNDS):
            for size in SIZES:
                for contender in all_of_them:
                    contender.measure(cloud, size, home)
    print("| value | backend | put ms | get ms | processor ms, both | first s | processor s | calls |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for size in SIZES:
        for contender in all_of_them:
            print(contender.row(size))


if __name__ == "__main__":
    main()
