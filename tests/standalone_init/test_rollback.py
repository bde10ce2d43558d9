"""The ways back: in order, with the exact commands, refused where they would leave something unreadable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from sidecar.testing.plugin import Finished
from standalone_init.rollback import Facts, Run, Way, document, lines, ways
from standalone_init.snapshots.model import Remembered, Upgrade
from standalone_init.state import DatabaseState, StateClass
from standalone_init.writers.model import Memory, Service

from .fakes import REVISIONS, FakeAirflow

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AT_HEAD = DatabaseState(
    name=StateClass.CURRENT,
    why="it is at the head",
    revisions=frozenset({"new"}),
    heads=frozenset({"new"}),
    position="alembic_version=new alembic_version_fab=fabnew",
)
UPGRADED = Run(
    airflow_version="3.3.2",
    started=NOON,
    from_revision="old",
    to_revision="new",
    position_before="alembic_version=old alembic_version_fab=fabold",
)
TAKEN = Remembered(
    name="airflow-ecs-airflow-old-new-202611231200",
    source="rds:airflow",
    resource_id="db-1",
    upgrade=Upgrade(from_revisions=frozenset({"old"}), to_revisions=frozenset({"new"})),
    requested=NOON,
    had_stopped=True,
    restore={"db-subnet-group-name": "private", "vpc-security-group-ids": ["sg-1", "sg-2"]},
)
SCHEDULER = Service(cluster="main", service="scheduler")
WORKERS = Service(cluster="main", service="workers")
FACTS = Facts(
    state=AT_HEAD,
    airflow_version="3.3.2",
    upgrades=[UPGRADED],
    snapshots=[TAKEN],
    deferred=0,
    triggers=0,
    services=[SCHEDULER, WORKERS],
)


def way(facts: Facts, name: str) -> Way:
    (found,) = [one for one in ways(facts) if one.name == name]
    return found


def test_forward_comes_first_then_the_snapshot_then_the_schema_alone() -> None:
    found = ways(FACTS)

    assert [one.name for one in found] == ["roll forward", "restore the snapshot", "downgrade the schema"]
    assert [one.refused for one in found] == ["", "", ""]


def test_a_restored_instance_is_reached_as_the_old_one_was() -> None:
    assert way(FACTS, "restore the snapshot").commands == (
        "aws ecs update-service --cluster main --service scheduler --desired-count 0",
        "aws ecs update-service --cluster main --service workers --desired-count 0",
        (
            "aws rds restore-db-instance-from-db-snapshot --db-instance-identifier airflow-restored"
            " --db-snapshot-identifier airflow-ecs-airflow-old-new-202611231200"
            " --db-subnet-group-name private --vpc-security-group-ids sg-1 sg-2"
        ),
        "aws rds wait db-instance-available --db-instance-identifier airflow-restored",
        (
            "aws rds modify-db-instance --db-instance-identifier airflow"
            " --new-db-instance-identifier airflow-before-rollback --apply-immediately"
        ),
        "aws rds wait db-instance-available --db-instance-identifier airflow-before-rollback",
        (
            "aws rds modify-db-instance --db-instance-identifier airflow-restored"
            " --new-db-instance-identifier airflow --apply-immediately"
        ),
        "aws rds wait db-instance-available --db-instance-identifier airflow",
        "# the endpoint is as before, the instance another one; deploy the older image, then:",
        "standalone-init apply  # starts the writers as they were",
    )


def test_an_aurora_cluster_gets_an_instance_too() -> None:
    facts = replace(FACTS, snapshots=[replace(TAKEN, source="aurora:airflow")], services=[])

    commands = way(facts, "restore the snapshot").commands

    assert commands[0].startswith(
        "aws rds restore-db-cluster-from-snapshot --db-cluster-identifier airflow-r"
    )
    assert any(command.startswith("aws rds create-db-instance ") for command in commands)
    assert any("--new-db-cluster-identifier airflow --apply" in command for command in commands)


def test_what_is_stopped_already_is_not_stopped_again() -> None:
    facts = replace(FACTS, remembered=[Memory(service=SCHEDULER, desired=2)])

    commands = way(facts, "restore the snapshot").commands

    assert [command for command in commands if "update-service" in command] == [
        "aws ecs update-service --cluster main --service workers --desired-count 0"
    ]


def test_without_a_snapshot_that_way_is_refused() -> None:
    assert "no run of ours took one" in way(replace(FACTS, snapshots=[]), "restore the snapshot").refused


def test_a_downgrade_is_this_images_and_takes_fab_with_it() -> None:
    commands = way(FACTS, "downgrade the schema").commands

    assert "# from THIS image, Airflow 3.3.2: the older one does not have the scripts" in commands
    assert "airflow db downgrade --to-revision old --yes" in commands
    assert "airflow fab-db downgrade --to-revision fabold --yes" in commands


def test_a_manager_that_did_not_move_is_left_alone() -> None:
    before = replace(UPGRADED, position_before="alembic_version=old alembic_version_fab=fabnew")

    commands = way(replace(FACTS, upgrades=[before]), "downgrade the schema").commands

    assert not any("fab-db" in command for command in commands)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"deferred": 3}, "3 deferred tasks and 0 triggers"),
        ({"triggers": 1}, "apache/airflow/issues/68317"),
        ({"triggers": None}, "cannot be counted"),
        ({"upgrades": []}, "no run of ours knows"),
        ({"state": replace(AT_HEAD, name=StateClass.AHEAD)}, "only the image at whose head it is"),
    ],
)
def test_a_downgrade_that_would_leave_something_unreadable_is_refused(
    change: dict[str, object], why: str
) -> None:
    found = way(replace(FACTS, **change), "downgrade the schema")  # type: ignore[arg-type]  # a table of cases

    assert why in found.refused
    assert found.commands == ()


def test_an_image_that_is_too_old_learns_which_one_migrated() -> None:
    ahead = replace(AT_HEAD, name=StateClass.AHEAD)

    found = way(replace(FACTS, state=ahead, airflow_version="3.2.1"), "roll forward")

    assert "Airflow 3.3.2, which migrated it on 2026-11-23" in found.meaning


def test_an_interrupted_upgrade_is_finished() -> None:
    behind = replace(AT_HEAD, name=StateClass.BEHIND, pending=3)

    assert way(replace(FACTS, state=behind), "roll forward").commands == ("standalone-init apply",)


def test_people_and_programs_read_the_same() -> None:
    facts = replace(FACTS, deferred=3)
    text = "\n".join(lines(facts, ways(facts)))
    found = document(facts, ways(facts))

    assert "3. downgrade the schema" in text
    assert "REFUSED: 3 deferred tasks" in text
    assert found["deferred_tasks"] == 3
    for one in found["ways"]:
        assert all(command in text for command in one["commands"])


@pytest.mark.integration
def test_after_an_interrupted_upgrade_the_plan_knows_where_it_came_from(
    standalone_init: Callable[..., Finished], airflow: FakeAirflow, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for table in ("dag", "dag_run", "connection", "job", "log", "variable", "xcom", "trigger"):
            connection.execute(f"CREATE TABLE {table} (id int)".encode())
        connection.execute("CREATE TABLE task_instance (id int, state text)")
        connection.execute("CREATE TABLE slot_pool (pool text UNIQUE)")
        connection.execute(f"CREATE TABLE alembic_version AS SELECT '{REVISIONS[0]}' AS version_num".encode())
    assert "unknown" not in standalone_init("rollback-plan").out
    airflow.behaves("dies_at_1")
    assert standalone_init("apply").code == 70
    airflow.behaves("works")
    # The fake's model has no 'state'; a column more is a warning.
    assert standalone_init("apply").code == 0

    done = standalone_init("rollback-plan")

    assert done.code == 0, done.err
    assert f"airflow db downgrade --to-revision {REVISIONS[0]} --yes" in done.out
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO task_instance VALUES (1, 'deferred'), (2, 'running')")
    found = json.loads(standalone_init("rollback-plan", "--json").out)
    assert found["deferred_tasks"] == 1
    assert "airflow db downgrade" not in json.dumps(found)

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.execute("UPDATE airflow_ecs.init_run SET to_revision = 'ffffffffffff'")
    gate = standalone_init("gate")
    assert gate.code == 65
    assert "Deploy the image that migrated it, of Airflow 3.3.99" in gate.err
    assert "which migrated it on" in standalone_init("rollback-plan").out
