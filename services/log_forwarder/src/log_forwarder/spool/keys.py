"""What tells pushed streams apart. Pure."""

from __future__ import annotations

from typing import NamedTuple

from log_forwarder.inputs.base import Kind


class StreamKey(NamedTuple):
    """Whose lines: they are one source, in order.

    Attributes:
        kind: which input they came by.
        path: for people, e.g. ``forward:web-firelens-0123``.
        about: what the envelope says of them: names and values.
    """

    kind: Kind
    path: str
    about: tuple[tuple[str, str], ...]
