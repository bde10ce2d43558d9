"""The cache: fresh from the nearest level, else from Parameter Store, else stale while nobody answers."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence

from airflow_ecs.parameter_cache.entry import Entry
from airflow_ecs.parameter_cache.errors import OUTAGES
from airflow_ecs.parameter_cache.levels import Level, MemoryLevel, ProcessLevel
from airflow_ecs.parameter_cache.parameter_store import Source
from airflow_ecs.parameter_cache.settings import CacheSettings

_log = logging.getLogger(__name__)
_JITTER = 0.2
_ALONE_SECONDS = 5.0
_RETRY_SECONDS = 30.0  # after an outage was met, this process asks again


class ParameterCache:
    """Parameters of one account and region. For the threads of one process; make a new one after a fork.

    Args:
        source: who knows.
        memory: shared with other processes, if there is one.
        distant: shared with other containers, if there is one.
        now: seconds since 1970.
        rng: for the jitter.
    """

    def __init__(
        self,
        settings: CacheSettings,
        source: Source,
        *,
        memory: MemoryLevel | None,
        distant: Level | None,
        now: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._source = source
        self._memory = memory
        self._levels: tuple[Level, ...] = tuple(
            level for level in (ProcessLevel(), memory, distant) if level is not None
        )
        self._now = now
        self._rng = rng
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}

    def get(self, name: str) -> str | None:
        """Return a parameter's value; None when there is none.

        Raises:
            ParameterError: of the kind that says why it cannot be had.
        """
        entry = self._fresh(name, self._levels[:1])
        if entry is None:
            with self._one_at_a_time(name):
                entry = self._fresh(name, self._levels) or self._asked(name)
        return entry.value

    def get_many(self, names: Sequence[str]) -> dict[str, str]:
        """Return the values of those that exist; what is not fresh is asked for ten at a time."""
        found = {name: self._fresh(name, self._levels) for name in names}
        missing = [name for name, entry in found.items() if entry is None]
        if missing:
            try:
                answers = self._source.ask(missing)
            except OUTAGES:
                found.update({name: self._asked(name) for name in missing})
            else:
                found.update({name: self._remember(name, answers.get(name)) for name in missing})
        return {
            name: entry.value
            for name, entry in found.items()
            if entry is not None and entry.value is not None
        }

    def _asked(self, name: str) -> Entry:
        try:
            answer = self._source.ask([name])
        except OUTAGES as err:
            known = [entry for level in self._levels if (entry := level.read(name)) is not None]
            usable = [
                entry
                for entry in known
                if entry.may_stand_in(self._now(), self._settings.stale_if_error_seconds)
            ]
            if not usable:
                raise
            newest = max(usable, key=lambda entry: entry.fetched_at)
            _log.warning(
                "parameter %r is answered with what was known %d s ago: %s",
                name,
                self._now() - newest.fetched_at,
                err,
            )
            return self._for_now(name, newest)
        return self._remember(name, answer.get(name))

    def _remember(self, name: str, value: str | None) -> Entry:
        ttl = self._settings.negative_ttl_seconds if value is None else self._settings.ttl_seconds
        now = self._now()
        entry = Entry(value=value, fetched_at=now, fresh_until=now + ttl * (1 - _JITTER * self._rng.random()))
        for level in self._levels:
            level.write(name, entry)
        return entry

    def _for_now(self, name: str, entry: Entry) -> Entry:
        """Hold what stands in, in this process alone, so that an outage is not asked at once again."""
        until = self._now() + _RETRY_SECONDS * (1 - _JITTER * self._rng.random())
        held = Entry(value=entry.value, fetched_at=entry.fetched_at, fresh_until=until)
        self._levels[0].write(name, held)
        return held

    def _fresh(self, name: str, levels: Sequence[Level]) -> Entry | None:
        for number, level in enumerate(levels):
            entry = level.read(name)
            if entry is not None and entry.is_fresh(self._now()):
                for nearer in levels[:number]:
                    nearer.write(name, entry)
                return entry
        return None

    @contextlib.contextmanager
    def _one_at_a_time(self, name: str) -> Iterator[None]:
        with self._lock:
            asking = self._asking.setdefault(name, threading.Lock())
        with asking, contextlib.ExitStack() as stack:
            if self._memory is not None:
                stack.enter_context(self._memory.alone(name, deadline_seconds=_ALONE_SECONDS))
            yield
