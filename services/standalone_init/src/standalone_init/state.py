"""What state a database is in, judged by what it holds and what the image knows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from standalone_init.revisions import Chain

# Present in every release since 2.0 under these names; three together are nobody else's.
ANCHOR_TABLES = frozenset({"dag", "dag_run", "task_instance"})
# What else a run of Airflow leans on, read once by the verification.
MAIN_TABLES = ANCHOR_TABLES | {"connection", "job", "log", "slot_pool", "variable", "xcom"}
# Celery's result backend makes these on its own, maybe before Airflow was ever migrated.
# https://docs.celeryq.dev/en/stable/userguide/configuration.html#database-table-names
_CELERY_TABLES = frozenset({"celery_taskmeta", "celery_tasksetmeta"})
_VERSION_TABLES = frozenset({"alembic_version", "alembic_version_fab"})
_TABLES_NAMED = 5


class StateClass(StrEnum):
    """The state of a database. The values are part of the report: never rename, only add."""

    EMPTY = "EMPTY"
    CURRENT = "CURRENT"
    BEHIND = "BEHIND"
    PARTIAL = "PARTIAL"
    AHEAD = "AHEAD"
    UNSTAMPED = "UNSTAMPED"
    FOREIGN = "FOREIGN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Tables beside the core's, with revisions of their own: FAB's users, a provider's, the user's own.

    Attributes:
        name: the dotted name of its class.
        version_table: where its revision is stamped.
        chain: its revisions.
        is_required: whether the configuration asks for it; others count only where their tables are.
    """

    name: str
    version_table: str
    chain: Chain
    is_required: bool

    @property
    def short_name(self) -> str:
        """Its class alone."""
        return self.name.rsplit(".", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What this image's Airflow knows, read without importing it.

    Attributes:
        airflow_version: of ``apache-airflow-core``.
        core: its revisions.
        managers: whose revisions could be read.
        unreadable_managers: dotted names of the others: only Airflow itself can judge their tables.
    """

    airflow_version: str
    core: Chain
    managers: tuple[Manager, ...] = ()
    unreadable_managers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReading:
    """What was found in the database's current schema.

    Attributes:
        tables: base tables, without those that belong to an extension.
        core_revisions: rows of ``alembic_version``; none when it is absent or empty.
        manager_revisions: rows of each manager's version table that is there.
        has_default_pool: whether ``slot_pool`` holds ``default_pool``: the last thing a migration writes.
        has_history: whether there is any DAG or run, so something that can be lost.
        begun_from_empty_to: heads to which a run of ours began to take an EMPTY database and never ended.
        migrated_by: the Airflow version of the run of ours that brought it where it is; "" when none did.
    """

    tables: frozenset[str] = frozenset()
    core_revisions: frozenset[str] = frozenset()
    manager_revisions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    has_default_pool: bool = False
    has_history: bool = False
    begun_from_empty_to: frozenset[str] = frozenset()
    migrated_by: str = ""

    @property
    def position(self) -> str:
        """Every stamped revision, of the core and of all managers, in one text."""
        stamps = {"alembic_version": self.core_revisions, **self.manager_revisions}
        return " ".join(
            f"{table}={'+'.join(sorted(revisions))}"
            for table, revisions in sorted(stamps.items())
            if revisions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """The verdict.

    Attributes:
        name: the class.
        why: a sentence for people.
        revisions: where the database is.
        heads: where the image would take it.
        pending: revisions in between, of the core and of all managers; 0 when that means nothing.
        position: every stamped revision, those of the managers included.
        migrated_by: the Airflow version that brought it there, as far as our own record knows; else "".
    """

    name: StateClass
    why: str
    revisions: frozenset[str]
    heads: frozenset[str]
    pending: int = 0
    position: str = ""
    migrated_by: str = ""

    def __str__(self) -> str:
        """The class, with the distance when it has one."""
        return f"{self.name} {self.pending}" if self.name is StateClass.BEHIND else str(self.name)


def classify(reading: DatabaseReading, image: Image) -> DatabaseState:
    """Name the state. Every reading has exactly one; what is not understood is never EMPTY or CURRENT."""
    name, why, pending = (
        _without_version(reading, image) if not reading.core_revisions else _stamped(reading, image)
    )
    return DatabaseState(
        name=name,
        why=why,
        revisions=reading.core_revisions,
        heads=image.core.heads,
        pending=pending,
        position=reading.position,
        migrated_by=reading.migrated_by,
    )


def _without_version(reading: DatabaseReading, image: Image) -> tuple[StateClass, str, int]:
    if reading.tables >= ANCHOR_TABLES:
        # Airflow creates all tables in one transaction and stamps them in the next: a kill in between
        # leaves this. Only our own note tells it from a lost stamp, and only while nothing can be lost.
        if reading.begun_from_empty_to == image.core.heads and not reading.has_history:
            return StateClass.PARTIAL, "a first migration was interrupted before it noted its revision", 0
        return StateClass.UNSTAMPED, "Airflow's tables are there and alembic_version holds no revision", 0
    version_tables = _VERSION_TABLES | {manager.version_table for manager in image.managers}
    others = reading.tables - _CELERY_TABLES - version_tables
    if others:
        return StateClass.FOREIGN, f"it holds tables that are not Airflow's: {listed(others)}", 0
    return StateClass.EMPTY, "it holds no tables", image.core.pending(())


def _stamped(reading: DatabaseReading, image: Image) -> tuple[StateClass, str, int]:
    has_airflow = reading.tables >= ANCHOR_TABLES
    unknown = image.core.unknown(reading.core_revisions)
    if not has_airflow:
        whose = "of another application" if unknown else "of Airflow"
        stamp = f"alembic_version holds {listed(reading.core_revisions)} {whose}"
        return StateClass.FOREIGN, f"{stamp}, and Airflow's tables are absent", 0
    if unknown:
        return (
            StateClass.AHEAD,
            f"Airflow {image.airflow_version} does not know revision {listed(unknown)}",
            0,
        )
    return _known(reading, image)


def _known(reading: DatabaseReading, image: Image) -> tuple[StateClass, str, int]:
    pending = image.core.pending(reading.core_revisions)
    behind = [f"{pending} of Airflow's"] if pending else []
    for manager in image.managers:
        revisions = reading.manager_revisions.get(manager.version_table)
        if revisions is None and not manager.is_required:
            continue
        unknown = manager.chain.unknown(revisions or ())
        if unknown:
            return (
                StateClass.AHEAD,
                f"this image's {manager.short_name} does not know revision {listed(unknown)}",
                0,
            )
        missing = manager.chain.pending(revisions or ())
        if missing:
            behind.append(f"{missing} of {manager.short_name}'s")
            pending += missing
    if pending:
        return StateClass.BEHIND, f"revisions are missing: {', '.join(behind)}", pending
    if not reading.has_default_pool:
        return StateClass.PARTIAL, "it is at the head, and default_pool, which comes last, is missing", 0
    return StateClass.CURRENT, "it is at the head of this image", 0


def listed(names: Iterable[str]) -> str:
    """Return a few names for a sentence, and how many there are beside them."""
    ordered = sorted(names)
    more = len(ordered) - _TABLES_NAMED
    return ", ".join(ordered[:_TABLES_NAMED]) + (f" and {more} more" if more > 0 else "")
