"""Real processes and real accidents: what arrives is counted line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.testing.waiting import wait_until

from .fakes import denied, disconnect, ok, partial, unavailable
from .world import World

pytestmark = pytest.mark.timeout(90)

IN_FLIGHT_BYTES = 1_024_000


def test_kill_dash_nine_while_sending_loses_nothing_and_repeats_one_call_at_most(world: World) -> None:
    numbers = range(20_000)
    log = world.log("a.log", numbers, padding=400)  # about ten records
    forwarder = world.start()
    wait_until(lambda: world.firehose.accepted, "a first record")
    world.firehose.gate.clear()
    arrived = world.firehose.arrived
    wait_until(lambda: world.firehose.arrived > arrived, "a call in flight")
    forwarder.kill_dash_nine()
    world.firehose.gate.set()
    wait_until(lambda: len(world.firehose.calls) == world.firehose.arrived, "the orphaned call to end")
    assert len(world.numbers()) < len(numbers)

    world.start()

    world.has_all(numbers)
    repeated = world.repeated()
    assert 0 < len(repeated) * 400 <= IN_FLIGHT_BYTES
    assert len({envelope["_fwd"]["id"] for envelope in world.envelopes()}) == len(numbers)
    assert world.numbers(log)[-1] == numbers[-1]


def test_an_outage_loses_nothing_repeats_nothing_and_is_not_ready(world: World) -> None:
    world.firehose.mode = unavailable
    world.log("a.log", range(100))
    forwarder = world.start()
    wait_until(lambda: len(world.firehose.calls) >= 2, "two refused calls")
    wait_until(lambda: "Lines are held back" in forwarder.text(), "a line that says so")
    world.log("a.log", range(100, 200))
    world.firehose.mode = ok

    world.has_all(range(200))
    assert world.numbers() == list(range(200))
    assert forwarder.terminate() == 0


def test_partial_failures_repeat_nothing_and_keep_the_order_of_each_file(world: World) -> None:
    world.firehose.mode = partial(2)
    logs = [world.log(f"{name}.log", range(1500), padding=400) for name in "abcd"]

    done = world.once()

    assert done.code == 0
    for log in logs:
        assert world.numbers(log) == list(range(1500))


def test_connections_that_break_lose_nothing(world: World) -> None:
    world.firehose.mode = lambda call, records: disconnect(call, records) if call < 3 else ok(call, records)
    world.log("a.log", range(100))

    assert world.once().code == 0
    assert world.numbers() == list(range(100))


def test_a_permission_taken_away_later_holds_the_lines_until_it_is_back(world: World) -> None:
    forwarder = world.start()
    world.log("a.log", range(10))
    world.has_all(range(10))
    world.firehose.mode = denied
    world.log("a.log", range(10, 20))
    wait_until(lambda: "AccessDeniedException" in forwarder.text(), "the refusal in the log")
    world.firehose.mode = ok

    world.has_all(range(20))
    assert world.repeated() == []


def test_rotation_truncation_and_removal_while_running_lose_nothing(world: World) -> None:
    forwarder = world.start()
    log = world.log("a.log", range(10))
    world.has_all(range(10))
    log.rename(log.with_name("a.log.1"))
    world.log("a.log.1", range(10, 20))
    world.log("a.log", range(20, 30))
    world.has_all(range(30))
    log.write_bytes(b"")
    world.log("a.log", range(30, 40))
    world.has_all(range(40))
    with log.open("ab") as writer:
        log.unlink()
        writer.write(b'{"n":40}\n')

    world.has_all(range(41))
    assert world.repeated() == []
    assert forwarder.terminate() == 0


def test_sigterm_ships_what_was_just_written_and_exits_0(world: World) -> None:
    forwarder = world.start(FLUSH_SECONDS="600", SCAN_SECONDS="60")
    wait_until((world.state / "checkpoints.sqlite3").exists, "the start")
    log = world.log("late.log", range(5))
    with log.open("ab") as file:
        file.write(b"last words")

    assert forwarder.terminate() == 0
    assert world.numbers() == list(range(5))
    assert world.envelopes()[-1]["message"] == "last words"
    assert world.envelopes()[-1]["_fwd"]["unterminated"] is True


def test_sigterm_during_an_outage_exits_3_in_time_and_the_next_start_goes_on(world: World) -> None:
    world.firehose.mode = unavailable
    log = world.log("a.log", range(100))
    forwarder = world.start(STOP_TIMEOUT_SECONDS="1")
    wait_until(lambda: world.firehose.calls, "a refused call")

    assert forwarder.terminate() == 3
    assert f'"left_bytes": {log.stat().st_size}' in forwarder.text()
    world.firehose.mode = ok
    assert world.once().code == 0
    assert world.numbers() == list(range(100))


def test_memory_is_bounded_because_reading_stops_while_sending_does(world: World) -> None:
    world.firehose.mode = unavailable
    world.log("a.log", range(100_000), padding=400)  # 42 MB
    forwarder = world.start()
    wait_until(lambda: len(world.firehose.calls) >= 3, "some refused calls")

    status = Path(f"/proc/{forwarder.process.pid}/status").read_text()
    (peak_kib,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak_kib < 130_000


def test_once_ships_everything_and_a_second_time_nothing(world: World) -> None:
    world.log("dag_id=etl/run_id=r/task_id=t/attempt=1.log", range(10))

    assert (world.once().code, world.once().code) == (0, 0)
    assert world.numbers() == list(range(10))
    assert {envelope["_fwd"]["task_id"] for envelope in world.envelopes()} == {"t"}


def test_a_file_replaced_between_two_runs_is_shipped_whole_although_its_last_line_was_blank(
    world: World,
) -> None:
    log = world.logs / "a.log"
    for line in (b"HEADER\n", b"1 old old old\n", b"\n"):
        with log.open("ab") as file:
            file.write(line)
        assert world.once().code == 0
    before = len(world.envelopes())
    log.write_bytes(b"HEADER\nB new nex\nnew\n\nB third\n")  # in place: the same inode, another content

    assert world.once().code == 0
    messages = [envelope["message"] for envelope in world.envelopes()[before:]]
    assert messages == ["HEADER", "B new nex", "new", "", "B third"]


def test_a_line_beyond_every_limit_arrives_in_marked_parts(world: World) -> None:
    line = b"\xc3\xa9" * 1_500_000
    (world.logs / "a.log").write_bytes(b"before\n" + line + b"\nafter\n")

    assert world.once().code == 0
    before, *parts, after = world.envelopes()
    assert (before["message"], after["message"]) == ("before", "after")
    assert "".join(part["message"] for part in parts).encode() == line
    assert [(part["_fwd"]["part"], part["_fwd"]["is_last_part"]) for part in parts] == [
        (number, number == len(parts)) for number in range(1, len(parts) + 1)
    ]


def test_raw_lines_arrive_as_they_are(world: World) -> None:
    content = b"".join(bytes([byte]) * 3 + b"\n" for byte in range(256) if byte != 10)
    (world.logs / "a.log").write_bytes(content)

    assert world.once(FORMAT="raw").code == 0
    assert b"".join(world.firehose.accepted) == content


def test_small_lines_share_records(world: World) -> None:
    for number in range(50):
        world.log(f"{number}.log", range(number, number + 1))

    assert world.once().code == 0
    assert len(world.firehose.accepted) == 1
    assert sorted(world.numbers()) == list(range(50))


def test_a_delivery_is_no_news_at_the_usual_level(world: World) -> None:
    world.log("a.log", range(10))

    events = [json.loads(line)["event"] for line in world.once(LOG_LEVEL="info").out.splitlines()]

    assert events == ["started", "everything_delivered", "stopped"]
