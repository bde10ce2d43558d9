"""The name an Airflow process gives itself on ECS: the private IPv4 address of its ECS task.

Airflow writes the answer of ``[core] hostname_callable`` into ``task_instance.hostname``, and ECS tells the
same address of every task in ``DescribeTasks``. So whoever stops ECS tasks can know exactly which one is
running what. It is also an address under which the UI can fetch the live log of a running task.
"""

from __future__ import annotations

import functools
import http.client
import json
import logging
import os
import socket
import sys
import threading
import urllib.request
from typing import Any

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
_TIMEOUT_SECONDS = 1.0  # the endpoint is link-local and answers in milliseconds
_ATTEMPTS = 3  # it throttles bursts, such as many processes of one task starting together
_PAUSE_SECONDS = 0.2
_MAX_ANSWER_BYTES = 1_048_576

_log = logging.getLogger(__name__)


def get_task_ip() -> str:
    """The private IPv4 address of the ECS task this process runs in, asked once per process.

    For ``[core] hostname_callable = airflow_ecs.hostname.get_task_ip``. Off ECS, or when the metadata
    endpoint does not tell (three attempts, about four seconds), it is the address that Airflow's own
    ``airflow.utils.net.get_host_ip_address`` finds, and a warning says so. Never raises for either reason.
    """
    return _task_ip()


def as_airflow_has_it() -> str:
    """The name under which Airflow records this process in ``task_instance.hostname``.

    That is what ``[core] hostname_callable`` says where Airflow is loaded already, as in its own Celery
    worker; elsewhere it is :func:`get_task_ip`.
    """
    net = sys.modules.get("airflow.utils.net")
    return get_task_ip() if net is None else str(net.get_hostname())


@functools.cache
def _task_ip() -> str:
    metadata_uri = os.environ.get(METADATA_VARIABLE, "")  # noqa: TID251  # how ECS tells it; there is no settings object here
    if not metadata_uri:
        return _host_ip(
            f"${METADATA_VARIABLE} is not set, so this is no ECS task with platform version 1.4 or newer"
        )
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            threading.Event().wait(_PAUSE_SECONDS)
        try:
            return _address(_read(f"{metadata_uri}/task"))
        except (OSError, http.client.HTTPException, ValueError) as err:
            problem = f"{type(err).__name__}: {err}"
    return _host_ip(f"the ECS task metadata at {metadata_uri}/task gave no address ({problem})")


def _read(url: str) -> Any:
    # Without proxies: HTTP_PROXY is for the outside, the endpoint is link-local.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
        return json.loads(answer.read(_MAX_ANSWER_BYTES))


def _address(task: Any) -> str:
    """The address of the task's own network interface, which all its containers share.

    Raises:
        ValueError: no container has one: the task has not its own interface (``bridge`` or ``host`` network
            mode), or the answer is none of a task.
    """
    try:
        for container in task["Containers"]:
            for network in container.get("Networks") or []:
                if network["NetworkMode"] == "awsvpc" and network.get("IPv4Addresses"):
                    return str(network["IPv4Addresses"][0])
    except (AttributeError, LookupError, TypeError) as err:
        raise ValueError(f"the answer does not describe a task: {type(err).__name__} {err}") from err
    raise ValueError("no container of the task has an IPv4 address in network mode awsvpc")


def _host_ip(why: str) -> str:
    try:
        from airflow.utils import net  # type: ignore[import-not-found]  # noqa: PLC0415  # heavy, seldom needed
    except ImportError:
        address = socket.gethostbyname(socket.getfqdn())
    else:
        address = str(net.get_host_ip_address())
    _log.warning(
        "%s: this process calls itself %s, the address of the host. A worker scaler that matches running "
        "Airflow tasks to ECS tasks by address may not find this worker, and then releases none.",
        why,
        address,
    )
    return address
