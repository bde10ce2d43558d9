"""How many Forward messages a core takes: socket -> spool -> lines -> records, not yet Firehose.

    .venv/bin/python benchmarks/log_forwarder/forward.py [MESSAGES]

CPU-seconds of this process, the client's not counted. Messages are those of Docker's driver, byte for byte.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it ships no types

from log_forwarder.compression import compressor
from log_forwarder.events import PushEvents
from log_forwarder.forward.addresses import Address
from log_forwarder.forward.server import ForwardServer
from log_forwarder.inputs.base import Span, WholeLines
from log_forwarder.inputs.pushed import PushedInput
from log_forwarder.packer import Packer
from log_forwarder.spool.places import Places
from log_forwarder.spool.spool import Spool
from log_forwarder.spool.writer import SpoolWriter
from log_forwarder.state import State
from sidecar.clock import SystemClock
from sidecar.telemetry import Telemetry

_LINE = (
    '{"timestamp":"2026-11-22T09:26:56.804580Z","level":"info","event":"Loaded executor something",'
    '"dag_id":"d","task_id":"extract","run_id":"manual__2026-11-22T00:00:00+00:00","try_number":1,"logger":"task.stdout"}'
)
_BATCH = 1000
_PAUSE_SECONDS = 0.05
_BUDGET_BYTES = 2 * 1024 * 1024 * 1024


def send(path: str, messages: int) -> None:
    """Write messages as fast as the socket takes them."""
    record = {"container_name": "/web", "source": "stdout", "log": _LINE, "container_id": "c" * 64}
    batch = msgpack.packb(["web-firelens-0123", msgpack.ExtType(0, bytes(8)), record, {}]) * _BATCH
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        for _ in range(messages // _BATCH):
            client.sendall(batch)


def measure(directory: Path, messages: int) -> tuple[float, int]:
    """Return CPU-seconds and the lines that came through."""
    clock = SystemClock()
    events = PushEvents(Telemetry(service="log-forwarder", version="0", clock=clock))
    state = State(directory / "state")
    places = Places(state)
    spool = Spool(directory / "state/spool", budget_bytes=_BUDGET_BYTES)
    news = threading.Event()
    path = str(directory / "fluent.sock")
    server = ForwardServer(
        [Address(path=path)],
        spool=spool,
        writer=lambda is_over: SpoolWriter(
            spool,
            listener=events,
            on_data=news.set,
            is_over=is_over,
            drops_when_full=False,
            now=clock.now,
        ),
        monotonic=clock.monotonic,
        listener=events,
        stop_timeout_seconds=10,
    )
    source = PushedInput(
        spool=spool,
        places=places,
        feeders=[server],
        rules=lambda _kind: WholeLines(),
        limit_bytes=900 * 1024,
        monotonic=clock.monotonic,
        listener=events,
    )
    packer = Packer(line_format="envelope", compress=compressor("gzip"), facts={})
    client = multiprocessing.get_context("spawn").Process(target=send, args=(path, messages))
    began = time.process_time()
    client.start()
    lines = 0
    while lines < messages:
        news.wait(_PAUSE_SECONDS)
        news.clear()
        source.look()
        for chunk in source.chunks():
            lines += chunk.data.count(b"\n")
            for record in packer.add(chunk):
                places.keep([Span(*span) for span in record.spans])
    used_seconds = time.process_time() - began
    client.join()
    source.close()
    state.close()
    return used_seconds, lines


def main() -> int:
    """Measure and print."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with tempfile.TemporaryDirectory() as directory:
        used_seconds, lines = measure(Path(directory), messages)
    sys.stdout.write(
        f"{lines} messages, {used_seconds:.2f} CPU-s, {lines / used_seconds:,.0f} messages/s per core\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
