"""The states in which nothing may be touched, in the words of the person who must act on them. Pure."""

from __future__ import annotations

from sidecar.errors import SidecarError
from standalone_init.errors import DatabaseAhead, DatabaseForeign, DatabaseUnstamped
from standalone_init.state import DatabaseState, Image, StateClass, listed


def _named(state: DatabaseState) -> str:
    return f", of Airflow {state.migrated_by}" if state.migrated_by else ""


def refusal(state: DatabaseState, image: Image) -> SidecarError | None:
    """Return the error with which this state is refused; None when it is ours to work on."""
    if state.name is StateClass.AHEAD:
        return DatabaseAhead(
            f"The database at {listed(state.revisions)} is newer than Airflow {image.airflow_version}",
            why=f"{state.why}; it knows up to {listed(state.heads)}",
            remedy=(
                f"Deploy the image that migrated it{_named(state)}, or a newer one. To go back, run"
                " 'standalone-init rollback-plan' in that image. Never migrate with this one"
            ),
        )
    if state.name is StateClass.UNSTAMPED:
        return DatabaseUnstamped(
            "The database's version is lost",
            why=f"{state.why}; 'airflow db migrate' would call it current without changing a column",
            remedy=(
                "Restore alembic_version from a backup or a snapshot; or find out which Airflow made these"
                " tables and stamp that revision by hand"
            ),
        )
    if state.name is StateClass.FOREIGN:
        return DatabaseForeign(
            "The database belongs to something else",
            why=state.why,
            remedy="Give Airflow a database of its own, or correct the URL",
        )
    return None
