"""Which releases nobody can need any more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise

from dags_agent.manifest import published_at
from dags_agent.policy import Policy


def to_retire(
    releases: set[str],
    live: str,
    superseded: Mapping[str, datetime],
    policy: Policy,
    *,
    now: datetime,
    leased: frozenset[str] = frozenset(),
) -> list[str]:
    """Return the releases that nobody can need: not live, leased or among the newest, replaced long ago.

    Where it is not known when a release was replaced, its successor's publish time stands in.
    """
    by_age = sorted(releases)
    newest = by_age[-policy.keep_releases :]
    retired = []
    for release, successor in pairwise(by_age):
        replaced_at = superseded.get(release, published_at(successor))
        is_needed = release == live or release in leased or release in newest
        if not is_needed and now - replaced_at >= policy.keep:
            retired.append(release)
    return retired
