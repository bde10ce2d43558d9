"""Bring the database to the image's heads. Airflow's exit code is not asked: the heads are read."""

from __future__ import annotations

from collections.abc import Callable

from standalone_init.airflow_cli import Ended
from standalone_init.errors import MigrationFailed
from standalone_init.events import Events
from standalone_init.state import DatabaseState, StateClass

_ATTEMPTS = 3
_LOST_THE_LOCK = ("LockNotAvailable", "lock timeout")
_LINES_QUOTED = 3


def migrate(
    *,
    run_airflow: Callable[[], Ended],
    wait_for_airflow: Callable[[], None],
    read_state: Callable[[], DatabaseState],
    events: Events,
) -> None:
    """Run ``airflow db migrate`` until the database is at the head; again only if another one was in its way.

    Idempotent and resumable: Airflow commits revision by revision.

    Raises:
        MigrationFailed: it ended and the head was not reached.
        TryAgain: told to stop, or another migration did not end in time.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        wait_for_airflow()
        ended = run_airflow()
        state = read_state()
        if state.name is StateClass.CURRENT:
            return
        if attempt < _ATTEMPTS and _lost_the_lock(ended):
            events.migrate_again(ended.exit_code, state)
            continue
        last_words = " | ".join(ended.last_lines[-_LINES_QUOTED:]) or "nothing"
        raise MigrationFailed(
            f"'airflow db migrate' ended with {ended.exit_code}, and the database is {state}",
            why=f"{state.why}; it said last: {last_words}",
            remedy="Read its lines above; run again when the cause is gone: it continues where it stopped",
        )


def _lost_the_lock(ended: Ended) -> bool:
    """Airflow waits 1.8 s for its own lock; a migration that began between our look and its start has it."""
    return any(sign in line for line in ended.last_lines for sign in _LOST_THE_LOCK)
