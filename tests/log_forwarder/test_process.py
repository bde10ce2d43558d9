"""What others see of a running forwarder: readiness, metrics, and the ECS task in each line."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from log_forwarder.ecs import read_metadata
from sidecar.testing.waiting import wait_until

from .fakes import ok, unavailable
from .world import World


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()
    except OSError:
        return 0, ""


def metrics(port: int) -> dict[str, float]:
    """Return our own metrics, without the prefix."""
    prefix = "airflow_ecs_log_forwarder_"
    rows = [line.rpartition(" ") for line in get(port, "/metrics")[1].splitlines() if line.startswith(prefix)]
    return {name.removeprefix(prefix): float(value) for name, _, value in rows}


def test_readiness_follows_the_stream(world: World) -> None:
    port = free_port()
    world.start(HTTP_PORT=str(port))
    wait_until(lambda: get(port, "/readyz")[0] == 200, "ready")

    world.firehose.mode = unavailable
    world.log("a.log", range(10))
    wait_until(lambda: get(port, "/readyz")[0] == 503, "not ready")
    assert get(port, "/healthz")[0] == 200
    assert "lines are held back" in get(port, "/readyz")[1]

    world.firehose.mode = ok
    wait_until(lambda: get(port, "/readyz")[0] == 200, "ready again", deadline_seconds=30)


def test_metrics_count_lines_bytes_and_the_bill(world: World) -> None:
    port = free_port()
    world.start(HTTP_PORT=str(port))
    log = world.log("a.log", range(10))
    world.has_all(range(10))
    wait_until(lambda: metrics(port).get("lag_bytes") == 0 and metrics(port).get("files_tracked") == 1, "lag")

    seen = metrics(port)

    assert log.stat().st_size > 0
    assert (seen['read_lines_total{stream="file"}'], seen["delivered_lines_total"]) == (10, 10)
    assert seen["delivered_bytes_total"] == sum(map(len, world.firehose.accepted))
    assert seen["billed_bytes_total"] == 5120 * len(world.firehose.accepted)
    assert seen['calls_total{result="ok"}'] == len(world.firehose.calls)
    assert (seen["failed_records_total"], seen["dropped_lines_total"]) == (0, 0)


@pytest.fixture
def metadata_uri() -> Iterator[str]:
    """The task metadata endpoint of a Fargate task."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            task = {"Cluster": "prod", "TaskARN": "arn:task/1", "Family": "worker", "Revision": "7"}
            body = json.dumps(task if self.path == "/v4/x/task" else {"Name": "log-forwarder"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v4/x"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_each_line_names_the_ecs_task(world: World, metadata_uri: str) -> None:
    world.log("a.log", range(1))
    settings = {**world.settings(), "ECS_CONTAINER_METADATA_URI_V4": metadata_uri}

    assert world.run("log_forwarder", "once", settings=settings).code == 0
    assert world.envelopes()[0]["_fwd"]["ecs"] == {
        "cluster": "prod",
        "task_arn": "arn:task/1",
        "task_family": "worker",
        "task_revision": "7",
        "container": "log-forwarder",
    }


def test_without_an_answer_from_ecs_the_facts_are_left_out() -> None:
    assert read_metadata("") == {}
    assert read_metadata(f"http://127.0.0.1:{free_port()}/v4/x") == {}
