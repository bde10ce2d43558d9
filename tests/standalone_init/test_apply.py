"""``standalone-init apply`` as a real process on a real PostgreSQL, with an Airflow that fits in one file."""

from __future__ import annotations

import json
import os
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import psycopg
import pytest

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

from .fakes import REVISIONS, FakeAirflow

Run = Callable[..., Finished]
Start = Callable[..., SidecarProcess]
pytestmark = pytest.mark.integration


def sql(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())  # tests write whole statements
        return list(cursor) if cursor.description else []


def head(url: str) -> object:
    ((revision,),) = sql(url, "SELECT version_num FROM alembic_version")
    return revision


def events(done: Finished) -> list[str]:
    return [json.loads(line)["event"] for line in done.out.splitlines()]


def outcomes(url: str) -> list[str]:
    rows = sql(url, "SELECT split_part(outcome, ':', 1) FROM airflow_ecs.init_run ORDER BY id")
    return [str(outcome) for (outcome,) in rows]


def stamp(url: str, revision: str) -> None:
    sql(
        url,
        "CREATE TABLE dag (id int); CREATE TABLE dag_run (id int); CREATE TABLE task_instance (id int);"
        f"CREATE TABLE alembic_version AS SELECT '{revision}' AS version_num",
    )


@contextmanager
def migrating_by_hand(url: str) -> Iterator[psycopg.Connection[object]]:
    """Airflow's first migration between its two transactions: the tables are there, the revision is not."""
    with psycopg.connect(url, autocommit=True, application_name="a colleague's shell") as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        for table in ("dag", "dag_run", "task_instance", "connection", "job", "log", "variable", "xcom"):
            connection.execute(f"CREATE TABLE {table} (id int)".encode())
        yield connection


def test_an_empty_database_is_migrated_recorded_and_reported(
    standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    done = standalone_init("apply")

    assert done.code == 0, done.out
    assert head(database) == REVISIONS[-1]
    assert events(done).index("no_impact_until_here") < events(done).index("airflow")
    ((outcome, before, to),) = sql(
        database, "SELECT outcome, state_before, to_revision FROM airflow_ecs.init_run"
    )
    assert (outcome, before, to) == ("done", "EMPTY", REVISIONS[-1])
    report = json.loads(Path(settings["STANDALONE_INIT_REPORT"]).read_text())
    assert report["outcome"] == "changed"
    assert report["state_before"] == "EMPTY"
    assert [step["step"] for step in report["done"]] == ["migrate", "verify"]


def test_a_second_run_changes_nothing_and_does_not_call_airflow(
    standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    standalone_init("apply")

    again = standalone_init("apply")

    assert again.code == 0, again.out
    assert airflow.calls == ["db migrate"]
    assert "no_impact_until_here" not in events(again)
    assert json.loads(Path(settings["STANDALONE_INIT_REPORT"]).read_text())["outcome"] == "unchanged"
    assert len(sql(database, "SELECT 1 FROM airflow_ecs.init_run")) == 1


def test_five_at_once_on_an_empty_database_make_one_migration_and_five_successes(
    standalone_init: Run, airflow: FakeAirflow, database: str
) -> None:
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: standalone_init("apply"), range(5)))

    assert [one.code for one in done] == [0] * 5, [one.out for one in done if one.code]
    assert airflow.calls == ["db migrate"]
    assert head(database) == REVISIONS[-1]


def test_a_run_that_waits_names_the_holder_of_the_lock(
    start_sidecar: Start, airflow: FakeAirflow, settings: dict[str, str]
) -> None:
    airflow.behaves("hangs")
    first = start_sidecar("standalone_init", "apply", settings=settings)
    wait_until((airflow.home / "hanging").exists, "the first migration")

    second = start_sidecar(
        "standalone_init", "apply", settings={**settings, "STANDALONE_INIT_LOCK_TIMEOUT_SECONDS": "1"}
    )

    assert second.process.wait(30) == 75
    (waiting, *_) = [line for line in second.text().splitlines() if "waiting_for_lock" in line]
    assert f"standalone-init@{os.uname().nodename}"[:63] in json.loads(waiting)["holder"]
    assert "from 127.0.0.1" in json.loads(waiting)["holder"]
    assert first.terminate() == 75


