from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_ecs import hostname

AWSVPC_TASK = {
    "Cluster": "default",
    "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
    "LaunchType": "FARGATE",
    "Containers": [
        {"Name": "still-pulling", "DesiredStatus": "RUNNING", "KnownStatus": "PULLED"},
        {
            "Name": "worker",
            "Networks": [
                {
                    "NetworkMode": "awsvpc",
                    "IPv4Addresses": ["10.0.2.106"],
                    "AttachmentIndex": 0,
                    "MACAddress": "0e:9e:32:c7:48:85",
                    "IPv4SubnetCIDRBlock": "10.0.2.0/24",
                    "PrivateDNSName": "ip-10-0-2-106.us-west-2.compute.internal",
                }
            ],
        },
    ],
}
BRIDGE_TASK = {"Containers": [{"Networks": [{"NetworkMode": "bridge", "IPv4Addresses": ["172.17.0.2"]}]}]}


class MetadataEndpoint(ThreadingHTTPServer):
    """The ECS agent's endpoint; ``answers`` are given one by one, the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: list[tuple[int, object]] = [(200, AWSVPC_TASK)]
        self.asked: list[str] = []
        self.uri = f"http://127.0.0.1:{self.server_port}/v4/abc"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        endpoint = self.server
        assert isinstance(endpoint, MetadataEndpoint)
        endpoint.asked.append(self.path)
        status, body = endpoint.answers.pop(0) if len(endpoint.answers) > 1 else endpoint.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        pass


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is remembered for a process is forgotten, and the host's own address is known."""
    monkeypatch.delenv(hostname.METADATA_VARIABLE, raising=False)
    monkeypatch.setattr(socket, "gethostbyname", lambda _name: "192.0.2.7")
    hostname._task_ip.cache_clear()
    yield
    hostname._task_ip.cache_clear()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetadataEndpoint]:
    with MetadataEndpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(hostname.METADATA_VARIABLE, server.uri)
        yield server
        server.shutdown()
        thread.join()


def test_the_address_of_the_tasks_network_interface_is_the_name(
    endpoint: MetadataEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    assert hostname.get_task_ip() == "10.0.2.106"
    assert endpoint.asked == ["/v4/abc/task"]
    assert not caplog.records


def test_the_endpoint_is_asked_once_per_process(endpoint: MetadataEndpoint) -> None:
    assert {hostname.get_task_ip() for _ in range(5)} == {"10.0.2.106"}
    assert len(endpoint.asked) == 1


def test_a_throttled_answer_is_asked_for_again(endpoint: MetadataEndpoint) -> None:
    endpoint.answers = [(429, {}), (200, AWSVPC_TASK)]
    assert hostname.get_task_ip() == "10.0.2.106"


def test_a_proxy_for_the_outside_is_not_asked(
    endpoint: MetadataEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert hostname.get_task_ip() == "10.0.2.106"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {}), "HTTP Error 500"),
        ((200, b"<html>"), "JSONDecodeError"),
        ((200, []), "does not describe a task"),
        ((200, {"Containers": None}), "does not describe a task"),
        ((200, {"Containers": ["?"]}), "does not describe a task"),
        ((200, {"Containers": []}), "no container of the task"),
        ((200, BRIDGE_TASK), "network mode awsvpc"),
    ],
)
def test_an_endpoint_that_does_not_tell_gives_the_hosts_address_and_a_warning(
    endpoint: MetadataEndpoint, answer: tuple[int, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.answers = [answer]
    assert hostname.get_task_ip() == "192.0.2.7"
    assert reason in caplog.text


def test_off_ecs_the_hosts_address_is_the_name_and_one_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert hostname.get_task_ip() == hostname.get_task_ip() == "192.0.2.7"
    assert len(caplog.records) == 1
    assert f"${hostname.METADATA_VARIABLE} is not set" in caplog.text


def test_an_endpoint_that_is_not_there_does_not_hold_up_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(hostname.METADATA_VARIABLE, "http://127.0.0.1:9/v4/abc")
    assert hostname.get_task_ip() == "192.0.2.7"
    assert "Connection refused" in caplog.text


def test_importing_it_imports_nothing_outside_the_standard_library() -> None:
    source = Path(hostname.__file__).parents[1]
    code = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import airflow_ecs.hostname; "
        "modules = {name.split('.')[0] for name in sys.modules}; "
        "print(modules - sys.stdlib_module_names - {'airflow_ecs', '__main__'})"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()"
