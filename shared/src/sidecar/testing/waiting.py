"""Wait for a condition with a deadline. A test never waits for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], T], what: str, *, deadline_seconds: float = 15.0) -> T:
    """Return the first truthy value of ``condition``.

    Raises:
        AssertionError: it did not come true in time; the text says ``what`` was waited for.
    """
    never = threading.Event()
    end = time.monotonic() + deadline_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_seconds:g} s in vain for: {what} (last: {value!r})")
        never.wait(_POLL_SECONDS)
