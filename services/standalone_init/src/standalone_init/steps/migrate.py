"""Bring the database to the image's heads. Airflow's exit code is not asked: the heads are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from standalone_init.errors import MigrationFailed, TryAgain
from standalone_init.events import Events
from standalone_init.migration import Ended
from standalone_init.state import DatabaseState, StateClass
from standalone_init.watch import Blocker

_LOST_THE_LOCK = ("LockNotAvailable", "lock timeout")
_LINES_QUOTED = 3


def migrate(
    *,
    run_airflow: Callable[[], Ended],
    wait_for_airflow: Callable[[], None],
    pause: Callable[[int], None],
    read_state: Callable[[], DatabaseState],
    blockers: Callable[[], Sequence[Blocker]],
    tries: int,
    events: Events,
) -> None:
    """Run ``airflow db migrate`` until the database is at the head; again only if it had to wait for a lock.

    Idempotent and resumable: Airflow commits revision by revision.

    Args:
        run_airflow: runs it once.
        wait_for_airflow: waits for the end of a migration that is not ours.
        pause: waits before the n-th next try.
        read_state: reads where the database is.
        blockers: who was in the way when a statement was last seen to wait.
        tries: how often in all.
        events: told of each further try.

    Raises:
        MigrationFailed: it ended and the head was not reached.
        TryAgain: a lock was never free in time, told to stop, or another migration did not end in time.
    """
    for attempt in range(1, tries + 1):
        wait_for_airflow()
        ended = run_airflow()
        state = read_state()
        if state.name is StateClass.CURRENT:
            return
        if not _lost_a_lock(ended):
            break
        in_the_way = "; ".join(map(str, blockers()))
        if attempt == tries:
            raise TryAgain(
                f"'airflow db migrate' did not get a lock in {tries} tries, and the database is {state}",
                why=in_the_way or "who held it was gone before it could be seen",
                remedy="End these transactions (pg_terminate_backend(pid)) or stop their programs, run again:"
                " it continues where it stopped",
            )
        events.migrate_again(ended.exit_code, state, in_the_way)
        pause(attempt)
    last_words = " | ".join(ended.last_lines[-_LINES_QUOTED:]) or "nothing"
    raise MigrationFailed(
        f"'airflow db migrate' ended with {ended.exit_code}, and the database is {state}",
        why=f"{state.why}; it said last: {last_words}",
        remedy="Read its lines above; run again when the cause is gone: it continues where it stopped",
    )


def _lost_a_lock(ended: Ended) -> bool:
    """Its own lock (it waits 1.8 s for that one) or that of a table (as long as we let it)."""
    return any(sign in line for line in ended.last_lines for sign in _LOST_THE_LOCK)
