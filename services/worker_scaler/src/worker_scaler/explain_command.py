"""``worker-scaler explain``: the last decisions of the scaler that runs on this host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import urllib3

from sidecar.app import Command, Runtime
from sidecar.errors import EXIT_OK, ConfigError, Transient
from worker_scaler.settings import WorkerScalerSettings

if TYPE_CHECKING:
    import argparse

_TIMEOUT_SECONDS = 5.0
_OK = 200


def _explain(settings: WorkerScalerSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    del runtime
    if settings.http_port == 0:
        raise ConfigError(
            "The running scaler cannot be asked",
            why="WORKER_SCALER_HTTP_PORT is 0",
            remedy="Give it a port, or read the `decided` lines of its log",
        )
    host = settings.http_host if settings.http_host not in ("", "0.0.0.0", "::") else "127.0.0.1"
    path = "/explain/replay" if arguments.replay else "/explain"
    url = f"http://{host}:{settings.http_port}{path}"
    try:
        answer = urllib3.request("GET", url, timeout=_TIMEOUT_SECONDS, retries=False)
    except urllib3.exceptions.HTTPError as err:
        raise Transient(
            "The running scaler cannot be asked", why=f"no answer at {url}", remedy="Is it running here?"
        ) from err
    if answer.status != _OK:
        raise Transient("The running scaler cannot be asked", why=f"{url} answered {answer.status}")
    sys.stdout.write(answer.data.decode())
    return EXIT_OK


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replay", action="store_true", help="print all that the decisions were taken from")


EXPLAIN: Command[WorkerScalerSettings] = Command(
    name="explain",
    meaning="print the last decisions of the scaler that runs on this host",
    act=_explain,
    add_arguments=_add_arguments,
)
