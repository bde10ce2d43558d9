"""Keeps leases alive for as long as a process reads their releases, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from airflow_ecs.releases.leases import Leases

_log = logging.getLogger(__name__)


class Keeping:
    """The releases that this process needs; renewed until it ends. Not for use across a fork.

    Args:
        leases: where they are written.
        renew_seconds: well below half of a lease's life.
    """

    def __init__(self, leases: Leases, *, renew_seconds: float) -> None:
        self._leases = leases
        self._renew_seconds = renew_seconds
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self.may_write = True

    @property
    def held(self) -> frozenset[str]:
        """What is held now."""
        with self._lock:
            return frozenset(self._held)

    def take(self, release_id: str) -> bool:
        """Hold a release from now on; False when it is gone.

        A mount that cannot be written is told once, and no reason to stop: then DAGS_AGENT_KEEP_HOURS is the
            lease.
        """
        try:
            is_there = self._leases.take(release_id)
        except OSError as err:
            self._tell(err)
            return True
        if is_there:
            with self._lock:
                self._held.add(release_id)
                self._start()
        return is_there

    def hold_exactly(self, wanted: Iterable[str]) -> frozenset[str]:
        """Hold these and no others; return those that are gone."""
        wished = frozenset(wanted)
        for release_id in self.held - wished:
            self.drop(release_id)
        return frozenset(release_id for release_id in wished - self.held if not self.take(release_id))

    def drop(self, release_id: str) -> None:
        """Hold it no longer."""
        with self._lock:
            self._held.discard(release_id)
        self._leases.drop(release_id)

    def renew(self) -> None:
        """Write every lease again; what fails is told once and tried with the next round."""
        for release_id in self.held:
            try:
                self._leases.renew(release_id)
            except OSError as err:
                self._tell(err)
            else:
                self.may_write = True

    def end(self) -> None:
        """Drop all leases; the thread ends."""
        self._ended.set()
        for release_id in self.held:
            self.drop(release_id)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="release-leases", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._renew_seconds):
            self.renew()

    def _tell(self, err: OSError) -> None:
        if self.may_write:
            self.may_write = False
            _log.warning(
                "no lease can be written on a release (%s): it is kept by DAGS_AGENT_KEEP_HOURS alone,"
                " which must be"
                " longer than the longest DAG run. Or mount .dags-agent/leases writable",
                err,
            )
