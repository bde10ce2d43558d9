"""Believe only what is read: heads, pool, tables, directories, passwords, one finding each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import psycopg
from psycopg import sql

from sidecar.app import Finding
from sidecar.errors import ConfigError
from sidecar.secrets import mask
from standalone_init import reading
from standalone_init.columns import difference
from standalone_init.database import AirflowDatabase
from standalone_init.errors import FilesUnusable, NotVerified
from standalone_init.keys.verdict import Verdict
from standalone_init.lock import between_migrations
from standalone_init.plan import Directory, Observation, Wanted
from standalone_init.state import MAIN_TABLES, StateClass, listed


def findings(
    observation: Observation,
    goal: Wanted,
    database: AirflowDatabase,
    *,
    probe: Callable[[Directory], None] | None = None,
    model: Callable[[], Mapping[str, frozenset[str]]] | None = None,
) -> Iterator[Finding]:
    """Yield a finding for everything that must be true.

    Args:
        observation: a fresh one.
        goal: what it is held against.
        database: asked once more, for the tables.
        probe: proves that a directory can be written to; None looks only, for commands that change nothing.
        model: returns the columns that Airflow's models have; None leaves them unread.
    """
    state = observation.database
    if state.name is StateClass.CURRENT:
        yield Finding(what="database", verdict="ok", why=state.why)
        yield _tables(database)
        for name in observation.image.unreadable_managers:
            yield Finding(
                what=f"database manager {name}",
                verdict="warning",
                why="its revisions cannot be read without importing it: its tables are not judged",
            )
        if model is not None:
            yield _columns(database, model)
    else:
        yield Finding(
            what="database",
            verdict="problem",
            why=f"{state}: {state.why}",
            remedy="Run standalone-init apply",
        )
    for directory in goal.directories:
        yield _directory(directory, observation, probe)
    yield from _keys(observation)
    if observation.remembered:
        yield Finding(
            what="writers",
            verdict="warning",
            why=f"stopped for an upgrade: {', '.join(map(str, observation.remembered))}",
            remedy="Run standalone-init apply, or standalone-init start-writers",
        )
    if goal.has_objects:
        yield _objects(observation)
    if goal.admin is not None:
        missing = [user for user in goal.admin.users if user not in observation.users_with_password]
        yield Finding(
            what="passwords",
            verdict="problem" if missing else "ok",
            why=f"no password for {', '.join(missing)}" if missing else goal.admin.passwords_file,
            remedy="Run standalone-init apply" if missing else "",
        )


def _keys(observation: Observation) -> Iterator[Finding]:
    for purpose in observation.absent_secrets:
        yield Finding(
            what=f"secret {purpose}",
            verdict="problem",
            why="it is absent",
            remedy="Run standalone-init apply",
        )
    if observation.fernet is Verdict.MISMATCH:
        yield Finding(
            what="fernet key",
            verdict="problem",
            why="it does not decrypt what the database holds",
            remedy="Give this task the key that the other services have",
        )
    elif observation.fernet is Verdict.FITS:
        yield Finding(what="fernet key", verdict="ok", why="it decrypts what the database holds")


def _objects(observation: Observation) -> Finding:
    changes = observation.object_changes
    if changes is None:
        return Finding(what="objects", verdict="problem", why="unknown before the migration")
    return Finding(
        what="objects",
        verdict="problem" if changes else "ok",
        why="; ".join(map(str, changes)) if changes else "as the objects file declares",
        remedy="Run standalone-init sync" if changes else "",
    )


def demand(found: Iterator[Finding]) -> None:
    """Raise NotVerified when one of the findings is a problem."""
    problems = [f"{finding.what}: {finding.why}" for finding in found if finding.verdict == "problem"]
    if problems:
        raise NotVerified(
            "What was read is not what it must be",
            why="; ".join(problems),
            remedy="Run 'standalone-init inspect'; if a second run ends the same, restore the snapshot",
        )


def _tables(database: AirflowDatabase) -> Finding:
    with database.reader() as connection, between_migrations(connection):
        for table in sorted(MAIN_TABLES):
            statement = sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(table))
            try:
                connection.execute(statement).fetchone()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as err:
                why = mask(" ".join(str(err).split()))
                return Finding(what="tables", verdict="problem", why=f"{table} cannot be read: {why}")
    return Finding(what="tables", verdict="ok", why=f"{len(MAIN_TABLES)} main tables can be read")


def _columns(database: AirflowDatabase, model: Callable[[], Mapping[str, frozenset[str]]]) -> Finding:
    """A revision says what was run, columns say what is there: a stamped schema can lack a third of them."""
    try:
        wanted = model()
    except ConfigError as err:
        return Finding(what="columns", verdict="problem", why=err.why, remedy=err.remedy)
    with database.reader() as connection, between_migrations(connection):
        found = difference(wanted, reading.columns(connection))
    if found.missing:
        return Finding(
            what="columns",
            verdict="problem",
            why=f"the database is stamped as current and lacks {listed(found.missing)}",
            remedy="It was stamped without being migrated, or changed by hand: restore a snapshot, or stamp"
            " the revision it is really at and migrate again",
        )
    if found.surplus:
        return Finding(
            what="columns",
            verdict="warning",
            why=f"the database has {listed(found.surplus)} beyond Airflow's models",
        )
    return Finding(what="columns", verdict="ok", why=f"all columns of {len(wanted)} tables are there")


def _directory(
    directory: Directory, observation: Observation, probe: Callable[[Directory], None] | None
) -> Finding:
    what = f"directory {directory.path}"
    mode = observation.directory_modes.get(directory.path)
    if mode is None:
        return Finding(
            what=what, verdict="problem", why="it is not there", remedy="Run standalone-init apply"
        )
    if directory.mode not in (None, mode):
        return Finding(
            what=what,
            verdict="problem",
            why=f"its mode is {mode:04o}, wanted is {directory.mode:04o}",
            remedy="Run standalone-init apply",
        )
    if probe is not None:
        try:
            probe(directory)
        except FilesUnusable as err:
            return Finding(what=what, verdict="problem", why=err.why, remedy=err.remedy)
    return Finding(what=what, verdict="ok", why=f"mode {mode:04o}")
