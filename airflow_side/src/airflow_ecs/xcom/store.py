"""One value in, one reference out, and back. The core that every version of Airflow's contract enters."""

from __future__ import annotations

import atexit
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from airflow_ecs.xcom import compression, content, envelope
from airflow_ecs.xcom.content import Content
from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.errors import XComObjectCorrupt, XComReferenceRefused, XComTooLarge
from airflow_ecs.xcom.keys import Coordinate, object_key
from airflow_ecs.xcom.objects import Objects
from airflow_ecs.xcom.reading import checked, opened
from airflow_ecs.xcom.reference import Reference, is_reference, parse
from airflow_ecs.xcom.settings import XComSettings

ToJson = Callable[[object], Any]


class XComStore:
    """Values as objects in S3. Safe to use from threads; make a new one after a fork.

    Args:
        objects: the bucket.
        data_keys: for what is encrypted here.
        to_json, from_json: Airflow's serialisation, and back.
    """

    def __init__(
        self,
        settings: XComSettings,
        objects: Objects,
        data_keys: DataKeys,
        *,
        to_json: ToJson,
        from_json: Callable[[Any], object],
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._data_keys = data_keys
        self._to_json = to_json
        self._from_json = from_json

    def put(self, coordinate: Coordinate, value: object) -> Any:
        """Store a value; return what goes into the database. Repeatable: the same coordinate, the same key.

        Raises:
            XComTooLarge: nothing of it is stored.
            XComStoreError: S3 or KMS did not take it.
        """
        encoded = content.encode(value, self._to_json)
        if self._stays(encoded):
            return encoded.inline
        context = coordinate.context()
        key = object_key(self._settings.prefix, context)
        return self.write(encoded, key=key, context=context).to_json()

    def write(self, encoded: Content, *, key: str, context: dict[str, str], **headers: Any) -> Reference:
        """Write one object; see :meth:`put`."""
        blocks = self._within(encoded.blocks(), context)
        head = next(blocks, b"")
        chosen = compression.choose(head, self._settings.compression)
        stream: Iterable[bytes] = itertools.chain([head], blocks)
        if chosen is not None:
            stream = _compressed(stream, chosen)
        is_sealed = self._settings.is_client_encrypted(context["dag_id"])
        if is_sealed:
            plain, wrapped = self._data_keys.fresh(context)
            prefix = secrets.token_bytes(envelope.NONCE_PREFIX_BYTES)
            stream = envelope.seal(
                stream, key=plain, wrapped_key=wrapped, nonce_prefix=prefix, context=context
            )
        stored = self._objects.put(
            self._settings.bucket,
            key,
            stream,
            ContentType=content.BYTES if is_sealed else encoded.content_type,
            **headers,
        )
        return Reference(
            bucket=self._settings.bucket,
            key=key,
            version_id=stored.version_id,
            sha256=stored.sha256,
            size=stored.size,
            encryption="aes-256-gcm" if is_sealed else "sse-kms",
            content_type=encoded.content_type,
            content_encoding=chosen,
            context=context,
            name=encoded.name,
        )

    def get(self, stored: Any) -> object:
        """Return the value of what stands in the database.

        A value that this store did not write is what Airflow makes of it. A file comes back as the path of a
        copy, which goes when the process ends.

        Raises:
            XComStoreError: of the kind that says why. A value is never made up.
        """
        if not is_reference(stored):
            return self._from_json(stored)
        reference = self._ours(parse(stored))
        blocks = self._blocks(reference)
        if reference.content_type == content.FILE:
            return self._download(reference, blocks)
        body = b"".join(blocks)
        try:
            return content.decode(reference.content_type, body, self._from_json)
        except (ValueError, ImportError) as err:
            raise XComObjectCorrupt(
                f"{reference.where} is whole, and no {reference.content_type} that can be read here:"
                f" {type(err).__name__}: {err}"
            ) from err

    def purge(self, stored: Any) -> None:
        """Delete the object of what stands in the database; nothing for what is no reference of ours.

        Raises:
            XComStoreError: it stays, as an orphan.
        """
        if is_reference(stored):
            reference = self._ours(parse(stored))
            self._objects.delete(reference.bucket, reference.key, reference.version_id)

    def _stays(self, encoded: Content) -> bool:
        if not encoded.can_be_inline or not isinstance(encoded.body, bytes):
            return False
        is_small = 0 < len(encoded.body) <= self._settings.threshold_bytes
        # What looks like a reference must not stand in the database as one.
        return is_small and not is_reference(encoded.inline)

    def _ours(self, reference: Reference) -> Reference:
        prefix = self._settings.prefix_of(reference.bucket, reference.key)
        if prefix is None:
            raise XComReferenceRefused(
                f"The XCom refers to {reference.where}, which is not in AIRFLOW_ECS_XCOM_URL nor in"
                " AIRFLOW_ECS_XCOM_ALSO_READ: add its bucket and prefix there if it was yours before"
            )
        try:
            expected = object_key(prefix, reference.context)
        except (KeyError, ValueError):
            expected = ""
        if reference.key != expected:
            raise XComReferenceRefused(
                f"The XCom refers to {reference.where}, and its context is that of another object:"
                " somebody wrote"
                " it through the API. Run the task again"
            )
        return reference

    def _blocks(self, reference: Reference) -> Iterator[bytes]:
        raw = self._objects.read(reference.bucket, reference.key, reference.version_id)

        def unwrap(wrapped: bytes) -> bytes:
            return self._data_keys.unwrap(wrapped, reference.context, where=reference.where)

        plain = opened(checked(raw, reference), reference, unwrap)
        return self._within(plain, reference.context)

    def _within(self, blocks: Iterable[bytes], context: dict[str, str]) -> Iterator[bytes]:
        size = 0
        for block in blocks:
            size += len(block)
            if size > self._settings.max_bytes:
                raise XComTooLarge(
                    f"The XCom {context['key']!r} of task {context['task_id']!r} of DAG"
                    f" {context['dag_id']!r} is larger"
                    f" than {self._settings.max_bytes} bytes: raise AIRFLOW_ECS_XCOM_MAX_BYTES, or pass"
                    " data of this"
                    " size by a place in S3 that the tasks agree upon"
                )
            yield block

    def _download(self, reference: Reference, blocks: Iterator[bytes]) -> Path:
        directory = _directory_of_this_process(self._settings.download_directory)
        place = Path(tempfile.mkdtemp(dir=directory))
        # A name that the writer chose must not lead anywhere else.
        target = place / (Path(reference.name or "value").name or "value")
        with target.open("xb") as file:
            file.writelines(blocks)
        return target


_directories: dict[tuple[int, str | None], Path] = {}


def _directory_of_this_process(parent: str | None) -> Path:
    """Return a directory that goes with the process; forked ones make their own."""
    found = _directories.get((os.getpid(), parent))
    if found is None:
        found = Path(tempfile.mkdtemp(prefix="airflow-ecs-xcom-", dir=parent))
        _directories[os.getpid(), parent] = found
        atexit.register(shutil.rmtree, found, ignore_errors=True)
    return found


def _compressed(blocks: Iterable[bytes], encoding: compression.Encoding) -> Iterator[bytes]:
    compressor = compression.compressor(encoding)
    for block in blocks:
        if ready := compressor.compress(block):
            yield ready
    yield compressor.flush()
