"""What leads back from an upgrade, best first, with the exact commands. Pure: it prints, a person acts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from standalone_init.snapshots.model import Kind, Remembered, Source
from standalone_init.state import DatabaseState, StateClass
from standalone_init.writers.model import Memory, Service

_ROWS_UNREADABLE = "https://github.com/apache/airflow/issues/68317"
_MANAGER_COMMANDS = {"alembic_version": "db", "alembic_version_fab": "fab-db"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of ours that migrated this database.

    Attributes:
        airflow_version: of its image.
        position_before: where the database was; "" when the run did not note it.
        from_revision: the core's alone.
    """

    airflow_version: str
    started: datetime
    from_revision: str
    to_revision: str
    position_before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a way back depends on.

    Attributes:
        airflow_version: of this image.
        upgrades: runs that migrated, the newest first.
        snapshots: that were asked for, the newest first.
        deferred: task instances that wait for a trigger; None when that cannot be read.
        triggers: rows of ``trigger``; None when they cannot be read.
        services: that would have to stop.
        remembered: those that are stopped already.
    """

    state: DatabaseState
    airflow_version: str
    upgrades: Sequence[Run] = ()
    snapshots: Sequence[Remembered] = ()
    deferred: int | None = None
    triggers: int | None = None
    services: Sequence[Service] = ()
    remembered: Sequence[Memory] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way back.

    Attributes:
        name: short and stable.
        meaning: for people.
        commands: in order; a line that begins with ``#`` is for a person.
        refused: why it must not be taken now; "" when it may.
    """

    name: str
    meaning: str
    commands: tuple[str, ...] = ()
    refused: str = ""


def ways(facts: Facts) -> tuple[Way, ...]:
    """Return them, the best first."""
    return (_forward(facts), _snapshot(facts), _downgrade(facts))


def lines(facts: Facts, found: Iterable[Way]) -> Iterator[str]:
    """Yield it for people."""
    yield f"the database is {facts.state}: {facts.state.why}"
    for number, way in enumerate(found, start=1):
        yield f"{number}. {way.name}: {way.meaning}"
        if way.refused:
            yield f"   REFUSED: {way.refused}"
        yield from (f"   {command}" for command in way.commands)


def document(facts: Facts, found: Iterable[Way]) -> dict[str, Any]:
    """Return it for programs; the keys are a contract."""
    return {
        "state": facts.state.name,
        "position": facts.state.position,
        "airflow_version": facts.airflow_version,
        "deferred_tasks": facts.deferred,
        "triggers": facts.triggers,
        "ways": [
            {
                "name": way.name,
                "meaning": way.meaning,
                "commands": list(way.commands),
                "refused": way.refused or None,
            }
            for way in found
        ],
    }


def _forward(facts: Facts) -> Way:
    state = facts.state
    if state.name is StateClass.AHEAD:
        by = next((run for run in facts.upgrades if run.to_revision in state.revisions), None)
        image = f"Airflow {by.airflow_version}, which migrated it on {by.started:%Y-%m-%d}" if by else "newer"
        return Way(
            name="roll forward",
            meaning=f"deploy the image of {image}: nothing is lost",
            commands=("# give every service that image again, then: standalone-init gate",),
        )
    if state.name in (StateClass.BEHIND, StateClass.PARTIAL):
        return Way(
            name="roll forward",
            meaning="finish the upgrade: it continues after the last revision; nothing is lost",
            commands=("standalone-init apply",),
        )
    return Way(
        name="roll forward",
        meaning=f"mend what is wrong and stay on Airflow {facts.airflow_version}: nothing is lost",
        commands=("standalone-init verify",),
    )


def _snapshot(facts: Facts) -> Way:
    name = "restore the snapshot"
    if not facts.snapshots:
        return Way(
            name=name,
            meaning="the only way to the very rows of before",
            refused="no run of ours took one (STANDALONE_INIT_SNAPSHOT); look for RDS's automated ones",
        )
    taken = facts.snapshots[0]
    source = Source.of(taken.source)
    restore = _restore_instance if source.kind is Kind.RDS else _restore_cluster
    return Way(
        name=name,
        meaning=f"back to {_listed(taken.upgrade.from_revisions)} with the rows of"
        f" {taken.requested:%Y-%m-%d %H:%M} UTC; whatever was written since is lost",
        commands=(
            *_stop(facts),
            *restore(source.identifier, taken),
            "# the endpoint is as before, the instance another one; deploy the older image, then:",
            "standalone-init apply  # starts the writers as they were",
        ),
    )


