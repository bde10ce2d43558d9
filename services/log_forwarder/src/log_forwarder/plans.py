"""Which ranges each record on its way carries, on disk before it is first sent (ADR 0027).

After kill -9 the records that may have been accepted are made again from the same ranges, so that what
is repeated is repeated byte for byte and under the same id, and can be removed by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from log_forwarder.batching import Record
from log_forwarder.inputs.base import Range
from log_forwarder.state import State

Plan = tuple[tuple[Range, ...], ...]


class Plans:
    """The records on their way. Any thread.

    Args:
        state: where they are kept.
        settings: what the bytes of a record depend on beside the ranges: format, compression, rules. Plans
            of a process with other settings are void.
    """

    def __init__(self, state: State, settings: str) -> None:
        self._state = state
        self._settings = settings

    def left(self) -> list[Plan]:
        """Return the plans of records that an earlier process may have sent, in their order."""
        plans = [json.loads(plan) for (plan,) in self._state.read("SELECT plan FROM plans ORDER BY number")]
        return [
            tuple(tuple(Range(*part) for part in member) for member in plan["members"])
            for plan in plans
            if plan["settings"] == self._settings
        ]

    def last_number(self) -> int:
        """Return the highest number that a record on its way has; 0 when there is none."""
        ((number,),) = self._state.read("SELECT coalesce(max(number), 0) FROM plans")
        return int(number)

    def forget_up_to(self, number: int) -> None:
        """Forget what an earlier process planned, once its records were made and planned again.

        Raises:
            Transient: it cannot be written down now.
        """
        with self._state.writing() as db:
            db.execute("DELETE FROM plans WHERE number <= ?", (number,))

    def add(self, record: Record) -> None:
        """Write a record's plan down; durable when this returns. It comes before the first sending.

        Raises:
            Transient: it cannot be written down now.
        """
        text = json.dumps({"settings": self._settings, "members": record.plan}, separators=(",", ":"))
        with self._state.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO plans (id, number, plan) VALUES (?, ?, ?)",
                (record.id, record.number, text),
            )

    def done(self, records: Iterable[Record]) -> None:
        """Forget records that were accepted, after their offsets were written down.

        Raises:
            Transient: it cannot be written down now.
        """
        with self._state.writing() as db:
            db.executemany("DELETE FROM plans WHERE id = ?", [(record.id,) for record in records])
