"""The subcommands beside ``run once check``: the rights the database role needs, and a trace of the past."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.app import Command, Runtime
from sidecar.errors import EXIT_OK, ConfigError
from sidecar.files import write_atomic
from worker_scaler.grant_sql import grant_sql
from worker_scaler.settings import WorkerScalerSettings
from worker_scaler.sources.build import database_of
from worker_scaler.sources.session import schema_of
from worker_scaler.sources.trace_export import export_trace
from worker_scaler.trace import write_trace

if TYPE_CHECKING:
    import argparse

_DEFAULT_ROLE = "worker_scaler"


def _grant_sql(settings: WorkerScalerSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    schema = schema_of(database_of(settings, runtime))
    if not schema.has("task_instance"):
        raise ConfigError(
            "No rights can be named",
            why="the database has no table task_instance in this role's search path",
            remedy="Point it at Airflow's database, migrated",
        )
    sys.stdout.writelines(f"{line}\n" for line in grant_sql(schema, role=arguments.role))
    return EXIT_OK


def _trace(settings: WorkerScalerSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    if arguments.days <= 0:
        raise ConfigError("No trace was written", why="--days must be more than 0")
    executors = settings.meaning().executors
    trace = export_trace(database_of(settings, runtime), days=arguments.days, executors=executors)
    lines = write_trace(trace)
    if arguments.output is None:
        sys.stdout.writelines(lines)
    else:
        write_atomic(arguments.output, "".join(lines).encode())
    return EXIT_OK


def _add_role(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", default=_DEFAULT_ROLE, help=f"who gets the rights ({_DEFAULT_ROLE})")


def _add_trace_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["export"], help="write the tasks of the last days, without names")
    parser.add_argument("--days", type=float, default=7.0, help="how far back (7)")
    parser.add_argument("--output", type=Path, default=None, help="file to write (standard output)")


GRANT_SQL: Command[WorkerScalerSettings] = Command(
    name="grant-sql",
    meaning="print the least rights its database role needs, as SQL, for the tables that are there",
    act=_grant_sql,
    add_arguments=_add_role,
)

TRACE: Command[WorkerScalerSettings] = Command(
    name="trace",
    meaning="export a trace of Airflow's past for 'simulate', without names",
    act=_trace,
    add_arguments=_add_trace_arguments,
)
