"""Serve the local cloud over HTTP, on loopback and to loopback alone."""

from __future__ import annotations

import ipaddress
import random
import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from local_cloud.front import Front


class _QuietHandler(MotoRequestHandler):
    """Says nothing per request: the callers' own logs are what people read here."""

    protocol_version = "HTTP/1.1"  # clients keep their connections; a new one for each call doubles its price

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        if type == "error":
            super().log(type, message, *args)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def make_cloud(*, host: str, port: int, dice: random.Random | None = None) -> BaseWSGIServer:
    """A server that listens, and answers once ``serve_forever`` runs; a thread for each connection.

    Args:
        host: address to listen on.
        port: 0 takes a free one, see ``server_port`` of what is returned.
        dice: for faults with a probability; seed it to see the same again.
    """
    # Chance here breaks things for tests; it protects nothing.
    front = Front(DomainDispatcherApplication(create_backend_app), dice=dice or random.Random())  # noqa: S311
    return make_server(host, port, front, threaded=True, request_handler=_QuietHandler)


def stay_on_loopback() -> None:
    """From now on this process cannot connect to, or look up, any other machine. It cannot be undone.

    Some of moto's services would call out (webhooks, real AWS); then that call fails, and says so.
    """

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            _demand_loopback(str(arguments[1][0]))
        elif event == "socket.getaddrinfo" and arguments[0]:
            _demand_loopback(str(arguments[0]))

    sys.addaudithook(hook)


def _demand_loopback(host: str) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise PermissionError(f"the local cloud contacts nothing but this machine; {host!r} was asked for")
