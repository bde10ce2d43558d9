"""The same promises on real Airflow (`make .airflow/.ready`) and real PostgreSQL, named after accidents."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

from .real_airflow import (
    AIRFLOW,
    NEEDS_AIRFLOW,
    PATIENCE_SECONDS,
    Run,
    advisory_locks,
    revision,
    settings_for,
    state,
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    NEEDS_AIRFLOW,
]


@pytest.fixture
def settings(database: str, tmp_path: Path) -> dict[str, str]:
    return settings_for(database, tmp_path)


@pytest.fixture
def apply(run_sidecar: Run, settings: dict[str, str]) -> Callable[[], Finished]:
    def run() -> Finished:
        return run_sidecar("standalone_init", "apply", settings=settings, deadline_seconds=PATIENCE_SECONDS)

    return run


def migrations(done: Finished) -> int:
    return sum('"no_impact_until_here"' in line for line in done.out.splitlines())


def test_five_first_starts_at_once_make_one_migration(
    run_sidecar: Run, database: str, settings: dict[str, str], apply: Callable[[], Finished]
) -> None:
    assert state(run_sidecar, settings)[0] == "EMPTY"

    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: apply(), range(5)))

    assert [one.code for one in done] == [0] * 5, [one.out for one in done if one.code]
    assert sum(migrations(one) for one in done) == 1
    assert state(run_sidecar, settings) == ("CURRENT", 0)


def test_kill_dash_nine_during_an_upgrade(
    start_sidecar: Callable[..., SidecarProcess], run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    settings = settings_for(old_database, tmp_path)
    before = revision(old_database)
    kind, pending = state(run_sidecar, settings)
    assert kind == "BEHIND"
    assert pending > 5

    running = start_sidecar("standalone_init", "apply", settings=settings)
    wait_until(lambda: revision(old_database) != before, "the first revision", deadline_seconds=60)
    for process in [psutil.Process(running.process.pid), *psutil.Process(running.process.pid).children()]:
        with contextlib.suppress(psutil.NoSuchProcess):  # Airflow may have ended in this very moment
            process.kill()
    running.process.wait(10)
    wait_until(lambda: not advisory_locks(old_database), "the server to notice", deadline_seconds=60)

    assert state(run_sidecar, settings)[0] in ("BEHIND", "PARTIAL", "CURRENT")
    again = run_sidecar("standalone_init", "apply", settings=settings, deadline_seconds=PATIENCE_SECONDS)
    assert again.code == 0, again.out
    assert state(run_sidecar, settings) == ("CURRENT", 0)


def test_a_lost_stamp_is_refused_where_airflow_itself_reports_success(
    run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute("DELETE FROM alembic_version")

    done = run_sidecar("standalone_init", "apply", settings=settings_for(old_database, tmp_path))

    assert done.code == 66
    assert revision(old_database) == ""


def test_an_image_older_than_its_database_is_refused(
    run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")

    done = run_sidecar("standalone_init", "gate", settings=settings_for(old_database, tmp_path))

    assert done.code == 65
    assert "is newer than Airflow 3." in done.err
    assert revision(old_database) == "ffffffffffff"


def test_airflow_agrees_that_there_is_nothing_left_to_migrate(
    apply: Callable[[], Finished], database: str, tmp_path: Path
) -> None:
    done = apply()

    assert done.code == 0, done.out
    agreed = subprocess.run(
        [AIRFLOW, "db", "check-migrations", "-t", "0"],
        env={
            "PATH": "/usr/bin:/bin",
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.replace(
                "postgresql://", "postgresql+psycopg2://"
            ),
        },
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert agreed.returncode == 0, agreed.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["state_before"] == "EMPTY"
    assert report["airflow_version"].startswith("3.")


def test_the_revisions_that_are_read_are_those_that_airflow_knows(
    run_sidecar: Run, settings: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "import json; from airflow.utils.db import _get_script_object as s;"
        "print('KNOWN' + json.dumps([sorted(s().get_heads()), len(list(s().walk_revisions()))]))"
    )
    asked = subprocess.run(
        [AIRFLOW.parent / "python", "-c", script],
        env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    heads, count = json.loads(asked.stdout.split("KNOWN")[1])

    done = run_sidecar("standalone_init", "inspect", settings=settings)

    assert json.loads(done.out)["heads"] == heads
    assert json.loads(done.out)["pending_revisions"] == count


def test_the_plan_of_an_upgrade_says_what_it_destroys_and_locks(
    run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    settings = settings_for(old_database, tmp_path)
    before = revision(old_database)

    told = run_sidecar("standalone_init", "plan", settings=settings, deadline_seconds=PATIENCE_SECONDS)
    as_json = run_sidecar(
        "standalone_init", "plan", "--json", settings=settings, deadline_seconds=PATIENCE_SECONDS
    )

    assert told.code == 0, told
    assert "locks task_instance: ACCESS EXCLUSIVE" in told.out
    assert told.out.endswith("no impact until here\n")
    migration = json.loads(as_json.out)["migration"]
    (_, pending) = state(run_sidecar, settings)
    assert len(migration["revisions"]) == pending
    assert {table["table"] for table in migration["tables"]} >= {"dag", "task_instance"}
    assert revision(old_database) == before


def test_a_schema_that_airflow_itself_stamped_wrongly_is_found_by_its_columns(
    run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    settings = settings_for(old_database, tmp_path)
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute("DELETE FROM alembic_version")
    environ = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": old_database.replace("postgresql:", "postgresql+psycopg2:"),
    }
    by_hand = subprocess.run([AIRFLOW, "db", "migrate"], env=environ, check=False, capture_output=True)
    assert by_hand.returncode == 0

    done = run_sidecar("standalone_init", "verify", settings=settings, deadline_seconds=PATIENCE_SECONDS)

    assert done.code == 76, done
    assert "is stamped as current and lacks" in done.out
