"""``worker-scaler check``: what a run would stumble over, found without changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sidecar.app import Finding
from sidecar.errors import SidecarError
from worker_scaler.checks.findings import problem
from worker_scaler.checks.queues import queue_findings
from worker_scaler.checks.service import ServiceCheck
from worker_scaler.checks.source import source_findings
from worker_scaler.lease import NoLease

if TYPE_CHECKING:
    from sidecar.postgres import Database
    from worker_scaler.lease import Lease
    from worker_scaler.model import Fleet
    from worker_scaler.ports import Source
    from worker_scaler.settings import WorkerScalerSettings
    from worker_scaler.sources.sqs import SqsQueues


class Doctor:
    """Looks at the source, the lease, the queues and each service.

    Args:
        database: for its rights; None when the source is none.
        lease: asked for and let go again; a running scaler that has it is fine.
    """

    def __init__(
        self,
        *,
        settings: WorkerScalerSettings,
        fleets: Sequence[Fleet],
        services: ServiceCheck,
        source: Source,
        database: Database | None,
        lease: Lease,
        queues: SqsQueues | None,
    ) -> None:
        self._settings = settings
        self._fleets = fleets
        self._services = services
        self._source = source
        self._database = database
        self._lease = lease
        self._queues = queues

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield one finding per thing looked at."""
        looks: list[Callable[[], Iterator[Finding]]] = [
            lambda: source_findings(self._settings, self._source, self._database, self._fleets),
            self._one_writer,
            lambda: queue_findings(self._settings, self._queues),
        ]
        for look in looks:
            for finding in await asyncio.to_thread(list, look()):
                yield finding
        for fleet in self._fleets:
            for finding in await asyncio.to_thread(list, self._services.findings(fleet)):
                yield finding

    def _one_writer(self) -> Iterator[Finding]:
        what = "one writer"
        if isinstance(self._lease, NoLease):
            yield Finding(
                what=what,
                verdict="warning",
                why="there is no lock: two copies would work against each other",
                remedy="Give it a database or WORKER_SCALER_LOCK_TABLE, or never run two copies",
            )
            return
        try:
            standing = self._lease.claim()
        except SidecarError as err:
            yield problem(what, err)
            return
        self._lease.release()
        why = "the lease is free" if standing.is_writer else f"held by {standing.holder}"
        yield Finding(what=what, verdict="ok", why=why)
