"""Where entries are remembered. A level that fails is one that remembers nothing."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from airflow_ecs.parameter_cache.entry import Entry, parse
from airflow_ecs.xcom import envelope
from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.errors import XComObjectMissing, XComStoreError
from airflow_ecs.xcom.keys import joined
from airflow_ecs.xcom.objects import Objects

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.02
_MOUNTS = Path("/proc/mounts")


class Level(Protocol):
    """One place to remember."""

    def read(self, name: str) -> Entry | None:
        """Return what is remembered, fresh or not."""

    def write(self, name: str, entry: Entry) -> None:
        """Remember; best effort."""


class ProcessLevel:
    """In this process."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def read(self, name: str) -> Entry | None:
        """Return what is remembered."""
        return self._entries.get(name)

    def write(self, name: str, entry: Entry) -> None:
        """Remember."""
        self._entries[name] = entry


class MemoryLevel:
    """Files on a tmpfs that the task processes of a container share: Airflow forks one for each task.

    Args:
        directory: made with mode 0700; one of another owner, or open to others, is not used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._never = threading.Event()

    @classmethod
    def on_tmpfs(cls, directory: Path, *, mounts: Path = _MOUNTS) -> MemoryLevel | None:
        """Return the level, or None (told) when its files would lie on a disk or in others' reach."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = directory.lstat()
            kind = _file_system(directory, mounts.read_text())
        except OSError as err:
            _log.warning("parameters are not shared between processes: %s", err)
            return None
        if kind != "tmpfs":
            _log.warning(
                "parameters are not shared between processes: %s is on %s, where secrets would reach a disk."
                " Set AIRFLOW_ECS_PARAMETERS_MEMORY_DIRECTORY to a directory on a tmpfs",
                directory,
                kind,
            )
            return None
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            _log.warning("parameters are not shared between processes: %s is open to others", directory)
            return None
        return cls(directory)

    def read(self, name: str) -> Entry | None:
        """Return what is remembered."""
        try:
            return parse(self._file(name).read_bytes())
        except OSError:
            return None

    def write(self, name: str, entry: Entry) -> None:
        """Remember, for nobody but this user."""
        final = self._file(name)
        temporary = final.with_name(f".{secrets.token_hex(8)}")
        with contextlib.suppress(OSError):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(entry.to_json())
            temporary.replace(final)

    @contextlib.contextmanager
    def alone(self, name: str, *, deadline_seconds: float) -> Iterator[None]:
        """Let one process at a time ask for a name; who waited too long goes on as well."""
        try:
            descriptor = os.open(self._file(name).with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield
            return
        try:
            for _ in range(int(deadline_seconds / _POLL_SECONDS)):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._never.wait(_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> Path:
        return self._directory / f"{_hashed(name)}.json"


class ObjectLevel:
    """Objects in S3, encrypted here: what a new container knows before it has asked Parameter Store.

    Args:
        objects: the bucket.
        data_keys: what encrypts.
    """

    def __init__(self, objects: Objects, data_keys: DataKeys, *, bucket: str, prefix: str) -> None:
        self._objects = objects
        self._data_keys = data_keys
        self._bucket = bucket
        self._prefix = prefix

    def read(self, name: str) -> Entry | None:
        """Return what is remembered."""
        key, context = self._key(name), {"parameter": name}
        try:
            body = open_sealed(self._objects.read(self._bucket, key, None), context, self._data_keys)
        except XComObjectMissing:
            return None
        except (XComStoreError, envelope.EnvelopeError) as err:
            _log.warning("a cached parameter cannot be read from S3, Parameter Store is asked: %s", err)
            return None
        return parse(body)

    def write(self, name: str, entry: Entry) -> None:
        """Remember."""
        sealed = seal_under(entry.to_json(), {"parameter": name}, self._data_keys)
        try:
            self._objects.put(self._bucket, self._key(name), sealed)
        except XComStoreError as err:
            _log.warning("a parameter cannot be cached in S3: %s", err)

    def _key(self, name: str) -> str:
        return joined(self._prefix, "parameters", "v1", _hashed(name))


def seal_under(plain: bytes, context: dict[str, str], data_keys: DataKeys) -> Iterator[bytes]:
    """Yield the envelope of a short text; raises XComStoreError."""
    key, wrapped = data_keys.fresh(context)
    nonce_prefix = secrets.token_bytes(envelope.NONCE_PREFIX_BYTES)
    yield from envelope.seal(
        [plain], key=key, wrapped_key=wrapped, nonce_prefix=nonce_prefix, context=context
    )


def open_sealed(blocks: Iterator[bytes], context: dict[str, str], data_keys: DataKeys) -> bytes:
    """Return the text of an envelope; raises XComStoreError or EnvelopeError."""
    opener = envelope.Opener(
        context, lambda wrapped: data_keys.unwrap(wrapped, context, where="a value in S3")
    )
    plain = bytearray()
    for block in blocks:
        for opened in opener.feed(block):
            plain += opened
    return bytes(plain + opener.finish())


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _file_system(directory: Path, mounts: str) -> str:
    resolved = str(directory.resolve())
    best = ("", "an unknown file system")
    for line in mounts.splitlines():
        _, where, kind, *_ = line.split()
        if (resolved == where or resolved.startswith(f"{where.rstrip('/')}/")) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]
