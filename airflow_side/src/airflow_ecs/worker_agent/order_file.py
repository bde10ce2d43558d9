"""An order in a file, for those who reach the container (ECS Exec) but not its port.

The file holds the body of ``PUT /v1/order``, and is in force for ``expires_seconds`` from when it was
written; removing it ends the order.
"""

from __future__ import annotations

import logging
from pathlib import Path

from airflow_ecs.worker_agent import orders

LOOK_EVERY_SECONDS = 1.0
_MAX_BYTES = 65_536

_log = logging.getLogger(__name__)


class OrderFile:
    """Watches a file; None watches nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._looked_at = float("-inf")
        self._written_at: float | None = None
        self._order: orders.Order | None = None

    def order(self, *, now: float, wall: float) -> orders.Order | None:
        """Return the order in force, looked up at most once a second."""
        if self._path is not None and now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            self._look(self._path, now, wall)
        return orders.in_force(self._order, now)

    def _look(self, path: Path, now: float, wall: float) -> None:
        try:
            written_at = path.stat().st_mtime
            if written_at == self._written_at:
                return
            with path.open("rb") as file:
                body = file.read(_MAX_BYTES)
        except OSError:
            self._written_at = self._order = None
            return
        self._written_at = written_at
        age = max(wall - written_at, 0.0)
        try:
            self._order = orders.take(orders.parse(body), now=now - age, wall=wall - age)
        except orders.BadOrderError as err:
            _log.warning("The order file %s is ignored, the order in force stays: %s", path, err)
