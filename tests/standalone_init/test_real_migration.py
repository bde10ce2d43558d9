"""A migration of real Airflow that somebody is in the way of, or that is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sidecar.testing.plugin import SidecarProcess
from sidecar.testing.waiting import wait_until

from .real_airflow import NEEDS_AIRFLOW, PATIENCE_SECONDS, Run, revision, settings_for, state

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), NEEDS_AIRFLOW]


@contextmanager
def an_open_transaction(url: str) -> Iterator[psycopg.Connection[object]]:
    """Somebody who once read a table and never ended the transaction."""
    with psycopg.connect(url, application_name="a-forgotten-notebook") as connection:
        connection.execute("SELECT count(*) FROM dag")
        yield connection
        connection.rollback()


def test_an_old_transaction_is_named_and_holds_up_nobody_for_long(
    run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    settings = {
        **settings_for(old_database, tmp_path),
        "STANDALONE_INIT_DDL_LOCK_TIMEOUT_SECONDS": "2",
        "STANDALONE_INIT_DDL_LOCK_TRIES": "1",
    }
    with an_open_transaction(old_database):
        done = run_sidecar("standalone_init", "apply", settings=settings, deadline_seconds=PATIENCE_SECONDS)

    assert done.code == 75, done
    assert "a-forgotten-notebook" in done.out
    assert "holds dag, idle in transaction" in done.out
    assert state(run_sidecar, settings)[0] == "BEHIND"


def test_a_lock_that_becomes_free_is_waited_for(
    start_sidecar: Callable[..., SidecarProcess], run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    settings = {
        **settings_for(old_database, tmp_path),
        "STANDALONE_INIT_DDL_LOCK_TIMEOUT_SECONDS": "1",
        "STANDALONE_INIT_DDL_LOCK_TRIES": "10",
    }
    with an_open_transaction(old_database):
        running = start_sidecar("standalone_init", "apply", settings=settings)
        wait_until(lambda: "migrate_again" in running.text(), "another try", deadline_seconds=60)

    assert running.process.wait(PATIENCE_SECONDS) == 0, running.text()
    assert state(run_sidecar, settings) == ("CURRENT", 0)


def test_sigterm_lets_the_revision_under_way_finish(
    start_sidecar: Callable[..., SidecarProcess], run_sidecar: Run, old_database: str, tmp_path: Path
) -> None:
    settings = {**settings_for(old_database, tmp_path), "STANDALONE_INIT_STOP_TIMEOUT_SECONDS": "40"}
    before = revision(old_database)

    # The first revision that changes `dag` waits for this transaction, so it is under way when SIGTERM comes.
    with an_open_transaction(old_database):
        running = start_sidecar("standalone_init", "apply", settings=settings)
        wait_until(lambda: "migration_blocked" in running.text(), "the wait", deadline_seconds=60)
        blocked_at = revision(old_database)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "SIGTERM" in running.text(), "the order to stop", deadline_seconds=10)

    assert running.process.wait(60) == 75, running.text()
    assert revision(old_database) not in (before, blocked_at)
    again = run_sidecar("standalone_init", "apply", settings=settings, deadline_seconds=PATIENCE_SECONDS)
    assert again.code == 0, again.out
    assert state(run_sidecar, settings) == ("CURRENT", 0)
