"""Lease files on releases, as docs/adr/0020 has them: whoever reads a release keeps it from being retired."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_ecs.releases.tree import is_whole, release_path

_LOOK_AGAIN_SECONDS = 1.0  # the agent puts a release back when it meets a lease while retiring
_ATTEMPTS = 5


class Leases:
    """One holder's leases. Taking one twice is one lease, renewed.

    Args:
        target: dags_agent's target.
        holder: one plain name, unique per process.
        lasts: how long a lease counts when it is not renewed.
        now: the wall clock, aware.
    """

    def __init__(self, target: Path, *, holder: str, lasts: timedelta, now: Callable[[], datetime]) -> None:
        self._target = target
        self._holder = holder
        self._lasts = lasts
        self._now = now
        self._never = threading.Event()

    def take(self, release_id: str) -> bool:
        """Place a lease, then look for the release; False when it is gone (the lease is removed again).

        Raises:
            OSError: the lease cannot be written, as on a read-only mount; or the file system did not answer.
        """
        self._write(release_id)
        tree = release_path(self._target, release_id)
        if is_whole(tree, release_id):
            return True
        self._never.wait(_LOOK_AGAIN_SECONDS)
        if is_whole(tree, release_id):
            return True
        self.drop(release_id)
        return False

    def renew(self, release_id: str) -> None:
        """Write the lease again; raises OSError."""
        self._write(release_id)

    def drop(self, release_id: str) -> None:
        """Remove the lease; what cannot be removed goes stale by itself."""
        with contextlib.suppress(OSError):
            self._file(release_id).unlink()
        with contextlib.suppress(OSError):  # others hold it too
            self._file(release_id).parent.rmdir()

    def _file(self, release_id: str) -> Path:
        return self._target / ".dags-agent" / "leases" / release_id / f"{self._holder}.json"

    def _write(self, release_id: str) -> None:
        final = self._file(release_id)
        expires = (self._now() + self._lasts).astimezone(timezone.utc)  # noqa: UP017  # Python 3.10 has no datetime.UTC
        text = json.dumps({"holder": self._holder, "expires_at": expires.isoformat(timespec="seconds")})
        for attempt in range(_ATTEMPTS):
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                self._put(final, text)
            except (FileNotFoundError, FileExistsError):
                # The agent removes the directory when it is empty, also between these two calls.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    @staticmethod
    def _put(final: Path, text: str) -> None:
        temporary = final.with_name(f".tmp-{secrets.token_hex(8)}")
        try:
            temporary.write_text(text)
            temporary.replace(final)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def holder_name(hostname: str) -> str:
    """Return a plain name that no other process has, now or after a restart."""
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in hostname)
    return f"{plain.strip('-')[:100] or 'host'}-{os.getpid()}-{secrets.token_hex(4)}"
