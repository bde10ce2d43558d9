"""From an upload and its notification to what readers see: ``python -m benchmarks.dags_agent.visible``.

The agent as users run it, with its defaults but the timer, which is off for the time: what is seen was woken
by an event. S3 is the stub, SQS is moto's server, all on loopback. Prints the median, the 95th percentile and
the worst, with and without the quiet time that lets a burst become one release.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from benchmarks.dags_agent.s3_stub.process import StubProcess
from benchmarks.dags_agent.tools import BUCKET, PREFIX, environment
from moto.server import ThreadedMotoServer

_KEY = f"{PREFIX}team0000/dag_000000.py"
_PATIENCE_SECONDS = 120.0


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dags_agent.visible", description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--uploads", type=int, default=40)
    arguments = parser.parse_args()
    stub, moto = StubProcess(), ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        stub.set_up(BUCKET, seed={"files": arguments.files, "directories": 200, "prefix": PREFIX})
        print("| quiet time | median s | p95 s | worst s | load |\n| ---: | ---: | ---: | ---: | ---: |")
        for quiet_seconds in (0.5, 0.0):
            found = sorted(_run(stub, f"http://{host}:{port}", quiet_seconds, arguments.uploads))
            p95 = found[int(len(found) * 0.95)]
            told = (found[len(found) // 2], p95, found[-1], os.getloadavg()[0])
            print(f"| {quiet_seconds} | " + " | ".join(f"{number:.2f}" for number in told) + " |", flush=True)
    finally:
        moto.stop()
        stub.close()


def _run(stub: StubProcess, sqs_url: str, quiet_seconds: float, uploads: int) -> list[float]:
    settings = environment(stub.url)
    sqs = boto3.client(
        "sqs",
        endpoint_url=sqs_url,
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )
    queue = sqs.create_queue(QueueName=f"events-{int(quiet_seconds * 10)}")["QueueUrl"]
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / "target"
        target.mkdir()
        settings |= {
            "AWS_ENDPOINT_URL_SQS": sqs_url,
            "DAGS_AGENT_SOURCE": f"s3://{BUCKET}/{PREFIX}",
            "DAGS_AGENT_TARGET": str(target),
            "DAGS_AGENT_OWNER": f"{os.geteuid()}:{os.getegid()}",
            "DAGS_AGENT_EVENTS_QUEUE_URL": queue,
            "DAGS_AGENT_QUIET_SECONDS": str(quiet_seconds),
            "DAGS_AGENT_INTERVAL_SECONDS": "3600",
            "DAGS_AGENT_HTTP_PORT": "0",
            "DAGS_AGENT_KEEP_HOURS": "0",
        }
        agent = subprocess.Popen(
            [sys.executable, "-m", "dags_agent", "run"], env=settings, stdout=subprocess.DEVNULL
        )
        try:
            path = target / "current" / _KEY.removeprefix(PREFIX)
            _wait(path, b"")
            return [_one(stub, sqs, queue, path, number) for number in range(uploads)]
        finally:
            agent.terminate()
            agent.wait(60)


def _one(stub: StubProcess, sqs: object, queue: str, path: Path, number: int) -> float:
    body = f"# upload {number} at {time.time_ns()}\n".encode()
    stub.set_up(BUCKET, objects={_KEY: {"hex": body.hex()}}, touch=[_KEY])
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": {"key": _KEY}}}
    began = time.perf_counter()
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": [record]}))  # type: ignore[attr-defined]  # made from the SDK's models
    _wait(path, body)
    seen = time.perf_counter() - began
    time.sleep(1.0)  # deploys do not follow each other without a pause
    return seen


def _wait(path: Path, body: bytes) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if path.read_bytes().startswith(body):
                return
        except FileNotFoundError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{path} was not published within {_PATIENCE_SECONDS:g} s")


if __name__ == "__main__":
    main()
