"""``[core] xcom_backend = airflow_ecs.xcom_s3.S3XComBackend``: XComs in S3 under KMS, which fail loudly.

Only the entry points of Airflow's contract; the work is in :mod:`airflow_ecs.xcom`. In the database stands a
JSON object that says where the value is (:mod:`airflow_ecs.xcom.reference`), which the UI shows as it is.
"""

from __future__ import annotations

import functools
import logging
import os
from types import SimpleNamespace
from typing import Any

try:
    from airflow.sdk.bases.xcom import BaseXCom  # type: ignore[import-not-found]  # of the image
except ImportError:  # Airflow 3.0
    from airflow.sdk.execution_time.xcom import BaseXCom  # type: ignore[import-not-found]  # the same

from airflow_ecs.xcom.errors import XComStoreError
from airflow_ecs.xcom.keys import Coordinate
from airflow_ecs.xcom.making import make_store
from airflow_ecs.xcom.settings import read
from airflow_ecs.xcom.store import XComStore

__all__ = ["S3XComBackend", "store"]

_log = logging.getLogger(__name__)


class S3XComBackend(BaseXCom):  # type: ignore[misc]  # Any, where Airflow is not
    """Airflow's XCom backend. Its settings are ``AIRFLOW_ECS_XCOM_…`` (:mod:`airflow_ecs.xcom.settings`)."""

    @staticmethod
    def serialize_value(
        value: Any,
        *,
        key: str | None = None,
        task_id: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> Any:
        """Store a value; return what goes into the database. Airflow up to 3.3 calls this.

        Raises:
            XComStoreError: it is not stored, and the task must not be taken for done.
        """
        coordinate = Coordinate(
            dag_id=dag_id or "",
            run_id=run_id or "",
            task_id=task_id or "",
            map_index=-1 if map_index is None else map_index,
            key=key or "",
        )
        return store().put(coordinate, value)

    @classmethod
    def store_value(cls, coordinate: Any, key: str, value: Any) -> Any:
        """The same, as Airflow 3.4 is going to call it: by an object that holds the coordinates."""
        return cls.serialize_value(
            value,
            key=key,
            task_id=coordinate.task_id,
            dag_id=coordinate.dag_id,
            run_id=coordinate.run_id,
            map_index=getattr(coordinate, "map_index", None),
        )

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        """Return the value; raises XComStoreError of the kind that says why it cannot be had."""
        return store().get(result.value)

    @classmethod
    def purge(cls, xcom: Any, *args: Any) -> None:  # noqa: ARG003  # Airflow's signature
        """Delete the object; one that stays is told, and ``airflow-ecs xcom sweep`` finds it."""
        try:
            store().purge(xcom.value)
        except XComStoreError as err:
            _log.warning("the object of an XCom stays behind (airflow-ecs xcom sweep finds it): %s", err)


def store() -> XComStore:
    """Return the store of this process; a forked one gets its own.

    Raises:
        XComSettingsError: the settings are missing or wrong.
    """
    return _store(os.getpid())


@functools.lru_cache(maxsize=1)
def _store(_pid: int) -> XComStore:
    return make_store(
        read(os.environ),  # noqa: TID251  # where users set it
        to_json=BaseXCom.serialize_value,
        from_json=lambda value: BaseXCom.deserialize_value(SimpleNamespace(value=value)),
    )
