"""Clients of the Forward listener: well-behaved, stalled, reconnecting, sending garbage."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from log_forwarder.forward import server as server_module
from log_forwarder.forward.addresses import Address, listen, parse, stop_listening
from log_forwarder.forward.server import ForwardServer
from log_forwarder.inputs.base import Chunk
from sidecar.errors import ConfigError
from sidecar.testing.waiting import wait_until

from .forward_client import Client, docker_message, packed_entries
from .pushing import MIB, Clock, Pushing, lines

Make = Callable[..., "Listening"]


class Listening:
    """A spool with a listener before it."""

    def __init__(self, directory: Path, *, budget_bytes: int = 64 * MIB, shared_key: str = "") -> None:
        self.path = str(directory / "fluent.sock")
        self.clock = Clock()
        self.pushing = Pushing(
            directory / "state",
            budget_bytes=budget_bytes,
            monotonic=self.clock,
            feeders=lambda pushing: [
                ForwardServer(
                    [Address(path=self.path), Address(host="127.0.0.1", port=0)],
                    spool=pushing.spool,
                    writer=pushing.writer,
                    monotonic=self.clock,
                    listener=pushing.told,
                    stop_timeout_seconds=10,
                    shared_key=shared_key,
                )
            ],
        )
        (self.server,) = (one for one in self.pushing.feeders if isinstance(one, ForwardServer))
        self.told = self.pushing.told
        self.chunks: list[Chunk] = []

    def client(self) -> Client:
        return Client(self.path)

    def lines(self) -> list[bytes]:
        """Return every line that came through so far, in order."""
        self.chunks += self.pushing.chunks()
        return lines(self.chunks)

    def is_finished(self) -> bool:
        return self.pushing.input.is_finished

    def has(self, *expected: str) -> None:
        wait_until(lambda: self.lines() == [line.encode() for line in expected], f"{expected} came through")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Listening] = []

    def listening(**options: object) -> Listening:
        made.append(Listening(tmp_path, **options))  # type: ignore[arg-type]  # passed on
        return made[-1]

    yield listening
    for one in made:
        one.pushing.close()


def test_dockers_messages_come_through_a_socket_that_any_user_may_write_to(make: Make) -> None:
    listening = make()
    assert stat.S_IMODE(Path(listening.path).stat().st_mode) == 0o666
    with listening.client() as client:
        client.send(docker_message("one"), docker_message("two"))
        listening.has("one", "two")


def test_tcp_is_served_too(make: Make) -> None:
    listening = make()
    with Client(("127.0.0.1", listening.server.ports[0])) as client:
        client.send(docker_message("over tcp"), b"\xc0")
        listening.has("over tcp")


def test_an_acknowledgement_comes_when_the_frame_is_durable_and_is_text(make: Make) -> None:
    listening = make()
    with listening.client() as client:
        client.send(msgpack.packb(["t", packed_entries([{"log": "x"}]), {"chunk": "cGFja2Vk"}]))
        assert client.receive() == {"ack": "cGFja2Vk"}
        assert listening.pushing.spool.durable == listening.pushing.spool.end > 0
        client.send(docker_message("y", chunk="bWVzc2FnZQ=="), docker_message("z", chunk="second"))
        assert [client.receive(), client.receive()] == [{"ack": "bWVzc2FnZQ=="}, {"ack": "second"}]


def test_without_durability_there_is_no_acknowledgement(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr("os.fdatasync", lambda _descriptor: gate.wait(20))
    listening = make()
    with listening.client() as client:
        client.send(docker_message("x", chunk="a"))
        wait_until(lambda: listening.pushing.spool.end > 0, "spooled")
        client.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.receive()
        gate.set()
        client.socket.settimeout(15)
        assert client.receive() == {"ack": "a"}


def test_half_a_message_is_discarded_and_the_whole_one_that_follows_is_kept(make: Make) -> None:
    listening = make()
    message = docker_message("cut in the middle")
    with listening.client() as client:
        client.send(docker_message("before"), message[:50])
    with listening.client() as client:
        client.send(message)
        listening.has("before", "cut in the middle")
    assert listening.told.truncated == [50]


def test_garbage_ends_its_own_connection_and_no_other(make: Make) -> None:
    listening = make()
    with listening.client() as good, listening.client() as bad:
        good.send(docker_message("one"))
        bad.send(docker_message("last words"), b"GET / HTTP/1.1\r\n\r\n")
        assert bad.receive() is None
        good.send(docker_message("two"))
        wait_until(lambda: sorted(listening.lines()) == [b"one", b"two"], "good lines")
    assert "0x47" in listening.told.refused[0]


def test_a_client_that_stalls_in_a_frame_is_let_go_after_a_while_and_harms_nobody(make: Make) -> None:
    listening = make()
    with listening.client() as stalled, listening.client() as good, listening.client() as silent:
        stalled.send(docker_message("never finished")[:20])
        wait_until(lambda: listening.server.connections == 3, "all connected")
        for number in range(20):
            good.send(docker_message(f"line {number}"))
        listening.has(*[f"line {number}" for number in range(20)])

        def moved_on() -> bool:
            listening.clock.now += 10
            return bool(listening.told.refused)

        wait_until(moved_on, "let go")
        assert stalled.receive() is None
        silent.send(docker_message("I only had nothing to say"))
        wait_until(lambda: b"I only had nothing to say" in listening.lines(), "silence is no stall")


def test_reconnecting_clients_lose_nothing(make: Make) -> None:
    listening = make()
    for number in range(50):
        with listening.client() as client:
            client.send(docker_message(f"{number}"))
    wait_until(lambda: sorted(listening.lines(), key=int) == [b"%d" % n for n in range(50)], "all lines")


def test_a_full_spool_stops_reading_and_goes_on_when_there_is_room(make: Make) -> None:
    listening = make(budget_bytes=MIB)
    count, text = 600, "x" * 10_000
    with listening.client() as client:
        sender = threading.Thread(
            target=lambda: client.send(*[docker_message(f"{n} {text}") for n in range(count)])
        )
        sender.start()
        wait_until(lambda: listening.told.full == [True], "the spool is full")
        assert listening.pushing.spool.held_bytes <= MIB
        assert sender.is_alive()

        def all_came() -> bool:
            listening.lines()
            listening.pushing.accept(listening.chunks)
            return len(listening.lines()) == count

        wait_until(all_came, "everything came once there was room", deadline_seconds=30)
        sender.join(20)
    assert [int(line.split()[0]) for line in listening.lines()] == list(range(count))
    assert listening.told.full[-1] is False


def test_more_clients_than_the_limit_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)
    listening = make()
    with listening.client() as one, listening.client() as two:
        one.send(docker_message("1"))
        two.send(docker_message("2"))
        wait_until(lambda: listening.server.connections == 2, "two are served")
        with listening.client() as third:
            assert third.receive() is None
    assert "2 clients" in listening.told.refused[0]


def test_with_a_shared_key_only_who_knows_it_is_heard(make: Make) -> None:
    listening = make(shared_key="s3cret")
    with listening.client() as friend:
        assert friend.shake_hands("s3cret")[1] is True
        friend.send(docker_message("from a friend"))
        listening.has("from a friend")
    with listening.client() as stranger:
        assert stranger.shake_hands("guess")[:3] == ["PONG", False, "shared_key mismatch"]
        assert stranger.receive() is None
    with listening.client() as rude:
        rude.receive()
        rude.send(docker_message("no handshake at all"))
        assert rude.receive()[1] is False
    wait_until(lambda: len(listening.told.refused) == 2, "both are told")
    assert all("s3cret" not in why for why in listening.told.refused)
    listening.has("from a friend")


def test_a_message_right_behind_a_ping_is_heard(make: Make) -> None:
    listening = make(shared_key="s3cret")
    with listening.client() as client:
        assert client.shake_hands("s3cret", follows=docker_message("in the same write"))[1] is True
        listening.has("in the same write")


def test_a_tcp_peer_that_went_away_silently_is_noticed_by_the_kernel(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[socket.socket] = []
    serve = ForwardServer._serve

    def keep(server: ForwardServer, client: socket.socket, name: str) -> None:
        served.append(client)
        serve(server, client, name)

    monkeypatch.setattr(ForwardServer, "_serve", keep)
    listening = make()
    with Client(("127.0.0.1", listening.server.ports[0])):
        wait_until(lambda: bool(served), "it is served")
        assert served[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert served[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


def test_a_part_that_says_more_than_a_part_keeps_what_it_says(make: Make) -> None:
    listening = make()
    part = {
        "log": "half a li",
        "partial_message": "true",
        "partial_id": "a",
        "partial_last": "false",
        "level": "info",
    }
    with listening.client() as client:
        client.send(msgpack.packb(["t", 1, part]))
        wait_until(lambda: len(listening.lines()) == 1, "it came through")
    assert json.loads(listening.lines()[0]) == part


def test_a_handshake_of_garbage_ends_the_connection(make: Make) -> None:
    listening = make(shared_key="s3cret")
    with listening.client() as client:
        client.receive()
        client.send(b"\xc1" * 100)
        assert client.receive() is None


def test_at_the_end_clients_are_served_until_they_leave(make: Make) -> None:
    listening = make()
    with listening.client() as client:
        client.send(docker_message("before"))
        listening.has("before")
        listening.pushing.input.begin_to_finish()
        client.send(docker_message("after SIGTERM"))
        listening.has("before", "after SIGTERM")
        assert not listening.is_finished()
    wait_until(lambda: listening.server.connections == 0, "the client left")
    assert not listening.is_finished()
    with listening.client() as late:
        late.send(docker_message("a last word"))
    listening.has("before", "after SIGTERM", "a last word")
    wait_until(lambda: listening.server.connections == 0, "the last client left")
    listening.clock.now += 3
    assert listening.is_finished()
    assert not Path(listening.path).exists()


def test_a_client_that_never_leaves_does_not_hold_up_the_end(make: Make) -> None:
    listening = make()
    with listening.client() as client:
        client.send(docker_message("x"))
        listening.has("x")
        listening.pushing.input.begin_to_finish()
        assert not listening.is_finished()
        listening.clock.now += 6.1
        assert listening.is_finished()
        assert client.receive() is None


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "a.sock"))
    first = listen(address)
    with pytest.raises(ConfigError, match="LOG_FORWARDER_FORWARD"):
        listen(address)
    first.close()  # as kill -9 leaves it: the file stays
    second = listen(address)
    with Client(address.path):
        stop_listening(second, address)
    assert not Path(address.path).exists()


def test_a_socket_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "a.sock"))
    ours = listen(address)
    Path(address.path).unlink()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(address.path)
        theirs.listen()
        stop_listening(ours, address)
        assert Path(address.path).exists()


@pytest.mark.parametrize(
    "url",
    ["", "fluent.sock", "unix://relative", "tcp://host", "udp://h:1", "tcp://h:1/x", "unix:///" + "x" * 200],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|longer"):
        parse(url)


def test_addresses_are_read() -> None:
    assert parse("unix:///var/run/fluent.sock") == Address(path="/var/run/fluent.sock")
    assert parse("tcp://0.0.0.0:24224") == Address(host="0.0.0.0", port=24224)
    assert str(parse("tcp://[::1]:24224")) == "tcp://::1:24224"
