"""What a person gets wrong first: one clear line each, the documented exit code, no traceback, no secret."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.testing.plugin import Finished

Run = Callable[..., Finished]
pytestmark = pytest.mark.integration
SECRET = "hunter2hunter2"


def the_line(done: Finished) -> str:
    """The one line that explains it: on stderr, or the log's last error."""
    assert "Traceback" not in done.out + done.err
    assert SECRET not in done.out + done.err
    fatal = [line for line in done.out.splitlines() if '"fatal"' in line]
    (line,) = [*done.err.splitlines(), *fatal]
    return line


def test_a_misspelled_variable_is_named_with_its_neighbour(standalone_init: Run) -> None:
    done = standalone_init("apply", STANDALONE_INIT_REPROT="x")

    assert done.code == 2
    assert "did you mean STANDALONE_INIT_REPORT?" in the_line(done)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SNAPSHOT", "airflow-db", "is 'rds:<instance>' or 'aurora:<cluster>'"),
        ("SNAPSHOT", "rds:not--a-name", "is no DB identifier"),
        ("STOP_SERVICES", "scheduler", "is not JSON"),
        ("STOP_SERVICES", '[{"service": "scheduler"}]', "cluster"),
        ("REPORT", "s3://bucket", "is 's3://bucket/key' or a path"),
        ("SNAPSHOTS_KEPT", "0", "greater than or equal to 1"),
    ],
)
def test_what_names_nothing_in_aws_is_refused_with_its_form(
    standalone_init: Run, name: str, value: str, says: str
) -> None:
    done = standalone_init("apply", **{f"STANDALONE_INIT_{name}": value})

    assert done.code == 2
    assert f"STANDALONE_INIT_{name}" in the_line(done)
    assert says in the_line(done)


@pytest.mark.parametrize("verb", ["apply", "gate"])
def test_a_wrong_password_ends_with_77_and_is_not_shown(
    standalone_init: Run, database: str, verb: str
) -> None:
    real = database.split(":")[2].split("@", maxsplit=1)[0]

    done = standalone_init(verb, STANDALONE_INIT_DATABASE_URL=database.replace(real, SECRET))

    assert done.code == 77
    assert "refused the login" in the_line(done)


@pytest.mark.parametrize("verb", ["apply", "gate"])
def test_an_absent_database_ends_with_2(standalone_init: Run, database: str, verb: str) -> None:
    done = standalone_init(verb, STANDALONE_INIT_DATABASE_URL=f"{database}_absent")

    assert done.code == 2
    assert "does not exist" in the_line(done)


def test_an_unreachable_host_is_tried_within_the_budget_and_ends_with_69(standalone_init: Run) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        url = f"postgresql://airflow:{SECRET}@127.0.0.1:{closed.getsockname()[1]}/airflow"

        done = standalone_init(
            "apply", STANDALONE_INIT_DATABASE_URL=url, STANDALONE_INIT_CONNECT_TIMEOUT_SECONDS="1"
        )

    assert done.code == 69
    assert "did not answer within 1 s" in the_line(done)


def test_neither_url_nor_secret_is_one_line(standalone_init: Run) -> None:
    done = standalone_init("apply", STANDALONE_INIT_DATABASE_URL="")

    assert done.code == 2
    assert "give exactly one of them" in the_line(done)


def test_another_database_than_postgresql_is_refused(standalone_init: Run) -> None:
    done = standalone_init(
        "apply", STANDALONE_INIT_DATABASE_URL=f"mysql://airflow:{SECRET}@localhost/airflow"
    )

    assert done.code == 2
    assert "only PostgreSQL works" in the_line(done)


def test_no_airflow_on_the_path_says_what_to_set(standalone_init: Run) -> None:
    done = standalone_init("apply", STANDALONE_INIT_AIRFLOW_COMMAND="no-such-airflow")

    assert done.code == 2
    assert "STANDALONE_INIT_AIRFLOW_COMMAND" in the_line(done)


def test_an_image_without_airflow_is_told_so(standalone_init: Run, tmp_path: Path) -> None:
    done = standalone_init("apply", PYTHONPATH=str(tmp_path))

    assert done.code == 2
    assert "This image has no Airflow 3" in the_line(done)


def test_all_problems_of_the_files_file_come_at_once(standalone_init: Run, tmp_path: Path) -> None:
    files = tmp_path / "files.toml"
    files.write_text('[[directories]]\npath = "relative"\n[[directories]]\npath = "/a"\nmode = 755\n')

    done = standalone_init("plan", STANDALONE_INIT_FILES_FILE=str(files))

    assert done.code == 2
    assert len(done.err.splitlines()) == 2
    assert "absolute path" in done.err
    assert 'octal digits in quotes, like "0775"' in done.err


def test_an_admin_under_fab_is_refused_because_its_password_would_be_on_a_command_line(
    standalone_init: Run,
) -> None:
    done = standalone_init(
        "apply",
        STANDALONE_INIT_ADMIN_USERNAME="admin",
        AIRFLOW__CORE__AUTH_MANAGER="airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    )

    assert done.code == 2
    assert "is not available for this auth manager" in the_line(done)
