"""Which ECS task is the host that Airflow names? Pure.

``task_instance.hostname`` is what the worker's ``[core] hostname_callable`` returned. On ECS that is one of:
the task id (also ``<task id>-<digits>``, where the VPC gives no DNS names), an IP address, the ENI's private
DNS name ``ip-a-b-c-d.<domain>``, or in bridge mode the first 12 characters of the container's runtime id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from worker_scaler.model import Phase, Worker

_TASK_ID = re.compile(r"^(?P<id>[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-\d+)?$")
_IP_NAME = re.compile(r"^ip-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})(?:\..*)?$")
_RUNTIME_PREFIX = re.compile(r"^[0-9a-f]{12,}$")

# A living task first: a stopped one may have had the same address.
_BY_LIFE = (
    frozenset({Phase.PENDING, Phase.RUNNING, Phase.UNKNOWN}),
    frozenset({Phase.LEAVING}),
    frozenset({Phase.STOPPED}),
)


def match(host: str, workers: Sequence[Worker]) -> tuple[Worker, ...]:
    """Return the workers that ``host`` names: usually one, none when nobody knows it, several when unclear.

    The surest sign wins; among equal signs a living worker wins over one that is gone.
    """
    name = host.strip().lower()
    if not name:
        return ()
    for sign in (_by_task_id, _by_address, _by_ip_name, _by_dns_name, _by_runtime_id):
        named = sign(name)
        found = [worker for worker in workers if named(worker)]
        for phases in _BY_LIFE:
            alive = tuple(worker for worker in found if worker.phase in phases)
            if alive:
                return alive
    return ()


def _by_task_id(name: str) -> Callable[[Worker], bool]:
    found = _TASK_ID.match(name)
    return lambda worker: found is not None and worker.task_id == found["id"]


def _by_address(name: str) -> Callable[[Worker], bool]:
    return lambda worker: name in worker.addresses


def _by_ip_name(name: str) -> Callable[[Worker], bool]:
    found = _IP_NAME.match(name)
    return lambda worker: found is not None and ".".join(found.groups()) in worker.addresses


def _by_dns_name(name: str) -> Callable[[Worker], bool]:
    return lambda worker: name in (known.lower() for known in worker.dns_names)


def _by_runtime_id(name: str) -> Callable[[Worker], bool]:
    is_id = _RUNTIME_PREFIX.match(name) is not None
    return lambda worker: is_id and any(known.startswith(name) for known in worker.runtime_ids)
