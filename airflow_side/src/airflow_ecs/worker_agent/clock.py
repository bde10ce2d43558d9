"""The only place of the agent that asks for the time."""

from __future__ import annotations

import calendar
import time

_ISO = "%Y-%m-%dT%H:%M:%SZ"

monotonic = time.monotonic


def epoch() -> float:
    """Return the wall clock, in seconds since 1970 (for people and other machines; never subtracted)."""
    return time.time()  # noqa: TID251  # the one clock of a package that has no settings object to inject one


def to_iso(moment: float | None) -> str | None:
    """Write an epoch as ``2026-11-22T12:00:00Z``; None stays None."""
    return None if moment is None else time.strftime(_ISO, time.gmtime(moment))


def from_iso(text: str) -> float:
    """Read ``2026-11-22T12:00:00Z``, with or without fractions of a second.

    Raises:
        ValueError: it is no such moment.
    """
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = calendar.timegm(time.strptime(f"{whole}Z", _ISO))
    return seconds + (float(f"0.{fraction}") if fraction else 0.0)
