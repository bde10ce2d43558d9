"""Records that Firehose refuses for themselves: kept beside the state, and in S3 when there is a bucket.

They should not exist, the limits are kept; when one does, it must not hold up what follows.
"""

from __future__ import annotations

import json
from pathlib import Path

from log_forwarder.batching import Record
from log_forwarder.overflow import Store
from sidecar.errors import SidecarError, Transient
from sidecar.files import write_atomic


class DeadLetters:
    """A directory of refused records. Any thread.

    Args:
        directory: made when the first one comes.
        store: where they are put as well; None for nowhere.
        suffix: of the files' names: what is in them.
    """

    def __init__(self, directory: Path, *, store: Store | None, suffix: str) -> None:
        self._directory = directory
        self._store = store
        self._suffix = suffix

    def keep(self, record: Record, why: SidecarError) -> Path:
        """Keep a record with the reason; durable when this returns. Repeating it changes nothing.

        Returns:
            Where it is.

        Raises:
            Transient: it could not be kept; it must not be passed over then.
        """
        path = self._directory / f"{record.id}{self._suffix}"
        about = {
            "id": record.id,
            "why": why.why,
            "lines": record.lines,
            "spans": [
                {"source": span.origin.source, "path": span.origin.path, "start": span.start, "end": span.end}
                for span in record.spans
            ],
        }
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            write_atomic(path, record.data, mode=0o600)
            text = json.dumps(about, ensure_ascii=True, indent=1)
            write_atomic(path.with_name(f"{record.id}.json"), text.encode(), mode=0o600)
        except OSError as err:
            raise Transient(
                f"Cannot keep a refused record in {self._directory}",
                why=err.strerror or str(err),
                remedy="Free the volume; what follows waits, nothing is lost",
            ) from err
        if self._store is not None:
            self._store.put(f"dead_letters/{record.id}{self._suffix}", record.data)
        return path
