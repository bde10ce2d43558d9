"""Faults that a test asks for: which call is hit by what, and how often.

A fault is a JSON object with ``service`` and ``kind``, and if need be ``action`` (else all), ``probability``
(else always), ``count`` (else for ever), and what belongs to its kind:

- ``throttle``: the service's own throttling error;
- ``error``: an internal error, or ``code`` and ``status`` when given;
- ``latency``: the answer comes ``seconds`` later;
- ``partial``: ``fraction`` of the records of a PutRecordBatch are turned away, at least one;
- ``disconnect``: the connection closes before anything happened;
- ``answer_lost``: it happened, and then the connection closes without the answer.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from local_cloud.call import Call, Refusal

# What each service says when it throttles; the others say ThrottlingException.
# https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_THROTTLING = {
    "firehose": Refusal(code="ServiceUnavailableException", message="Slow down.", status=500),
    "s3": Refusal(code="SlowDown", message="Please reduce your request rate.", status=503),
    "sqs": Refusal(code="RequestThrottled", message="Rate exceeded", status=400),
}
_THROTTLING_ELSEWHERE = Refusal(code="ThrottlingException", message="Rate exceeded", status=400)


class Kind(StrEnum):
    """What happens to a call that is hit."""

    THROTTLE = "throttle"
    ERROR = "error"
    LATENCY = "latency"
    PARTIAL = "partial"
    DISCONNECT = "disconnect"
    ANSWER_LOST = "answer_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble for one kind of call.

    Attributes:
        service: signing name, such as ``sqs``.
        action: such as ``SendMessage``, or ``*``.
        kind: what happens.
        probability: of hitting a call that matches.
        count: how many calls it hits before it is over; None is for ever.
        seconds: how late the answer is, for ``latency``.
        fraction: of the records, for ``partial``.
        code: error code, for ``error``.
        status: HTTP status, for ``error``.
    """

    service: str
    kind: Kind
    action: str = "*"
    probability: float = 1.0
    count: int | None = None
    seconds: float = 0.0
    fraction: float = 0.0
    code: str = "InternalFailure"
    status: int = 500

    @classmethod
    def from_json(cls, found: object) -> Fault:
        """Read one fault.

        Raises:
            ValueError: it is none; the text says why.
        """
        if not isinstance(found, dict):
            raise ValueError(f"a fault is a JSON object, not {found!r}")  # noqa: TRY004  # what the caller sent
        try:
            fault = cls(**{**found, "kind": Kind(found.get("kind", ""))})
            if not 0 < fault.probability <= 1 or not 0 <= fault.fraction <= 1 or fault.seconds < 0:
                raise ValueError("probability and fraction lie between 0 and 1, seconds are not negative")
        except TypeError as err:
            raise ValueError(f"{found!r}: {err}") from err
        if (fault.kind is Kind.PARTIAL) != (fault.fraction > 0):
            raise ValueError(f"{found!r}: 'fraction' goes with kind 'partial', and must be above 0 there")
        if fault.kind is Kind.PARTIAL and (fault.service, fault.action) != ("firehose", "PutRecordBatch"):
            raise ValueError(f"{found!r}: only firehose PutRecordBatch fails partially here")
        return fault

    def matches(self, call: Call) -> bool:
        """Whether it is meant for this call."""
        return self.service == call.service and self.action in {"*", call.action}

    def refusal(self) -> Refusal:
        """The error of a ``throttle`` or ``error``."""
        if self.kind is Kind.THROTTLE:
            return _THROTTLING.get(self.service, _THROTTLING_ELSEWHERE)
        code = "InternalError" if self.service == "s3" and self.code == "InternalFailure" else self.code
        message = "We encountered an internal error. Please try again."
        return Refusal(code=code, message=message, status=self.status)

    def failing(self, records: int, *, dice: random.Random) -> set[int]:
        """Which of so many records a ``partial`` turns away: anywhere among them, as on AWS."""
        return set(dice.sample(range(records), min(records, max(1, math.floor(records * self.fraction)))))


class FaultBoard:
    """The faults in force and the count of calls; safe for threads."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, int | None]] = []
        self._calls: Counter[tuple[str, str]] = Counter()

    def add(self, faults: Sequence[Fault]) -> None:
        """Put more faults in force, after those that are."""
        with self._lock:
            self._faults += [(fault, fault.count) for fault in faults]

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._faults.clear()

    def in_force(self) -> list[dict[str, Any]]:
        """The faults, ``count`` being how many hits are left."""
        with self._lock:
            return [{**asdict(fault), "count": left} for fault, left in self._faults]

    def calls(self) -> dict[str, dict[str, int]]:
        """How often each action of each service was called, faults included."""
        with self._lock:
            counted: dict[str, dict[str, int]] = {}
            for (service, action), number in sorted(self._calls.items()):
                counted.setdefault(service, {})[action] = number
            return counted

    def hit(self, call: Call) -> list[Fault]:
        """Count the call, and say which faults hit it."""
        hitting = []
        with self._lock:
            self._calls[call.service, call.action] += 1
            for index, (fault, left) in enumerate(self._faults):
                if not fault.matches(call) or left == 0 or self._dice.random() >= fault.probability:
                    continue
                hitting.append(fault)
                if left is not None:
                    self._faults[index] = (fault, left - 1)
        return hitting
