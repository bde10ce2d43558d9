"""What stands in front of moto: faults, then guards, then our own Firehose, then moto itself."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from wsgiref.types import StartResponse, WSGIApplication

from werkzeug.wrappers import Request, Response

from local_cloud import firehose
from local_cloud.call import Call, answer, read_call, refuse
from local_cloud.faults import Fault, FaultBoard, Kind
from local_cloud.guards import refusal_of

_LATENCY_NEVER_CUT = threading.Event()


class Front:
    """The WSGI application of the local cloud.

    ``/_local/faults`` (GET, POST, DELETE) and ``/_local/requests`` (GET) are its own; all else is AWS.

    Args:
        aws: moto's application.
        dice: decides what is left to chance.
    """

    def __init__(self, aws: WSGIApplication, *, dice: random.Random) -> None:
        self._aws = aws
        self._dice = dice
        self._board = FaultBoard(dice)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if environ.get("PATH_INFO", "").startswith("/_local/"):
            return self._local(Request(environ))(environ, start_response)
        call = read_call(environ)
        hitting = self._board.hit(call)
        for fault in hitting:
            if fault.kind is Kind.LATENCY:
                _LATENCY_NEVER_CUT.wait(fault.seconds)
            elif fault.kind is Kind.DISCONNECT:
                _disconnect(environ)
            elif fault.kind in {Kind.THROTTLE, Kind.ERROR}:
                return refuse(call, fault.refusal())(environ, start_response)
        served = self._serve(call, hitting)
        if any(fault.kind is Kind.ANSWER_LOST for fault in hitting):
            Response.from_app(served, environ, buffered=True).close()
            _disconnect(environ)
        return served(environ, start_response)

    def _serve(self, call: Call, hitting: list[Fault]) -> WSGIApplication:
        if (refusal := refusal_of(call)) is not None:
            return refuse(call, refusal)
        if call.service == "firehose" and call.action in firehose.ACTIONS:
            return _put(call, self._failing(hitting))
        return self._aws

    def _failing(self, hitting: list[Fault]) -> Callable[[int], set[int]]:
        partial = [fault for fault in hitting if fault.kind is Kind.PARTIAL]
        return lambda records: {
            index for fault in partial for index in fault.failing(records, dice=self._dice)
        }

    def _local(self, request: Request) -> Response:
        match request.path, request.method:
            case "/_local/requests", "GET":
                return _json(self._board.calls())
            case "/_local/faults", "GET":
                return _json(self._board.in_force())
            case "/_local/faults", "DELETE":
                self._board.clear()
                return _json([])
            case "/_local/faults", "POST":
                try:
                    self._board.add([Fault.from_json(found) for found in _listed(request.get_data())])
                except ValueError as err:
                    return _json({"error": str(err)}, status=400)
                return _json(self._board.in_force())
        return _json(
            {"error": "there are GET /_local/requests and GET, POST, DELETE /_local/faults"}, status=404
        )


def _put(call: Call, failing: Callable[[int], set[int]]) -> Response:
    try:
        return answer(firehose.put(call, failing=failing))
    except firehose.Refused as refused:
        return refuse(call, refused.refusal)


def _listed(body: bytes) -> list[object]:
    found = json.loads(body)
    if not isinstance(found, list):
        raise ValueError("faults are a JSON list of objects")  # noqa: TRY004  # what the caller sent, not a bug
    return found


def _json(body: object, *, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json")


def _disconnect(environ: dict[str, Any]) -> NoReturn:
    """Close the connection as a crashed peer would; the server takes the exception for just that.

    Raises:
        ConnectionResetError: always.
    """
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("a fault asked for this")
