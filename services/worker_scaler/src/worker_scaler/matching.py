"""Which ECS task is the host that Airflow names? Pure.

``task_instance.hostname`` is what the worker's ``[core] hostname_callable`` returned. On ECS that is one of:
the task id (also ``<task id>-<digits>``, where the VPC gives no DNS names), an IP address, the ENI's private
DNS name ``ip-a-b-c-d.<domain>``, or in bridge mode the first 12 characters of the container's runtime id.
A worker with an agent says its host name itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from worker_scaler.model import Phase, Worker

_TASK_ID = re.compile(r"^(?P<id>[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-\d+)?$")
_IP_NAME = re.compile(r"^ip-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})(?:\..*)?$")
_RUNTIME_PREFIX = re.compile(r"^[0-9a-f]{12,}$")
_SHORT_ID = 12

# A living task first: a stopped one may have had the same address.
_BY_LIFE = (
    frozenset({Phase.PENDING, Phase.RUNNING, Phase.UNKNOWN}),
    frozenset({Phase.LEAVING}),
    frozenset({Phase.STOPPED}),
)


class Directory:
    """The workers of one sighting, by everything that may name them: built once, asked per host."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._by_agent: defaultdict[str, list[Worker]] = defaultdict(list)
        self._by_task_id: defaultdict[str, list[Worker]] = defaultdict(list)
        self._by_address: defaultdict[str, list[Worker]] = defaultdict(list)
        self._by_dns_name: defaultdict[str, list[Worker]] = defaultdict(list)
        self._by_short_id: defaultdict[str, list[Worker]] = defaultdict(list)
        for worker in workers:
            self._by_task_id[worker.task_id].append(worker)
            if worker.agent is not None and worker.agent.hostname:
                self._by_agent[worker.agent.hostname.lower()].append(worker)
            for address in worker.addresses:
                self._by_address[address].append(worker)
            for name in worker.dns_names:
                self._by_dns_name[name.lower()].append(worker)
            for known in worker.runtime_ids:
                self._by_short_id[known[:_SHORT_ID]].append(worker)

    def named(self, host: str) -> tuple[Worker, ...]:
        """Return the workers that ``host`` names: usually one, none when nobody knows it, several if unclear.

        The surest sign wins; among equal signs a living worker wins over one that is gone.
        """
        name = host.strip().lower()
        if not name:
            return ()
        for found in self._signs(name):
            for phases in _BY_LIFE:
                alive = tuple(worker for worker in found if worker.phase in phases)
                if alive:
                    return alive
        return ()

    def _signs(self, name: str) -> Iterator[Sequence[Worker]]:
        """Yield whom each sign names, the surest first."""
        if task_id := _TASK_ID.match(name):
            yield self._by_task_id.get(task_id["id"], ())
        yield self._by_agent.get(name, ())
        yield self._by_address.get(name, ())
        if ip_name := _IP_NAME.match(name):
            yield self._by_address.get(".".join(ip_name.groups()), ())
        yield self._by_dns_name.get(name, ())
        if _RUNTIME_PREFIX.match(name):
            yield [
                worker
                for worker in self._by_short_id.get(name[:_SHORT_ID], ())
                if any(known.startswith(name) for known in worker.runtime_ids)
            ]


def match(host: str, workers: Iterable[Worker]) -> tuple[Worker, ...]:
    """Return whom one host names (see :meth:`Directory.named`)."""
    return Directory(workers).named(host)
