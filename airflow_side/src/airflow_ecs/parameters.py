"""``[secrets] backend = airflow_ecs.parameters.ParameterStoreBackend``, and ``parameter()`` for DAGs.

Airflow logs what a secrets backend raises at DEBUG and goes on, so that people read "The conn_id isn't
defined"
for every cause. What is wrong is therefore logged here, as an error, before it is raised.
"""

from __future__ import annotations

import functools
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from airflow.secrets.base_secrets import BaseSecretsBackend  # type: ignore[import-not-found]  # of the image

from airflow_ecs.parameter_cache import settings as cache_settings
from airflow_ecs.parameter_cache.cache import ParameterCache
from airflow_ecs.parameter_cache.errors import ParameterAbsent, ParameterError
from airflow_ecs.parameter_cache.levels import MemoryLevel, ObjectLevel
from airflow_ecs.parameter_cache.parameter_store import ParameterStore
from airflow_ecs.parameter_cache.pinned import Pins
from airflow_ecs.worker_agent.clock import epoch
from airflow_ecs.xcom import settings as xcom_settings
from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.making import client
from airflow_ecs.xcom.objects import Objects

__all__ = ["ParameterStoreBackend", "parameter", "parameters"]

_log = logging.getLogger(__name__)


class ParameterStoreBackend(BaseSecretsBackend):  # type: ignore[misc]  # Any, where Airflow is not
    """Connections, variables and configuration from Parameter Store, through the cache.

    Args:
        connections_prefix: where connections are; None looks none up.
        variables_prefix: the same for variables.
        config_prefix: the same for configuration (``…_SECRET`` options).
    """

    def __init__(
        self,
        connections_prefix: str | None = "/airflow/connections",
        variables_prefix: str | None = "/airflow/variables",
        config_prefix: str | None = "/airflow/config",
    ) -> None:
        super().__init__()
        self._connections_prefix = connections_prefix
        self._variables_prefix = variables_prefix
        self._config_prefix = config_prefix

    def get_conn_value(self, conn_id: str) -> str | None:
        """Return a connection as URI or JSON; None when there is none."""
        return self._get(self._connections_prefix, conn_id)

    def get_variable(self, key: str) -> str | None:
        """Return a variable; None when there is none."""
        return self._get(self._variables_prefix, key)

    def get_config(self, key: str) -> str | None:
        """Return a configuration option; None when there is none."""
        return self._get(self._config_prefix, key)

    @staticmethod
    def _get(prefix: str | None, name: str) -> str | None:
        if prefix is None:
            return None
        try:
            return _cache(os.getpid()).get(f"{prefix.rstrip('/')}/{name}")
        except ParameterError as err:
            _log.error("%s: %s", type(err).__name__, err)
            raise


def parameter(name: str, *, cache: Literal["ttl", "run"] = "ttl") -> str:
    """Return a parameter's value, and mask it in the task's log.

    Args:
        name: its full name in Parameter Store.
        cache: ``ttl`` as the settings say; ``run`` pins the value for the DAG run, so that a retry next week
            computes with what the first try had. It is kept encrypted in the XCom store's bucket.

    Raises:
        ParameterError: of the kind that says why it cannot be had; a missing one is ParameterAbsent.
        XComStoreError: the pinned value cannot be had.
    """
    if cache == "run":
        dag_id, run_id = _current_run()
        value = _pins(os.getpid()).get(dag_id, run_id, name, lambda: _needed(name))
    else:
        value = _needed(name)
    _mask(value)
    return value


def parameters(names: Sequence[str]) -> dict[str, str]:
    """Return the values of those that exist, with one call for every ten that are not known."""
    found = _cache(os.getpid()).get_many(names)
    for value in found.values():
        _mask(value)
    return found


def _needed(name: str) -> str:
    value = _cache(os.getpid()).get(name)
    if value is None:
        raise ParameterAbsent(f"There is no parameter {name!r} in this account and region")
    return value


@functools.lru_cache(maxsize=1)
def _cache(_pid: int) -> ParameterCache:
    settings = cache_settings.read(os.environ)  # noqa: TID251  # where users set it
    directory = settings.memory_directory
    distant = None
    if settings.bucket:
        objects = Objects(client("s3"), kms_key_id=settings.kms_key_id, bucket_key=True)
        keys = DataKeys(client("kms"), settings.kms_key_id)
        distant = ObjectLevel(objects, keys, bucket=settings.bucket, prefix=settings.prefix)
    return ParameterCache(
        settings,
        ParameterStore(client("ssm")),
        memory=MemoryLevel.on_tmpfs(Path(directory)) if directory else None,
        distant=distant,
        now=epoch,
        rng=random.Random(),  # noqa: S311  # jitter
    )


@functools.lru_cache(maxsize=1)
def _pins(_pid: int) -> Pins:
    settings = xcom_settings.read(os.environ)  # noqa: TID251  # where users set it
    if settings.kms_key_id is None:
        raise ParameterError(
            "cache='run' keeps values encrypted in the XCom store: set AIRFLOW_ECS_XCOM_KMS_KEY_ID"
        )
    objects = Objects(client("s3"), kms_key_id=settings.kms_key_id, bucket_key=settings.bucket_key)
    keys = DataKeys(client("kms"), settings.kms_key_id)
    return Pins(objects, keys, bucket=settings.bucket, prefix=settings.prefix)


def _current_run() -> tuple[str, str]:
    from airflow.sdk import get_current_context  # type: ignore[import-not-found]  # noqa: PLC0415  # only within tasks

    instance: Any = get_current_context()["ti"]
    return instance.dag_id, instance.run_id


def _mask(value: str) -> None:
    try:
        from airflow.sdk.log import mask_secret  # type: ignore[import-not-found]  # noqa: PLC0415  # only within Airflow
    except ImportError:  # Airflow 3.0
        from airflow.sdk.execution_time.secrets_masker import (  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
            mask_secret,
        )
    mask_secret(value)
