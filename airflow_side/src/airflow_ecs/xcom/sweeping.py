"""Which objects under the XCom prefix belong to nothing in the database any more. No I/O.

Airflow deletes XComs in ways that never call a backend: clearing in the UI, deleting DAGs and runs, ``airflow
db clean``. Orphans are certain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from airflow_ecs.xcom.errors import XComReferenceRefused
from airflow_ecs.xcom.keys import PINS, joined
from airflow_ecs.xcom.reference import is_reference, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object, or one version of one.

    Attributes:
        version_id: None on a bucket that never had versioning.
        modified_at: aware.
        is_delete_marker: nothing but the word that it was deleted.
    """

    key: str
    version_id: str | None
    size: int
    modified_at: datetime
    is_delete_marker: bool = False


def fingerprint(bucket: str, key: str, version_id: str | None) -> bytes:
    """Return 16 bytes that stand for one version of an object: a million references are 16 MB, not 500."""
    return hashlib.blake2b(f"{bucket}\0{key}\0{version_id or ''}".encode(), digest_size=16).digest()


def referenced(values: Iterable[object]) -> Iterator[bytes]:
    """Yield the fingerprint of every reference among the database's values."""
    for value in values:
        if is_reference(value):
            try:
                found = parse(value)  # type: ignore[arg-type]  # is_reference says that it is a dict
            except XComReferenceRefused:
                continue
            yield fingerprint(found.bucket, found.key, found.version_id)


def orphans(
    listed: Iterable[Listed],
    *,
    bucket: str,
    prefix: str,
    known: Collection[bytes],
    runs: Collection[tuple[str, str]],
    older_than: datetime,
) -> Iterator[Listed]:
    """Yield what nothing refers to and what is old enough to be no value on its way into the database.

    Args:
        listed: what lies under the prefix.
        bucket: where.
        prefix: of the store.
        known: the fingerprints of all references.
        runs: (DAG, run) of every run in the database: values pinned for a run are its own.
        older_than: younger objects are left alone.
    """
    pins = joined(prefix, PINS, "")
    for each in listed:
        if each.modified_at >= older_than:
            continue
        if each.key.startswith(pins):
            if _run_of(each.key.removeprefix(pins)) not in runs:
                yield each
        elif each.is_delete_marker or fingerprint(bucket, each.key, each.version_id) not in known:
            yield each


def _run_of(tail: str) -> tuple[str, str]:
    _, dag_id, run_id, *_ = [*tail.split("/"), "", ""]
    return unquote(dag_id), unquote(run_id)
