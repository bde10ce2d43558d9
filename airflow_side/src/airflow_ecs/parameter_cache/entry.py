"""What is remembered of one parameter. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What Parameter Store said of one name.

    Attributes:
        value: None when there is no such parameter.
        fetched_at: when it said so, seconds since 1970.
        fresh_until: until when nobody needs to ask again; jittered, the same at every level.
    """

    value: str | None
    fetched_at: float
    fresh_until: float

    def is_fresh(self, now: float) -> bool:
        """Whether it may be used without asking; one from the future is not, whose clock was wrong."""
        return self.fetched_at - 60 <= now < self.fresh_until

    def may_stand_in(self, now: float, stale_seconds: float) -> bool:
        """Whether it may be used when nobody answers."""
        return self.value is not None and now < self.fetched_at + stale_seconds

    def to_json(self) -> bytes:
        """Return it as bytes, value and all."""
        document = [_FORMAT, self.value, self.fetched_at, self.fresh_until]
        return json.dumps(document).encode()


def parse(text: bytes) -> Entry | None:
    """Return the entry; None for what is none, which is asked for again."""
    try:
        version, value, fetched_at, fresh_until = json.loads(text)
        if version != _FORMAT or not isinstance(value, (str, type(None))):
            return None
        return Entry(value=value, fetched_at=float(fetched_at), fresh_until=float(fresh_until))
    except (ValueError, TypeError):
        return None