def test_a_migration_by_hand_that_holds_a_table_is_waited_for(
    start_sidecar: Start, standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    standalone_init("apply")
    with psycopg.connect(database) as by_hand:
        by_hand.execute("SELECT pg_advisory_lock(1)")
        by_hand.execute("ALTER TABLE dag_run ADD COLUMN more int")
        running = start_sidecar("standalone_init", "apply", settings=settings)
        wait_until(lambda: "waiting_for_lock" in running.text(), "the run to wait", deadline_seconds=10)

    assert running.process.wait(30) == 0, running.text()
    assert airflow.calls == ["db migrate"]


def test_a_first_migration_by_hand_is_waited_for_and_not_called_unstamped(
    start_sidecar: Start, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    with migrating_by_hand(database) as by_hand:
        running = start_sidecar("standalone_init", "apply", settings=settings)
        wait_until(lambda: "waiting_for_lock" in running.text(), "the run to wait")
        by_hand.execute(f"CREATE TABLE alembic_version AS SELECT '{REVISIONS[-1]}' AS version_num".encode())
        by_hand.execute("CREATE TABLE slot_pool AS SELECT 'default_pool' AS pool")

    assert running.process.wait(30) == 0, running.text()
    assert airflow.calls == []
    assert json.loads(Path(settings["STANDALONE_INIT_REPORT"]).read_text())["state_before"] == "CURRENT"


@pytest.mark.parametrize(
    "arguments", [("inspect",), ("plan",), ("gate",), ("verify",), ("apply", "--dry-run")]
)
def test_a_command_that_reads_says_not_now_during_a_migration_and_names_it(
    standalone_init: Run, airflow: FakeAirflow, database: str, arguments: tuple[str, ...]
) -> None:
    with migrating_by_hand(database):
        done = standalone_init(*arguments)

    assert done.code == 75
    assert "A migration is running" in done.out + done.err
    assert "a colleague's shell" in done.out + done.err
    assert "Traceback" not in done.out + done.err


def test_sigterm_ends_airflow_too_and_the_next_run_continues(
    start_sidecar: Start, standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    airflow.behaves("hangs")
    running = start_sidecar("standalone_init", "apply", settings=settings)
    wait_until((airflow.home / "hanging").exists, "the migration")

    assert running.terminate() == 75

    wait_until(
        lambda: not sql(database, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"),
        "all locks to be free",
    )
    airflow.behaves("works")
    assert standalone_init("apply").code == 0
    assert outcomes(database) == ["failed", "done"]


def test_sigterm_ends_an_airflow_behind_a_shell_wrapper_too(
    start_sidecar: Start, airflow: FakeAirflow, database: str, settings: dict[str, str], tmp_path: Path
) -> None:
    airflow.behaves("hangs")
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\numask 002\n{airflow.home}/airflow "$@"\n')  # no exec
    wrapper.chmod(0o755)
    mine = {
        "STANDALONE_INIT_AIRFLOW_COMMAND": str(wrapper),
        "STANDALONE_INIT_AIRFLOW_PYTHON": sys.executable,
    }
    running = start_sidecar("standalone_init", "apply", settings={**settings, **mine})
    wait_until((airflow.home / "hanging").exists, "the migration")

    assert running.terminate() == 75

    wait_until(
        lambda: not sql(database, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"),
        "all locks to be free",
    )


def test_kill_dash_nine_of_the_run_leaves_a_child_that_the_next_run_waits_for(
    start_sidecar: Start, standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    airflow.behaves("hangs")
    running = start_sidecar("standalone_init", "apply", settings=settings)
    wait_until((airflow.home / "hanging").exists, "the migration")
    running.kill_dash_nine()
    airflow.behaves("works")

    blocked = standalone_init("apply", STANDALONE_INIT_LOCK_TIMEOUT_SECONDS="1")
    assert blocked.code == 75
    assert "an 'airflow db migrate'" in blocked.out

    sql(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    assert standalone_init("apply").code == 0
    assert outcomes(database) == ["interrupted", "done"]  # the blocked one had not begun


def test_a_lock_connection_that_is_lost_ends_the_run_and_the_next_one_finishes(
    start_sidecar: Start, standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    airflow.behaves("hangs")
    running = start_sidecar("standalone_init", "apply", settings=settings)
    wait_until((airflow.home / "hanging").exists, "the migration")
    sql(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'standalone-init@%' AND datname = current_database()",
    )
    (airflow.home / "release").touch()

    assert running.process.wait(30) == 75
    assert "Traceback" not in running.text()
    assert outcomes(database) == ["None"]

    airflow.behaves("works")
    assert standalone_init("apply").code == 0
    assert head(database) == REVISIONS[-1]


def test_a_report_that_cannot_be_written_does_not_hide_why_the_run_failed(
    standalone_init: Run, airflow: FakeAirflow, tmp_path: Path
) -> None:
    airflow.behaves("fails")

    done = standalone_init("apply", STANDALONE_INIT_REPORT=str(tmp_path / "absent" / "report.json"))

    assert done.code == 70
    assert "report_not_written" in events(done)


def test_a_successful_run_whose_report_cannot_be_written_says_so(
    standalone_init: Run, database: str, tmp_path: Path
) -> None:
    done = standalone_init("apply", STANDALONE_INIT_REPORT=str(tmp_path / "absent" / "report.json"))

    assert done.code == 73
    assert head(database) == REVISIONS[-1]


def test_the_database_may_be_named_by_an_rds_secret(aws: str, standalone_init: Run, database: str) -> None:
    parts = urlsplit(database)
    fields = {
        "username": parts.username,
        "password": parts.password,
        "host": parts.hostname,
        "port": parts.port,
        "dbname": parts.path.lstrip("/"),
    }
    name = f"rds-{uuid.uuid4().hex}"
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(fields))

    done = standalone_init("apply", STANDALONE_INIT_DATABASE_URL="", STANDALONE_INIT_DATABASE_SECRET_ID=name)

    assert done.code == 0, done.out
    assert head(database) == REVISIONS[-1]
    assert str(parts.password) not in done.out


@pytest.mark.parametrize("how", ["dies_at_0", "dies_at_1", "dies_at_2", "dies_at_3"])
def test_a_migration_killed_after_any_revision_is_continued(
    standalone_init: Run, airflow: FakeAirflow, database: str, how: str
) -> None:
    stamp(database, REVISIONS[0])
    sql(database, "CREATE TABLE slot_pool (pool text UNIQUE)")
    for table in ("connection", "job", "log", "variable", "xcom"):
        sql(database, f"CREATE TABLE {table} (id int)")
    airflow.behaves(how)
    assert standalone_init("apply").code == 70

    airflow.behaves("works")

    assert standalone_init("apply").code == 0
    assert head(database) == REVISIONS[-1]


def test_a_stamp_that_lies_is_found_by_its_columns(
    standalone_init: Run, airflow: FakeAirflow, database: str
) -> None:
    assert standalone_init("apply").code == 0
    sql(database, "ALTER TABLE xcom DROP COLUMN id")

    done = standalone_init("verify")

    assert done.code == 76
    assert "the database is stamped as current and lacks xcom.id" in done.out, done.out


def test_a_first_migration_killed_before_its_stamp_is_told_from_a_lost_stamp(
    standalone_init: Run, airflow: FakeAirflow, database: str
) -> None:
    airflow.behaves("dies_before_stamp")
    assert standalone_init("apply").code == 70
    airflow.behaves("works")
    assert json.loads(standalone_init("inspect").out)["state"] == "PARTIAL"

    assert standalone_init("apply").code == 0
    assert head(database) == REVISIONS[-1]


def test_the_same_tables_with_history_in_them_are_unstamped(
    standalone_init: Run, airflow: FakeAirflow, database: str
) -> None:
    airflow.behaves("dies_before_stamp")
    standalone_init("apply")
    sql(database, "INSERT INTO dag VALUES (1)")

    assert standalone_init("apply").code == 66


@pytest.mark.parametrize("how", ["lies", "fails"])
def test_the_exit_code_of_airflow_is_not_believed(
    standalone_init: Run, airflow: FakeAirflow, database: str, how: str
) -> None:
    airflow.behaves(how)

    done = standalone_init("apply")

    assert done.code == 70
    assert "Traceback" not in done.out + done.err
    ((outcome,),) = sql(database, "SELECT outcome FROM airflow_ecs.init_run")
    assert str(outcome).startswith("failed: 'airflow db migrate' ended with")


def test_a_migration_that_takes_too_long_is_ended(
    standalone_init: Run, airflow: FakeAirflow, database: str
) -> None:
    airflow.behaves("hangs")

    done = standalone_init("apply", STANDALONE_INIT_MIGRATE_TIMEOUT_SECONDS="1")

    assert done.code == 70
    assert "took longer than 1 s" in done.out


def test_the_password_is_in_no_output_though_airflow_prints_it(
    standalone_init: Run, airflow: FakeAirflow, database: str, settings: dict[str, str]
) -> None:
    airflow.behaves("leaks")
    password = database.split(":")[2].split("@", maxsplit=1)[0]

    done = standalone_init("apply")

    assert done.code == 0, done.out
    assert "migrating with" in done.out
    assert password not in done.out + done.err + Path(settings["STANDALONE_INIT_REPORT"]).read_text()
    assert all(password not in call for call in airflow.calls)


WRONG = {
    "newer": (65, "is newer than Airflow 3.3.99"),
    "unstamped": (66, "version is lost"),
    "foreign tables": (67, "belongs to something else"),
    "foreign alembic": (67, "of another application"),
}


@pytest.mark.parametrize("prepare", WRONG)
def test_a_wrong_database_is_named_and_refused_before_anything_is_touched(
    standalone_init: Run, airflow: FakeAirflow, database: str, prepare: str
) -> None:
    code, says = WRONG[prepare]
    if prepare == "newer":
        stamp(database, "ffffffffffff")
    elif prepare == "unstamped":
        stamp(database, REVISIONS[0])
        sql(database, "DELETE FROM alembic_version")
    elif prepare == "foreign tables":
        sql(database, "CREATE TABLE invoices ()")
    else:
        sql(database, "CREATE TABLE alembic_version AS SELECT 'ffffffffffff' AS version_num")

    for verb in ("apply", "plan", "gate"):
        done = standalone_init(verb)
        assert done.code == code, done
        assert says in done.out + done.err
        assert "Traceback" not in done.out + done.err
    assert airflow.calls == []
    assert sql(database, "SELECT to_regnamespace('airflow_ecs')") == [(None,)]


def test_commands_that_only_read_leave_no_trace(
    standalone_init: Run, airflow: FakeAirflow, database: str
) -> None:
    assert json.loads(standalone_init("inspect").out)["state"] == "EMPTY"
    assert "migrate the database from nothing" in standalone_init("plan").out
    assert standalone_init("verify").code == 76
    assert standalone_init("gate").code == 75
    assert standalone_init("report").out.strip() == "[]"
    assert standalone_init("apply", "--dry-run").code == 0
    assert standalone_init("check").code == 0
    assert airflow.calls == []
    assert sql(database, "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    assert sql(database, "SELECT to_regnamespace('airflow_ecs')") == [(None,)]


def test_after_apply_the_gate_opens_and_verify_agrees(standalone_init: Run, database: str) -> None:
    standalone_init("apply")

    assert standalone_init("gate").code == 0
    assert standalone_init("verify").code == 0
    assert json.loads(standalone_init("report").out)[0]["outcome"] == "done"
    assert standalone_init("plan").out == "nothing to do\n"


def test_directories_are_made_with_their_mode_and_probed(
    standalone_init: Run, settings: dict[str, str], tmp_path: Path
) -> None:
    wanted = tmp_path / "efs" / "dags"
    files = tmp_path / "files.toml"
    files.write_text(f'[[directories]]\npath = "{wanted}"\nmode = "0750"\n')

    assert standalone_init("apply", STANDALONE_INIT_FILES_FILE=str(files)).code == 0
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o750
    assert list(wanted.iterdir()) == []

    wanted.chmod(0o700)
    assert standalone_init("verify", STANDALONE_INIT_FILES_FILE=str(files)).code == 76
    assert standalone_init("apply", STANDALONE_INIT_FILES_FILE=str(files)).code == 0
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o750


def test_a_file_in_the_place_of_a_directory_ends_with_73(standalone_init: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    files = tmp_path / "files.toml"
    files.write_text(f'[[directories]]\npath = "{tmp_path}/taken"\n')

    done = standalone_init("apply", STANDALONE_INIT_FILES_FILE=str(files))

    assert done.code == 73
    assert "is not a directory" in done.out


def test_the_admin_gets_the_given_password_others_a_generated_one_and_nobody_loses_theirs(
    standalone_init: Run, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords.json"
    given = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin, bob:viewer",
        "STANDALONE_INIT_ADMIN_USERNAME": "admin",
        "STANDALONE_INIT_ADMIN_PASSWORD": "correct horse",
    }

    first = standalone_init("apply", **given)

    assert first.code == 0, first.out
    found = json.loads(passwords.read_text())
    assert found["admin"] == "correct horse"
    assert len(found["bob"]) >= 24
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    assert "correct horse" not in first.out
    assert found["bob"] not in first.out

    more = {**given, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,bob:viewer,eve:user"}
    assert standalone_init("apply", **{**more, "STANDALONE_INIT_ADMIN_PASSWORD": "other words"}).code == 0
    now = json.loads(passwords.read_text())
    assert {name: now[name] for name in found} == found
    assert set(now) == {"admin", "bob", "eve"}
