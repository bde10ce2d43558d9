"""When the ECS task is protected from scale-in, and what may begin meanwhile. No I/O, no clock.

Rule 1 of docs/adr/0004: work begins only under a protection that ECS confirmed. When there is none to be had:

- ECS says no (a missing permission, ``DEPLOYMENT_BLOCKED``): what came goes back, and the worker asks for
  nothing more until ECS says yes;
- nobody answers (a dead agent endpoint): what came goes back within seconds, once, so that a healthy worker
  can take it; then this worker works without protection, says so, and goes on asking for it (docs/adr/0033).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

ATTEMPTS_BEFORE_GIVING_BACK = 2
PAUSE_SECONDS = 2.0  # for others to take what was given back
RETRY_SECONDS = 0.3
PROBE_FIRST_SECONDS = 5.0
PROBE_LONGEST_SECONDS = 60.0
SAFETY_SECONDS = 60.0  # a protection that ends sooner does not cover the beginning of a task

Wanted = Literal["add", "remove", "nothing"]


class Verdict(Enum):
    """What to do with a message that waits to begin."""

    BEGIN = "begin"
    HOLD = "hold"
    GIVE_BACK = "give back"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """ECS confirmed the protection until then (wall clock)."""

    until: float


@dataclass(frozen=True, slots=True)
class Removed:
    """ECS confirmed that the protection is off."""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The task cannot be scaled in, so it needs no protection (it belongs to no service)."""

    why: str


@dataclass(frozen=True, slots=True)
class Denied:
    """ECS said no."""

    why: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody answered in time."""

    why: str


Answer = Confirmed | Removed | NotApplicable | Denied | Unreachable


class Protection:
    """What is known about the task's protection, and what to ask of ECS next.

    Args:
        lifetime_seconds: for how long ECS is asked; renewed at half of it.
        release_after_seconds: idle for so long, without an order, it is taken off.
        is_applicable: False outside ECS: then everything may begin.
    """

    def __init__(self, *, lifetime_seconds: float, release_after_seconds: float, is_applicable: bool) -> None:
        self._lifetime_seconds = lifetime_seconds
        self._release_after_seconds = release_after_seconds
        self.is_applicable = is_applicable
        self.until: float | None = None
        self.problem: Denied | Unreachable | None = None
        self._asked: Wanted = "nothing"
        self._failures = 0
        self._retry_at = 0.0
        self._paused_until = 0.0
        self._has_given_back = False
        self._idle_since: float | None = None

    def verdict(self, wall: float) -> Verdict:
        """Whether a message may begin."""
        if not self.is_applicable or self._covers(wall):
            return Verdict.BEGIN
        if self.problem is None or self._failures < ATTEMPTS_BEFORE_GIVING_BACK:
            return Verdict.HOLD
        if isinstance(self.problem, Unreachable) and self._has_given_back:
            return Verdict.BEGIN
        return Verdict.GIVE_BACK

    def gave_back(self, now: float) -> None:
        """Messages went back for want of protection: leave others the time to take them."""
        if not self._has_given_back:
            self._paused_until = now + PAUSE_SECONDS
        self._has_given_back = True

    def may_ask_for_work(self, now: float, wall: float) -> bool:
        """Whether SQS may be asked for messages at all."""
        if not self.is_applicable or self._covers(wall):
            return True
        if isinstance(self.problem, Denied) and self._failures >= ATTEMPTS_BEFORE_GIVING_BACK:
            return False
        return now >= self._paused_until

    def is_unprotected_work_allowed(self, wall: float) -> bool:
        """Whether what begins now begins without protection, because nobody answers."""
        return self.is_applicable and not self._covers(wall) and self.verdict(wall) is Verdict.BEGIN

    def next(self, *, now: float, wall: float, is_busy: bool, has_order: bool) -> Wanted:
        """Return what to ask of ECS now; the caller asks, and reports with :meth:`answered`."""
        if not self.is_applicable or self._asked != "nothing":
            return "nothing"
        if is_busy or self.problem is not None:
            self._idle_since = None
            is_due = self._left(wall) <= self._lifetime_seconds / 2
            wanted: Wanted = "add" if is_due and now >= self._retry_at else "nothing"
        else:
            wanted = self._when_idle(now=now, has_order=has_order)
        self._asked = wanted
        return wanted

    def _when_idle(self, *, now: float, has_order: bool) -> Wanted:
        if self._idle_since is None:
            self._idle_since = now
        if has_order:
            self.forget()  # under an order the scaler may take it off at any time: from here on it is unknown
            return "nothing"
        is_long_enough = now - self._idle_since >= self._release_after_seconds
        if self.until is None or not is_long_enough or now < self._retry_at:
            return "nothing"
        self.until = None  # a message that comes from here on waits for a new confirmation
        return "remove"

    def forget(self) -> None:
        """What ECS confirmed may no longer be so; the next work needs a new confirmation."""
        self.until = None

    def answered(self, answer: Answer, *, now: float, wall: float) -> None:
        """Take what ECS said to what was asked."""
        asked, self._asked = self._asked, "nothing"
        match answer:
            case Confirmed(until=until):
                if asked == "add":
                    self.until = until
                self._recovered()
            case Removed():
                self._recovered()
            case NotApplicable():
                self.is_applicable = False
                self._recovered()
            case Denied() | Unreachable():
                if asked == "remove":
                    self._retry_at = now + PROBE_FIRST_SECONDS  # it lapses by itself in any case
                    return
                self._failed(answer, now=now, wall=wall)

    def _recovered(self) -> None:
        self.problem = None
        self._failures = 0
        self._retry_at = 0.0
        self._paused_until = 0.0
        self._has_given_back = False

    def _failed(self, problem: Denied | Unreachable, *, now: float, wall: float) -> None:
        self.problem = problem
        self._failures += 1
        late = self._failures - ATTEMPTS_BEFORE_GIVING_BACK
        if late < 0 and not self._covers(wall):
            self._retry_at = now + RETRY_SECONDS
        else:
            self._retry_at = now + min(PROBE_FIRST_SECONDS * 2 ** max(late, 0), PROBE_LONGEST_SECONDS)

    def _left(self, wall: float) -> float:
        return 0.0 if self.until is None else self.until - wall

    def _covers(self, wall: float) -> bool:
        return self._left(wall) > SAFETY_SECONDS
