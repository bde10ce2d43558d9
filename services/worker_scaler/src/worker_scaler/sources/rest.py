"""The queue depth from Airflow's REST API v2: for who may not reach the database.

Several requests are no snapshot. So what is queued is read before what runs: a task that starts in between
is counted twice, never missed. And each page of the running tasks begins with the last row of the page
before: a row that ended in between shows, and the pages are read again. Callbacks and connection tests are
not in the API.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.clock import Clock
from sidecar.errors import Transient
from worker_scaler.model import QueueDepth, Reading, RunningTask
from worker_scaler.sources.facts import Meaning
from worker_scaler.sources.rest_client import Page, RestClient

PAGE_ROWS = 100
"""``[api] maximum_page_limit``: more are not given."""

_PATH = "/dags/~/dagRuns/~/taskInstances"
_ATTEMPTS = 3
_TOLERATED_SKEW = timedelta(seconds=5)

Row = Mapping[str, Any]


class RestSource:
    """Reads task instances over HTTP. Blocking: call it in a thread.

    Args:
        queues: of all fleets; a long queue of one of them is counted, not listed.
        meaning: which executors are Celery's.
    """

    def __init__(self, client: RestClient, *, queues: Iterable[str], meaning: Meaning, clock: Clock) -> None:
        self._client = client
        self._queues = tuple(dict.fromkeys(queues))
        self._meaning = meaning
        self._clock = clock

    def read(self) -> Reading:
        """Return one look at all queues of Celery executors.

        Raises:
            ConfigError: login refused, not allowed, no such API; a retry cannot help.
            Transient: no answer in time, or tasks came and went faster than they could be listed.
        """
        self._client.begin()
        now = self._clock.now()
        waiting, at = self._waiting()
        held = self._running()
        running = self._ours(held)
        ours = {row["id"] for row in running}
        depths: dict[str, QueueDepth] = defaultdict(QueueDepth, waiting)
        for queue, rows in _by_queue(running).items():
            depths[queue] = depths[queue].plus(_held(rows))
        # The API tells no time but its own answers': an old answer out of a cache is an old reading.
        return Reading(
            taken_at=min(now, at + _TOLERATED_SKEW),
            queues=dict(depths),
            other_busy_hosts=Counter(row["hostname"] or "" for row in held if row["id"] not in ours),
            running_tasks=tuple(_task(row) for row in running),
        )

    def close(self) -> None:
        """Close the connection; the next reading opens another."""
        self._client.close()

    def _waiting(self) -> tuple[dict[str, QueueDepth], datetime]:
        """Return what is queued, by queue, and the server's time."""
        first = self._page([("state", "queued")])
        rows, at = _rows(first), first.at
        found = {queue: _queued(of_queue, at) for queue, of_queue in _by_queue(self._ours(rows)).items()}
        if _total(first) > len(rows):
            # Other queues keep what was seen of them: enough to name them as orphans.
            found |= {queue: self._counted(queue) for queue in self._queues}
        return {queue: depth for queue, depth in found.items() if depth.queued}, at

    def _counted(self, queue: str) -> QueueDepth:
        """Count one queue: its total without what other executors have there."""
        query = [("state", "queued"), ("queue", queue)]
        page = self._page(query)
        rows = _rows(page)
        depth = _queued(self._ours(rows), page.at)
        if _total(page) == len(rows):
            return depth
        others = {str(row["executor"]) for row in rows} - {str(row["executor"]) for row in self._ours(rows)}
        foreign = sum(_total(self._page([*query, ("executor", name)], rows=1)) for name in sorted(others))
        return QueueDepth(
            queued=max(depth.queued, _total(page) - foreign),
            oldest_queued_age_seconds=depth.oldest_queued_age_seconds,
        )

    def _running(self) -> list[Row]:
        for _ in range(_ATTEMPTS):
            rows = self._listed([("state", "running"), ("state", "restarting"), ("order_by", "id")])
            if rows is not None:
                return rows
        raise Transient(
            "The running tasks could not be listed",
            why="they came and went while Airflow's API listed them",
            remedy="Nothing is changed; with thousands of running tasks use the database source",
        )

    def _listed(self, query: Sequence[tuple[str, object]]) -> list[Row] | None:
        """Return all rows, or None when the list moved while it was read."""
        page = self._page(query)
        rows = _rows(page)
        while len(rows) < _total(page):
            page = self._page([*query, ("offset", len(rows) - 1)])
            more = _rows(page)
            if not more or more[0]["id"] != rows[-1]["id"]:
                return None
            if len(more) == 1:
                return None
            rows += more[1:]
        return rows

    def _ours(self, rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if self._meaning.executors.run_on_celery(row["executor"])]

    def _page(self, query: Sequence[tuple[str, object]], *, rows: int = PAGE_ROWS) -> Page:
        return self._client.get(_PATH, [*query, ("limit", rows)])


def _rows(page: Page) -> list[Row]:
    rows = page.document.get("task_instances")
    needed = {
        "id",
        "queue",
        "state",
        "hostname",
        "executor",
        "queued_when",
        "dag_id",
        "task_id",
        "start_date",
    }
    if not isinstance(rows, list) or not all(isinstance(row, dict) and needed <= row.keys() for row in rows):
        raise Transient("Airflow's API gave no usable list of task instances", why="members are missing")
    return rows


def _total(page: Page) -> int:
    total = page.document.get("total_entries")
    if not isinstance(total, int):
        raise Transient("Airflow's API gave no usable list of task instances", why="it has no total_entries")
    return total


def _by_queue(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["queue"] or ""].append(row)
    return found


def _queued(rows: Sequence[Row], at: datetime) -> QueueDepth:
    since = [then for row in rows if (then := _time(row["queued_when"])) is not None]
    oldest = max(0.0, (at - min(since)).total_seconds()) if since else None
    return QueueDepth(queued=len(rows), oldest_queued_age_seconds=oldest)


def _held(rows: Sequence[Row]) -> QueueDepth:
    states = Counter(row["state"] for row in rows)
    return QueueDepth(
        running=states["running"],
        restarting=states["restarting"],
        busy_hosts=Counter(row["hostname"] or "" for row in rows),
    )


def _task(row: Row) -> RunningTask:
    return RunningTask(
        host=row["hostname"] or "",
        queue=row["queue"] or "",
        dag_id=row["dag_id"],
        task_id=row["task_id"],
        started_at=_time(row["start_date"]),
    )


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Transient(
            "Airflow's API gave no usable list of task instances", why=f"{value[:40]!r} is no time"
        ) from None
