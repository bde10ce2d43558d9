"""What is on disk, as a value. Pure; :mod:`dags_agent.disk` and :mod:`dags_agent.in_place` look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dags_agent.manifest import Manifest
from dags_agent.steps import Leftover


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is on disk.

    Attributes:
        live: the release that ``current`` names; None before the first.
        manifest: of the live release; None before the first.
        former: where there is no live release, the manifest of the newest on disk: somebody may have removed
            ``current``, so what a listing lacks is counted against that.
        damaged: paths of the live release that are absent, or not what the manifest says.
        foreign: what lies in the live release and was not published there: a planted link, a stray file.
        leased: releases that a reader holds (docs/adr/0020).
        releases: the whole releases, live or not, with the fingerprint of those newer than the live one;
            None where it is older, its manifest cannot be read, or its tree is not what that says.
        ahead: the release for whose successor this process has made links; None for none.
        superseded: when each release lost its place to another, where that is known.
        leftovers: of killed runs.
    """

    live: str | None = None
    manifest: Manifest | None = None
    former: Manifest | None = None
    damaged: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    leased: frozenset[str] = frozenset()
    ahead: str | None = None
    releases: Mapping[str, str | None] = field(default_factory=dict)
    superseded: Mapping[str, datetime] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
