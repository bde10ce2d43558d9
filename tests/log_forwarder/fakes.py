"""A Firehose that a test owns: it fails on order and remembers every record it accepted.

It speaks the wire protocol, so the real boto3 talks to it (``AWS_ENDPOINT_URL_FIREHOSE``). That it is
right is shown by ``test_firehose_contract.py``, which asks moto server the same questions.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MAX_RECORD_BYTES = 1_024_000
MAX_CALL_RECORDS = 500
MAX_CALL_BYTES = 4 * 1024 * 1024

Verdict = Callable[[int, list[bytes]], "Reply"]


class Reply:
    """What to do with one call: ``status`` 200 accepts all but ``failed``; 0 cuts the connection.

    With ``is_lost`` all is accepted, and nobody is told.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        failed: tuple[int, ...] = (),
        code: str = "ServiceUnavailableException",
        is_lost: bool = False,
    ) -> None:
        self.is_lost = is_lost
        self.status = status
        self.failed = failed
        self.code = code


def ok(_call: int, _records: list[bytes]) -> Reply:
    return Reply()


def unavailable(_call: int, _records: list[bytes]) -> Reply:
    return Reply(status=503)


def denied(_call: int, _records: list[bytes]) -> Reply:
    return Reply(status=400, code="AccessDeniedException")


def disconnect(_call: int, _records: list[bytes]) -> Reply:
    return Reply(status=0)


def answer_lost(_call: int, _records: list[bytes]) -> Reply:
    return Reply(is_lost=True)


def partial(every: int) -> Verdict:
    """Fail every n-th record that was ever given, so that a record sent again passes in the end."""
    seen = Counter[str]()

    def verdict(_call: int, records: list[bytes]) -> Reply:
        failed = []
        for index in range(len(records)):
            seen["records"] += 1
            if seen["records"] % every == 0:
                failed.append(index)
        return Reply(failed=tuple(failed))

    return verdict


class FakeFirehose:
    """One delivery stream behind a loopback port.

    Attributes:
        mode: decides each call; replace it at any time.
        gate: while cleared, calls hang before they are decided (mode "slow").
        accepted: records accepted, in order.
        calls: the records of every call, whatever came of it.
        arrived: how many calls arrived, also those that hang at the gate.
    """

    def __init__(self, streams: tuple[str, ...]) -> None:
        self.streams = streams
        self.mode: Verdict = ok
        self.gate = threading.Event()
        self.gate.set()
        self.accepted: list[bytes] = []
        self.calls: list[list[bytes]] = []
        self.arrived = 0
        self.url = ""
        self._lock = threading.Lock()

    @property
    def lines(self) -> list[bytes]:
        """Return the lines of all accepted records, in order."""
        with self._lock:
            return b"".join(self.accepted).splitlines()

    def put(self, records: list[bytes]) -> tuple[int, dict[str, Any]]:
        self.arrived += 1
        self.gate.wait(30)
        with self._lock:
            self.calls.append(records)
            reply = self.mode(len(self.calls), records)
            if reply.is_lost:
                self.accepted += records
                return 0, {}
            if reply.status != 200:
                return reply.status, {"__type": reply.code if reply.status < 500 else "InternalFailure"}
            answers = []
            for index, record in enumerate(records):
                if index in reply.failed:
                    answers.append({"ErrorCode": reply.code, "ErrorMessage": "Slow down."})
                else:
                    self.accepted.append(record)
                    answers.append({"RecordId": f"{len(self.accepted):056d}"})
            return 200, {"FailedPutCount": len(reply.failed), "RequestResponses": answers}


def _problem(body_bytes: int, records: list[bytes]) -> str:
    if not 0 < len(records) <= MAX_CALL_RECORDS:
        return f"{len(records)} records"
    if max(map(len, records)) > MAX_RECORD_BYTES:
        return f"a record of {max(map(len, records))} bytes"
    return f"a call of {body_bytes} bytes" if body_bytes > MAX_CALL_BYTES else ""


@contextmanager
def serve(*streams: str) -> Iterator[FakeFirehose]:
    """Serve a fake on a free loopback port."""
    fake = FakeFirehose(streams)

    class Handler(_Handler):
        firehose = fake

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.gate.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A forwarder that is killed resets its connection: no news. Anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on as it came


class _Handler(BaseHTTPRequestHandler):
    firehose: ClassVar[FakeFirehose]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body_bytes = int(self.headers["Content-Length"])
        body = self.rfile.read(body_bytes)
        if len(body) < body_bytes:
            self.close_connection = True  # the forwarder was killed while it sent
            return
        request = json.loads(body)
        if request["DeliveryStreamName"] not in self.firehose.streams:
            self._answer(400, {"__type": "ResourceNotFoundException", "message": "Firehose not found"})
        elif self.headers["X-Amz-Target"].endswith(".PutRecordBatch"):
            records = [base64.b64decode(record["Data"]) for record in request["Records"]]
            problem = _problem(len(body), records)
            if problem:
                self._answer(400, {"__type": "InvalidArgumentException", "message": problem})
            else:
                self._answer(*self.firehose.put(records))
        else:
            status = {"DeliveryStreamName": request["DeliveryStreamName"], "DeliveryStreamStatus": "ACTIVE"}
            self._answer(200, {"DeliveryStreamDescription": status})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        if status == 0:
            self.close_connection = True
            self.connection.shutdown(2)
            return
        payload = json.dumps(document).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)
        except OSError:
            self.close_connection = True  # the forwarder was killed meanwhile

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
        """Stay silent."""
