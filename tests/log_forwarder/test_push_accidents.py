"""Real forwarders that are pushed to, and real accidents: what arrives is counted line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import lines_payload
from sidecar.testing.plugin import _environment
from sidecar.testing.waiting import wait_until

from .fake_engine import serve as serve_engine
from .fakes import ok, unavailable
from .forward_client import Client, docker_message, docker_parts
from .pushing import Pushing
from .world import World

pytestmark = pytest.mark.timeout(90)


def messages(world: World) -> list[str]:
    return [envelope["message"] for envelope in world.envelopes() if "message" in envelope]


def listen(world: World, **changes: str) -> dict[str, str]:
    """Return settings with a listener and without files; make sure that the socket's path is free."""
    return {"TAIL": "", "FORWARD": json.dumps([f"unix://{socket_of(world)}"]), **changes}


def socket_of(world: World) -> str:
    return str(world.logs / "fluent.sock")


def has_all(world: World, expected: set[str]) -> None:
    wait_until(lambda: expected <= set(messages(world)), f"{len(expected)} lines", deadline_seconds=40)


def connect(world: World) -> Client:
    """Return a client; a socket file that a killed forwarder left does not answer yet."""

    def attempt() -> Client | None:
        try:
            return Client(socket_of(world))
        except OSError:
            return None

    client = wait_until(attempt, "a listener")
    assert client is not None
    return client


def test_a_drop_in_firelens_router(world: World) -> None:
    forwarder = world.start(**listen(world))
    with connect(world) as client:
        client.send(docker_message('{"event":"json"}', ecs_cluster="prod"), docker_message("text"))
        client.send(*docker_parts("long " * 8000))
    wait_until(lambda: len(world.firehose.lines) == 3, "three lines")
    first, second, third = world.envelopes()
    assert first["event"] == "json"
    assert first["_fwd"]["container_name"] == "web"
    assert first["_fwd"]["ecs_cluster"] == "prod"
    assert second["message"] == "text"
    assert third["message"] == "long " * 8000
    assert forwarder.terminate() == 0
    assert not Path(socket_of(world)).exists()


def test_kill_dash_nine_loses_nothing_that_was_acknowledged_and_repeats_it_byte_for_byte(
    world: World,
) -> None:
    """The listener dies while it is sent to, while Firehose is away, and while it sends."""
    acknowledged: set[str] = set()
    number = 0
    for mode in (ok, unavailable, ok):
        world.firehose.mode = mode
        forwarder = world.start(**listen(world))
        with connect(world) as client:
            for _ in range(300):
                number += 1
                client.send(docker_message(f"line {number}", chunk=f"{number}"))
                assert client.receive() == {"ack": f"{number}"}
                acknowledged.add(f"line {number}")
        forwarder.kill_dash_nine()
    world.start(**listen(world))
    has_all(world, acknowledged)
    by_id: dict[str, set[str]] = {}
    for line in world.firehose.lines:
        by_id.setdefault(json.loads(line)["_fwd"]["id"], set()).add(str(line))
    assert all(len(spellings) == 1 for spellings in by_id.values())
    assert len(by_id) == len(acknowledged)


def test_an_outage_with_a_small_disk_makes_clients_wait_and_loses_nothing(world: World) -> None:
    world.firehose.mode = unavailable
    forwarder = world.start(**listen(world, DISK_BUDGET_MIB="1"))
    expected = {f"{number} {'x' * 9000}" for number in range(300)}
    sender = subprocess.Popen(
        [sys.executable, "-c", _SEND, socket_of(world)], cwd=Path(__file__).parent, stdin=subprocess.PIPE
    )
    wait_until(lambda: Path(socket_of(world)).exists(), "the socket")
    sender.stdin.write(json.dumps(sorted(expected)).encode())  # type: ignore[union-attr]  # it is a pipe
    sender.stdin.close()  # type: ignore[union-attr]  # the same
    wait_until(lambda: "spool_full" in forwarder.text(), "clients wait")
    assert sum(path.stat().st_size for path in (world.state / "spool").iterdir()) <= 1024 * 1024
    world.firehose.mode = ok
    assert sender.wait(60) == 0
    has_all(world, expected)
    assert Counter(messages(world)) == dict.fromkeys(expected, 1)


_SEND = """
import json, pathlib, sys, time, msgpack, socket
lines = json.load(sys.stdin)
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    for line in lines:
        client.sendall(msgpack.packb(["t", 1, {"log": line}]))
"""


def test_told_to_drop_it_counts_and_says_so_in_the_log(world: World) -> None:
    world.firehose.mode = unavailable
    forwarder = world.start(**listen(world, DISK_BUDGET_MIB="1", WHEN_FULL="drop_newest"))
    with connect(world) as client:
        for number in range(300):
            client.send(docker_message(f"{number} {'x' * 9000}"))
        wait_until(lambda: "spool_full" in forwarder.text(), "it is full")
        world.firehose.mode = ok
        wait_until(lambda: messages(world), "it sends again", deadline_seconds=40)

        def was_reported() -> bool:
            client.send(docker_message("after"))
            return any(envelope.get("event") == "lines_dropped" for envelope in world.envelopes())

        wait_until(was_reported, "the report", deadline_seconds=40)
    report = next(envelope for envelope in world.envelopes() if envelope.get("event") == "lines_dropped")
    assert report["bytes"] > 500_000
    assert report["payloads"] > 0


def test_standard_input_is_shipped_to_its_end_and_the_exit_is_0(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "log_forwarder", "run"],
        input=b"".join(b"line %d\n" % number for number in range(5000)) + b"no newline",
        env=_environment(world.settings(TAIL="", STDIN="true")),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert messages(world) == [*[f"line {number}" for number in range(5000)], "no newline"]


def test_once_reads_standard_input_to_its_end_however_slow_it_comes(world: World) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "log_forwarder", "once"],
        env=_environment(world.settings(TAIL="", STDIN="true")),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    has_all(world, {"first"})
    process.stdin.write(b"last\n")
    process.stdin.close()
    assert process.wait(60) == 0
    assert messages(world) == ["first", "last"]


def test_containers_with_the_label_are_shipped_and_secrets_in_them_are_masked(
    world: World, tmp_path: Path
) -> None:
    with serve_engine(tmp_path) as engine:
        web = engine.run("web", labels={"logs.forward": "true"})
        engine.write(web, b"password=hunter2\n")
        engine.write(web, b"[x] broke\n  in line 1\n", stream=2)
        forwarder = world.start(
            TAIL="", DOCKER="true", DOCKER_URL=engine.url, REDACT="true", MULTILINE="true", LEVEL="info"
        )
        has_all(world, {"password=***", "[x] broke\n  in line 1"})
        assert {envelope["_fwd"]["container_name"] for envelope in world.envelopes()} == {"web"}
        assert forwarder.terminate() == 0


def test_lines_that_were_acknowledged_are_shipped_though_their_input_was_taken_out(world: World) -> None:
    with Pushing(world.state) as pushing:
        payload = lines_payload(StreamKey("forward", "forward:web", ()), b"acknowledged\n")
        assert pushing.writer(lambda: False).append(payload)
    assert world.once().code == 0  # it tails, and listens to nobody
    assert [line["message"] for line in world.envelopes()] == ["acknowledged"]
