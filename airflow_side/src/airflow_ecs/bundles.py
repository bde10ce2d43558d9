"""``airflow_ecs.bundles.EfsReleaseBundle``: a DAG bundle over the releases of dags_agent.

A DAG run keeps the release it was created on, and dags_agent keeps that release for as long as the run is not
over. ``current`` is looked up once per refresh, so that no parse mixes two releases.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle  # type: ignore[import-not-found]  # of the image

from airflow_ecs.hostname import as_airflow_has_it
from airflow_ecs.releases.errors import ReleaseError, ReleaseGone
from airflow_ecs.releases.keeping import Keeping
from airflow_ecs.releases.leases import Leases, holder_name
from airflow_ecs.releases.tree import current_release, is_whole, release_path

__all__ = ["EfsReleaseBundle"]

_log = logging.getLogger(__name__)


class EfsReleaseBundle(BaseDagBundle):  # type: ignore[misc]  # Any, where Airflow is not
    """For ``[dag_processor] dag_bundle_config_list``.

    Args:
        target: dags_agent's ``DAGS_AGENT_TARGET``, as this container mounts it.
        lease_seconds: how long a release stays kept after a process that used it died.
        run_lease_seconds: the same for the releases of unfinished DAG runs, which the DAG processor keeps:
            how long it may be away.
        options: Airflow's own, such as ``name``, ``version`` and ``refresh_interval``.
    """

    supports_versioning = True

    def __init__(
        self, *, target: str, lease_seconds: int = 600, run_lease_seconds: int = 21_600, **options: Any
    ) -> None:
        super().__init__(**options)
        self._target = Path(target)
        self._lease_seconds = lease_seconds
        self._run_lease_seconds = run_lease_seconds
        self._release_id: str | None = self.version

    @property
    def path(self) -> Path:
        """The tree that was looked up last, never ``current`` itself."""
        if self._release_id is None:
            self._release_id = current_release(self._target)
        return release_path(self._target, self._release_id)

    def initialize(self) -> None:
        """Hold the release that a DAG run is pinned to, or the current one.

        Raises:
            ReleaseGone: the pinned release was retired.
            ReleaseError: the target holds no releases.
        """
        if self.version is None:
            self._look_up()
        elif not (self._keeping.take(self.version) and is_whole(self.path, self.version)):
            raise ReleaseGone(
                f"The DAG run is pinned to release {self.version!r}, which is no longer in"
                f" {self._target}. dags_agent"
                " keeps what has a lease, else DAGS_AGENT_KEEP_HOURS: check that DAG processors can write"
                f" {self._target}/.dags-agent/leases. Clear the run with the latest bundle version to go on"
            )
        super().initialize()

    def refresh(self) -> None:
        """Look up ``current`` once, and keep the releases of unfinished DAG runs; raises ReleaseError."""
        if self.version is None:
            self._look_up()
            self._keep_releases_of_runs()

    def get_current_version(self) -> Any:
        """Return the release's id: a ``BundleVersion`` where Airflow has it (3.3), else text."""
        release_id = self.version or self.path.name
        kind = _bundle_version()
        return release_id if kind is None else kind(version=release_id)

    def _look_up(self) -> None:
        # Publishing may overtake: what was current can be retired before the lease is placed, but not twice.
        for _ in range(2):
            found = current_release(self._target)
            if self._keeping.take(found) and is_whole(release_path(self._target, found), found):
                if self._release_id not in {None, found} and self._release_id is not None:
                    self._keeping.drop(self._release_id)
                self._release_id = found
                return
        raise ReleaseError(
            f"Release {found!r} is current in {self._target} and is not whole: look at dags_agent"
        )

    def _keep_releases_of_runs(self) -> None:
        try:
            wanted = _releases_of_unfinished_runs(self.name)
        except Exception as err:  # noqa: BLE001  # whatever the database says, DAGs must be parsed
            _log.warning("the releases of unfinished DAG runs are not known (%s): their leases stay", err)
            self._run_keeping.renew()
            return
        for gone in sorted(self._run_keeping.hold_exactly(wanted)):
            _log.warning("unfinished DAG runs are pinned to release %s, which was retired", gone)

    @functools.cached_property
    def _keeping(self) -> Keeping:
        return _keeping(self._target, self._lease_seconds, os.getpid())

    @functools.cached_property
    def _run_keeping(self) -> Keeping:
        return _keeping(self._target, self._run_lease_seconds, os.getpid(), "runs")


@functools.lru_cache(maxsize=16)
def _keeping(target: Path, seconds: int, _pid: int, purpose: str = "reads") -> Keeping:
    """One per process: Airflow makes bundles by the dozen, and each would have a thread."""
    leases = Leases(
        target,
        holder=f"{purpose}-{holder_name(as_airflow_has_it())}",
        lasts=timedelta(seconds=seconds),
        now=lambda: datetime.now(timezone.utc),  # noqa: TID251, UP017  # no settings object here; Python 3.10
    )
    made = Keeping(leases, renew_seconds=seconds / 5)
    if purpose == "reads":
        atexit.register(_end_in, os.getpid(), made)
    return made


def _end_in(pid: int, keeping: Keeping) -> None:
    if os.getpid() == pid:  # not in a child that was forked with it
        keeping.end()


def _bundle_version() -> Any:
    try:
        from airflow.dag_processing.bundles.base import (  # noqa: PLC0415  # 3.3 and later have it
            BundleVersion,
        )
    except ImportError:
        return None
    return BundleVersion


def _releases_of_unfinished_runs(bundle_name: str) -> Iterable[str]:
    from airflow.models.dag import DagModel  # type: ignore[import-not-found]  # noqa: PLC0415  # the DAG processor has it
    from airflow.models.dagrun import DagRun  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
    from airflow.utils.session import create_session  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
    from sqlalchemy import select  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # the same

    statement = (
        select(DagRun.bundle_version)
        .join(DagModel, DagModel.dag_id == DagRun.dag_id)
        .where(
            DagModel.bundle_name == bundle_name,
            DagRun.bundle_version.is_not(None),
            DagRun.state.in_(("queued", "running")),
        )
        .distinct()
    )
    with create_session() as session:
        return frozenset(session.scalars(statement))
