"""What a value is as bytes: bytes and files as they are, all else as the JSON that Airflow makes of it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

JSON = "application/json"
BYTES = "application/octet-stream"
FILE = "application/vnd.airflow-ecs.file"
ARROW = "application/vnd.apache.arrow.stream"
PANDAS = f"{ARROW}; of=pandas"
BLOCK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A value on its way out.

    Attributes:
        body: its bytes, or where they are.
        name: of a file, without its directory.
        inline: what Airflow would put in the database; None where that cannot be.
    """

    content_type: str
    body: bytes | memoryview | Path
    name: str | None = None
    inline: Any = None
    can_be_inline: bool = False

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes, a mebibyte at a time; raises OSError for a file that cannot be read."""
        if isinstance(self.body, Path):
            with self.body.open("rb") as file:
                yield from _of_file(file)
            return
        view = memoryview(self.body).cast("B")
        for start in range(0, len(view), BLOCK_BYTES):
            yield bytes(view[start : start + BLOCK_BYTES])


def encode(value: object, to_json: Callable[[object], Any]) -> Content:
    """Return a value as bytes.

    Args:
        value: ``bytes``, ``bytearray``, ``memoryview``; a ``pathlib.Path`` of a file, whose content is the
            value; an Arrow table or record batch, or a pandas data frame; or whatever Airflow can serialise.
        to_json: Airflow's serialisation.

    Raises:
        FileNotFoundError, IsADirectoryError: a path that is no file.
        Whatever Airflow's serialisation raises for a value that it cannot take.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Content(content_type=BYTES, body=value if isinstance(value, bytes) else memoryview(value))
    if isinstance(value, Path):
        if not value.is_file():
            kind = IsADirectoryError if value.is_dir() else FileNotFoundError
            raise kind(f"{value}: a path as an XCom stands for the file's content, and there is no such file")
        return Content(content_type=FILE, body=value, name=value.name)
    if (arrow := _as_arrow(value)) is not None:
        return Content(content_type=arrow[0], body=arrow[1])
    made = to_json(value)
    body = json.dumps(made, separators=(",", ":"), allow_nan=True).encode()
    return Content(content_type=JSON, body=body, inline=made, can_be_inline=True)


def decode(content_type: str, body: bytes, from_json: Callable[[Any], object]) -> object:
    """Return the value of bytes; raises ValueError when they are not of this type."""
    if content_type == BYTES:
        return body
    if content_type == JSON:
        return from_json(json.loads(body))
    if content_type in {ARROW, PANDAS}:
        from pyarrow import ipc  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # who wrote it has it

        table = ipc.open_stream(body).read_all()
        return table.to_pandas() if content_type == PANDAS else table
    raise ValueError(f"content type {content_type!r} is not known")


def _as_arrow(value: object) -> tuple[str, memoryview] | None:
    """Return a table or data frame as an Arrow stream; None for anything else, and where pyarrow is not."""
    package = type(value).__module__.partition(".")[0]
    if package not in {"pyarrow", "pandas"} or importlib.util.find_spec("pyarrow") is None:
        return None
    import pyarrow as pa  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # who has such values has it

    if package == "pandas":
        # Arrow knows column names as texts alone: other ones would come back changed.
        if type(value).__name__ != "DataFrame" or not all(isinstance(name, str) for name in value):  # type: ignore[attr-defined]  # a data frame yields its columns
            return None
        content_type, table = PANDAS, pa.Table.from_pandas(value)
    elif isinstance(value, (pa.Table, pa.RecordBatch)):
        content_type, table = ARROW, value
    else:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return content_type, memoryview(sink.getvalue())


def _of_file(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
