"""What the operator wants, as a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator wants (see :class:`dags_agent.settings.DagsAgentSettings`).

    Attributes:
        may_delete_all: whether somebody said ``--allow-delete``: no number of deletions is refused.
        prepares_ahead: whether this process lives to use the links that it makes for the next release.
    """

    max_delete_fraction: float
    keep_releases: int
    keep: timedelta
    must_compile: bool
    may_delete_all: bool = False
    prepares_ahead: bool = False
