"""Where an XCom lies in the bucket. No I/O.

``<prefix>/v1/<dag>/<run>/<task>/<map index>/<key>``: the same coordinates always give the same key, other
coordinates another one, whatever is in them. A retry overwrites, and on a versioned bucket the reference
says which version is meant.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import quote

LAYOUT = "v1"
PINS = "pins"
MAX_KEY_BYTES = 1_024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_PREFIX_BYTES = 100
_MAX_SEGMENT_BYTES = 200  # four of them, the map index and the prefix stay below the limit
_DIGEST_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinate:
    """Which XCom.

    Attributes:
        map_index: -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    key: str = "return_value"

    def context(self) -> dict[str, str]:
        """What the data is bound to, also as KMS's encryption context; none of it is secret."""
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "map_index": str(self.map_index),
            "key": self.key,
        }


def object_key(prefix: str, context: dict[str, str]) -> str:
    """Return the key of what has this context (:meth:`Coordinate.context`).

    Raises:
        KeyError, ValueError: it is no such context.
    """
    parts = [
        context["dag_id"],
        context["run_id"],
        context["task_id"],
        str(int(context["map_index"])),
        context["key"],
    ]
    return joined(prefix, LAYOUT, *map(segment, parts))


def pin_key(prefix: str, dag_id: str, run_id: str, name: str) -> str:
    """Return the key of a value that is pinned for a DAG run."""
    return joined(prefix, PINS, LAYOUT, segment(dag_id), segment(run_id), segment(name))


def joined(prefix: str, *parts: str) -> str:
    """Return the parts below a prefix, which may be empty."""
    return "/".join([prefix, *parts] if prefix else parts)


def segment(text: str) -> str:
    """Return one path segment that only this text has, never empty, a dot, or longer than 200 bytes.

    ``~`` is escaped, so it stands for what is shortened (then the SHA-256 of the whole follows) or empty.
    """
    escaped = quote(text, safe="").replace("~", "%7E")
    if not escaped:
        return "~"
    if set(escaped) == {"."}:
        return escaped.replace(".", "%2E")
    if len(escaped) <= _MAX_SEGMENT_BYTES:
        return escaped
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{escaped[: _MAX_SEGMENT_BYTES - _DIGEST_CHARACTERS - 1]}~{digest}"
