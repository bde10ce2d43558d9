"""Print, as JSON, whether each place of Airflow that the backends lean on is as it was read."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from airflow import settings  # type: ignore[import-not-found]  # of the Airflow image
from airflow.dag_processing import manager as dag_manager  # type: ignore[import-not-found]  # the same
from airflow.dag_processing.bundles import base, manager as bundle_manager  # type: ignore[import-not-found]  # the same
from airflow.models.dagrun import DagRun  # type: ignore[import-not-found]  # the same
from airflow.models.taskinstance import TaskInstance  # type: ignore[import-not-found]  # the same
from airflow.models.xcom import XComModel  # type: ignore[import-not-found]  # the same
from airflow.sdk.bases.xcom import BaseXCom  # type: ignore[import-not-found]  # the same
from airflow.sdk.execution_time import lazy_sequence, task_runner, xcom  # type: ignore[import-not-found]  # the same
from airflow.secrets import base_secrets  # type: ignore[import-not-found]  # the same
from celery.backends.database import session  # type: ignore[import-not-found]  # the same

from airflow_ecs.bundles import EfsReleaseBundle
from airflow_ecs.database_iam import create_async_metadata_engine, create_metadata_engine
from airflow_ecs.parameters import ParameterStoreBackend
from airflow_ecs.xcom_s3 import S3XComBackend


def source(of: Any) -> str:
    """Return a source text, with each run of white space as one blank."""
    return re.sub(r"\s+", " ", inspect.getsource(of))


def names(of: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters."""
    return list(inspect.signature(of).parameters)


HOOKS: dict[str, Callable[[], bool]] = {
    "serialize_value gets the coordinates": lambda: (
        names(BaseXCom.serialize_value)
        == names(S3XComBackend.serialize_value)
        == ["value", "key", "task_id", "dag_id", "run_id", "map_index"]
    ),
    "deserialize_value gets something with a value": lambda: (
        names(BaseXCom.deserialize_value) == ["result"]
        and "result.value" in source(BaseXCom.deserialize_value)
        and "_XComValueWrapper(value)" in source(BaseXCom.get_all)
        and "XCom.deserialize_value(_XComWrapper(" in source(lazy_sequence)
    ),
    "purge gets what the database has, before it is deleted there": lambda: (
        names(BaseXCom.purge) == ["xcom", "args"]
        and source(BaseXCom.delete).index("cls.purge(") < source(BaseXCom.delete).index("DeleteXCom(")
    ),
    "set stores what serialize_value returns": lambda: (
        source(BaseXCom.set).index("cls.serialize_value(") < source(BaseXCom.set).index("SetXCom(")
        and "cls.serialize_value(" in source(BaseXCom.aset)
    ),
    "an XCom backend is a subclass of BaseXCom": lambda: (
        "issubclass(clazz, BaseXCom)" in source(xcom.resolve_xcom_backend)
        and issubclass(S3XComBackend, BaseXCom)
    ),
    "a try deletes the XComs of the one before": lambda: "xcom_keys_to_clear" in source(task_runner),
    "a bundle is made of name, version and kwargs": lambda: (
        "bundle_class(name=name, version=version, **cfg_bundle.kwargs)"
        in source(bundle_manager.DagBundlesManager.get_bundle)
    ),
    "a bundle has these abstract members": lambda: (
        base.BaseDagBundle.__abstractmethods__ == {"path", "get_current_version", "refresh"}
        and not EfsReleaseBundle.__abstractmethods__
    ),
    "the DAG processor refreshes, then asks for the version": lambda: (
        "bundle.refresh()" in source(dag_manager)
        and "bundle.get_current_version(), bundle" in source(dag_manager)
    ),
    "a task initialises its bundle, then takes its path": lambda: (
        source(task_runner).index("bundle_instance.initialize()")
        < source(task_runner).index("Path(bundle_instance.path, what.dag_rel_path)")
    ),
    "get_current_version may return a BundleVersion": lambda: (
        "isinstance(result, BundleVersion)" in source(base.unpack_bundle_version)
    ),
    "a run has its bundle's version": lambda: hasattr(DagRun, "bundle_version") and hasattr(DagRun, "state"),
    "a secrets backend has these methods": lambda: (
        names(base_secrets.BaseSecretsBackend.get_conn_value)[:2] == ["self", "conn_id"]
        and names(base_secrets.BaseSecretsBackend.get_variable)[:2] == ["self", "key"]
        and names(base_secrets.BaseSecretsBackend.get_config) == ["self", "key"]
        and issubclass(ParameterStoreBackend, base_secrets.BaseSecretsBackend)
    ),
    "the engines are made by functions that local settings may replace": lambda: (
        names(settings.create_metadata_engine) == names(create_metadata_engine)
        and set(names(settings.create_async_metadata_engine)) == set(names(create_async_metadata_engine))
    ),
    "Celery makes its engine of SQLAlchemy's": lambda: (
        "create_engine(dburi" in source(session.SessionManager.get_engine)
    ),
    "a task instance has what the queue depth counts": lambda: all(
        hasattr(TaskInstance, name) for name in ("queue", "executor", "state", "hostname", "queued_dttm")
    ),
    "an XCom's value is a column": lambda: hasattr(XComModel, "value"),
}

print("FOUND" + json.dumps({name: hook() for name, hook in HOOKS.items()}))  # noqa: T201  # this is what it is for
