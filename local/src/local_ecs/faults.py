"""Faults put in on purpose: throttling, server errors, slowness, partial answers.

Pure: chance comes from the dice that are handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from local_ecs.errors import InvalidParameterError, ServerError, ThrottledError
from local_ecs.model import Dice, JsonObject
from local_ecs.request import Request

T = TypeVar("T")
ANY_ACTION = "*"
PARTIAL_REASON = "MISSING"


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"  # ThrottlingException, nothing is done
    ERROR = "error"  # ServerException with status 500, nothing is done
    LATENCY = "latency"  # the answer comes ``seconds`` later
    PARTIAL = "partial"  # every other thing asked for is in ``failures``


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule.

    Attributes:
        action: the API action it strikes; ``*`` is every one.
        probability: how likely it strikes a request, 0 to 1.
        count: how many more requests it strikes; None is without end.
        seconds: the delay of LATENCY.
    """

    action: str
    kind: FaultKind
    probability: float = 1.0
    count: int | None = None
    seconds: float = 0.0


def parse(document: JsonObject) -> Fault:
    """Read one fault from JSON ``{"action", "kind", "probability"|"count", "seconds"}``.

    Raises:
        InvalidParameterError: the text says which member is wrong.
    """
    request = Request(document)
    unknown = sorted(set(document) - {"action", "kind", "probability", "count", "seconds"})
    if unknown:
        raise InvalidParameterError(f"A fault has no member {', '.join(unknown)}.")
    kinds = [kind.value for kind in FaultKind]
    kind = request.required_text("kind")
    if kind not in kinds:
        raise InvalidParameterError(f"kind must be one of {', '.join(kinds)}, not {kind!r}.")
    probability, seconds = document.get("probability", 1.0), document.get("seconds", 0.0)
    for name, value, most in (("probability", probability, 1.0), ("seconds", seconds, 3600.0)):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
            raise InvalidParameterError(f"{name} must be a number from 0 to {most:g}, not {value!r}.")
    count = request.number("count", 0, at_least=1, at_most=1_000_000) if request.has("count") else None
    action = request.text("action") or ANY_ACTION
    return Fault(action=action, kind=FaultKind(kind), probability=probability, count=count, seconds=seconds)


class Faults:
    """The faults in force."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._faults: list[Fault] = []

    @property
    def in_force(self) -> Sequence[Fault]:
        """The faults that can still strike."""
        return tuple(self._faults)

    def add(self, faults: Sequence[Fault]) -> None:
        """Put faults in force, beside those that are."""
        self._faults.extend(faults)

    def clear(self) -> None:
        """Take all faults off."""
        self._faults.clear()

    def latency_seconds(self, action: str) -> float:
        """Return how much later the answer to this request is to come."""
        return sum(fault.seconds for fault in self._strike(action, FaultKind.LATENCY))

    def refuse(self, action: str) -> None:
        """Let a request fail when it is struck.

        Raises:
            ThrottledError: struck by THROTTLE.
            ServerError: struck by ERROR.
        """
        if self._strike(action, FaultKind.THROTTLE):
            raise ThrottledError("Rate exceeded")
        if self._strike(action, FaultKind.ERROR):
            raise ServerError("Service Unavailable. Please try again later.")

    def split(self, action: str, wanted: Sequence[T]) -> tuple[list[T], list[T]]:
        """Divide what a request asks for into what it gets and what fails: the first, third, fifth ..."""
        if self._strike(action, FaultKind.PARTIAL):
            return list(wanted[1::2]), list(wanted[0::2])
        return list(wanted), []

    def _strike(self, action: str, kind: FaultKind) -> list[Fault]:
        struck: list[Fault] = []
        left: list[Fault] = []
        for fault in self._faults:
            fits = fault.kind is kind and fault.action in {action, ANY_ACTION}
            strikes = fits and (fault.probability >= 1 or self._dice.random() < fault.probability)
            if strikes:
                struck.append(fault)
            if not strikes or fault.count is None:
                left.append(fault)
            elif fault.count > 1:
                left.append(replace(fault, count=fault.count - 1))
        self._faults = left
        return struck
