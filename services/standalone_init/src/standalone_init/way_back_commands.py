"""``standalone-init rollback-plan`` and ``standalone-init start-writers``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from sidecar.app import Command, Runtime
from sidecar.errors import EXIT_OK
from standalone_init import record, rollback
from standalone_init.events import Events
from standalone_init.locking import run_lock
from standalone_init.settings import StandaloneInitSettings
from standalone_init.snapshots import memory as snapshots
from standalone_init.wiring import a_safety, parts
from standalone_init.writers import memory as rows
from standalone_init.writers.model import Service

_DEFERRED: LiteralString = "SELECT count(*) FROM task_instance WHERE state = 'deferred'"
_TRIGGERS: LiteralString = "SELECT count(*) FROM trigger"


def commands() -> Sequence[Command[StandaloneInitSettings]]:
    """Return them for the chassis."""
    return (
        Command(
            name="rollback-plan",
            meaning="print what leads back from the last upgrade, with the exact commands; change nothing",
            act=_rollback_plan,
            add_arguments=_as_json,
        ),
        Command(
            name="start-writers",
            meaning="start the services that an interrupted upgrade left stopped, as they were",
            act=_start_writers,
            add_arguments=_anyway,
        ),
    )


def _as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _anyway(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--anyway", action="store_true", help="also when they cannot work with the database as it is"
    )


def _rollback_plan(settings: StandaloneInitSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    built = parts(settings, runtime, tell_unreachable=_silent)
    state = built.observer.database_state()
    with built.database.reader() as connection:
        facts = rollback.Facts(
            state=state,
            airflow_version=built.observer.image.airflow_version,
            upgrades=record.upgrades(connection),
            snapshots=snapshots.recall(connection),
            deferred=_count(connection, _DEFERRED),
            triggers=_count(connection, _TRIGGERS),
            services=[Service(cluster=one.cluster, service=one.service) for one in settings.stop_services],
            remembered=rows.recall(connection),
        )
    found = rollback.ways(facts)
    if arguments.json:
        sys.stdout.write(json.dumps(rollback.document(facts, found), indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in rollback.lines(facts, found))
    return EXIT_OK


def _count(connection: psycopg.Connection[Any], statement: LiteralString) -> int | None:
    """Count; None where that cannot be read."""
    try:
        row = connection.execute(statement).fetchone()
    except psycopg.Error:
        return None
    return int(row[0]) if row else None


def _start_writers(settings: StandaloneInitSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    events = Events(runtime.telemetry)
    built = parts(settings, runtime, tell_unreachable=events.unreachable)
    safety = a_safety(settings, runtime, built, events)
    with built.database.writer() as connection:
        lock = run_lock(
            settings, runtime, database=built.database, connection=connection, tell_waiting=events.waiting
        )
        with lock.held():
            started = safety.start_by_hand(connection, anyway=arguments.anyway)
    sys.stdout.writelines(f"started {one}\n" for one in started or ("nothing: none is remembered",))
    return EXIT_OK


def _silent(_why: str, _pause_seconds: float) -> None:
    """Nobody listens: the error says it all when the budget is used up."""