def _downgrade(facts: Facts) -> Way:
    name = "downgrade the schema"
    meaning = "keeps today's rows; reverts the schema only, not what newer versions wrote into rows"
    if facts.state.name is not StateClass.CURRENT:
        why = f"the database is {facts.state} for Airflow {facts.airflow_version}"
        return Way(
            name=name,
            meaning=meaning,
            refused=f"{why}: only the image at whose head it is knows the way down; run rollback-plan there",
        )
    before = next(
        (run for run in facts.upgrades if run.to_revision in facts.state.revisions and run.from_revision),
        None,
    )
    if before is None:
        return Way(name=name, meaning=meaning, refused="no run of ours knows which revision it came from")
    if facts.deferred is None or facts.triggers is None:
        return Way(name=name, meaning=meaning, refused="deferred tasks and triggers cannot be counted")
    if facts.deferred or facts.triggers:
        return Way(
            name=name,
            meaning=meaning,
            refused=f"{facts.deferred} deferred tasks and {facts.triggers} triggers: an older Airflow cannot"
            f" read their arguments, its triggerer and scheduler crash ({_ROWS_UNREADABLE}). Pause the DAGs"
            " and let these end, or restore the snapshot",
        )
    return Way(
        name=name,
        meaning=meaning,
        commands=(
            *_stop(facts),
            f"# from THIS image, Airflow {facts.airflow_version}: the older one does not have the scripts",
            *_downgrades(facts.state, before),
            "# deploy the older image, then:",
            "standalone-init apply  # starts the writers as they were",
        ),
    )


def _downgrades(state: DatabaseState, before: Run) -> Iterator[str]:
    wanted = _positions(before.position_before) or {"alembic_version": before.from_revision}
    now = _positions(state.position)
    for table, command in _MANAGER_COMMANDS.items():
        if table in wanted and wanted[table] != now.get(table):
            yield f"airflow {command} downgrade --to-revision {wanted[table]} --yes"


def _positions(text: str) -> Mapping[str, str]:
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


def _stop(facts: Facts) -> Iterator[str]:
    stopped = {str(memory.service) for memory in facts.remembered}
    for service in facts.services:
        if str(service) not in stopped:
            yield _command(
                "aws ecs update-service",
                {"cluster": service.cluster, "service": service.service, "desired-count": 0},
            )


def _restore_instance(identifier: str, taken: Remembered) -> Iterator[str]:
    new, old = f"{identifier}-restored", f"{identifier}-before-rollback"
    yield _command(
        "aws rds restore-db-instance-from-db-snapshot",
        {"db-instance-identifier": new, "db-snapshot-identifier": taken.name, **taken.restore},
    )
    yield _command("aws rds wait db-instance-available", {"db-instance-identifier": new})
    yield from _swap("instance", identifier, new, old)


def _restore_cluster(identifier: str, taken: Remembered) -> Iterator[str]:
    new, old = f"{identifier}-restored", f"{identifier}-before-rollback"
    yield _command(
        "aws rds restore-db-cluster-from-snapshot",
        {"db-cluster-identifier": new, "snapshot-identifier": taken.name, **taken.restore},
    )
    yield "# a restored cluster has no instance; with the class of today's writer:"
    yield _command(
        "aws rds create-db-instance",
        {
            "db-cluster-identifier": new,
            "db-instance-identifier": f"{new}-1",
            "engine": taken.restore.get("engine", "aurora-postgresql"),
            "db-instance-class": "CLASS",
        },
    )
    yield _command("aws rds wait db-cluster-available", {"db-cluster-identifier": new})
    yield from _swap("cluster", identifier, new, old)


def _swap(what: str, identifier: str, new: str, old: str) -> Iterator[str]:
    """The endpoint follows the identifier, so nothing else needs to know."""
    for from_name, to_name in ((identifier, old), (new, identifier)):
        renamed = {f"db-{what}-identifier": from_name, f"new-db-{what}-identifier": to_name}
        yield f"{_command(f'aws rds modify-db-{what}', renamed)} --apply-immediately"
        yield _command(f"aws rds wait db-{what}-available", {f"db-{what}-identifier": to_name})


def _command(words: str, options: Mapping[str, object]) -> str:
    return " ".join([words, *(f"--{name} {_value(value)}" for name, value in options.items())])


def _value(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return " ".join(shlex.quote(str(one)) for one in values)


def _listed(revisions: frozenset[str]) -> str:
    return ", ".join(sorted(revisions)) or "nothing"
