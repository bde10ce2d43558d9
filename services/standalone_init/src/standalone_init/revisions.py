"""Alembic's graph of revisions, as far as it takes to say how far behind a database is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The revisions of one migration environment (Airflow's core, or FAB).

    Attributes:
        parents: each revision and the ones directly below it; none for the first.
    """

    parents: Mapping[str, tuple[str, ...]]

    @property
    def heads(self) -> frozenset[str]:
        """The revisions that nothing builds on."""
        return frozenset(self.parents) - {below for parents in self.parents.values() for below in parents}

    def unknown(self, revisions: Iterable[str]) -> frozenset[str]:
        """Return those of ``revisions`` that are not in this chain."""
        return frozenset(revisions) - frozenset(self.parents)

    def pending(self, revisions: Iterable[str]) -> int:
        """Return how many revisions lie between ``revisions`` and the heads; all of them from nothing."""
        return len(self._reached(self.heads) - self._reached(revisions))

    def _reached(self, revisions: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        ahead = list(revisions)
        while ahead:
            revision = ahead.pop()
            if revision not in reached:
                reached.add(revision)
                ahead.extend(self.parents.get(revision, ()))
        return reached
