"""Values that stay the same for a DAG run: the first task that asks decides, the others follow."""

from __future__ import annotations

from collections.abc import Callable

from airflow_ecs.parameter_cache.levels import open_sealed, seal_under
from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.envelope import EnvelopeError
from airflow_ecs.xcom.errors import XComObjectCorrupt, XComObjectMissing, XComStoreError
from airflow_ecs.xcom.keys import pin_key
from airflow_ecs.xcom.objects import Objects

_ATTEMPTS = 3


class Pins:
    """The pinned values in the XCom store's bucket, always encrypted here.

    Args:
        objects: the bucket.
        data_keys: what encrypts.
    """

    def __init__(self, objects: Objects, data_keys: DataKeys, *, bucket: str, prefix: str) -> None:
        self._objects = objects
        self._data_keys = data_keys
        self._bucket = bucket
        self._prefix = prefix

    def get(self, dag_id: str, run_id: str, name: str, ask: Callable[[], str]) -> str:
        """Return the run's value of a name, asking for it when the run has none yet. Atomic: one asker wins.

        Raises:
            XComStoreError: S3 or KMS does not give it; what ``ask`` raises comes through.
        """
        key = pin_key(self._prefix, dag_id, run_id, name)
        context = {"dag_id": dag_id, "run_id": run_id, "parameter": name}
        for attempt in range(_ATTEMPTS):
            try:
                return self._read(key, context)
            except XComObjectMissing:
                value = ask()
            try:
                sealed = seal_under(value.encode(), context, self._data_keys)
                self._objects.put(self._bucket, key, sealed, IfNoneMatch="*")
            except XComStoreError as err:
                # another task was first, and its value is the run's
                if attempt == _ATTEMPTS - 1 or not _is_lost_race(err):
                    raise
            else:
                return value
        raise AssertionError("the last attempt returns or raises")

    def _read(self, key: str, context: dict[str, str]) -> str:
        try:
            return open_sealed(self._objects.read(self._bucket, key, None), context, self._data_keys).decode()
        except (EnvelopeError, UnicodeDecodeError) as err:
            raise XComObjectCorrupt(
                f"The value pinned for the run at s3://{self._bucket}/{key} cannot be opened: {err}."
                " Delete it to pin anew"
            ) from err


def _is_lost_race(err: XComStoreError) -> bool:
    return any(code in str(err) for code in ("PreconditionFailed", "ConditionalRequestConflict", " 412 "))
