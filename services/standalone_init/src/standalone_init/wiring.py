"""Puts the parts together, for the run and for the commands that only read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sidecar.app import Finding, Runtime
from sidecar.errors import SidecarError
from standalone_init.airflow_cli import AirflowCli
from standalone_init.airflow_config import AirflowConfig
from standalone_init.apply import Apply, Choose, everything
from standalone_init.database import AirflowDatabase
from standalone_init.events import Events
from standalone_init.keys.keyring import Keyring
from standalone_init.keys.store import Store
from standalone_init.observe import Observer
from standalone_init.performing import Performer
from standalone_init.plan import plan
from standalone_init.preview import preview
from standalone_init.refusal import refusal
from standalone_init.safety import Safety
from standalone_init.settings import StandaloneInitSettings

# The chassis gives all of `check` a minute.
_CHECK_BUDGET_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What reads."""

    airflow: AirflowCli
    database: AirflowDatabase
    keyring: Keyring
    observer: Observer


def parts(
    settings: StandaloneInitSettings,
    runtime: Runtime,
    *,
    tell_unreachable: Callable[[str, float], None],
    budget_seconds: float | None = None,
) -> Parts:
    """Build what reads; opens nothing."""
    url = settings.database_url
    database = AirflowDatabase(
        runtime.secret(
            literal=url.get_secret_value() if url else None, secret_id=settings.database_secret_id
        ),
        budget_seconds=budget_seconds or settings.connect_timeout_seconds,
        clock=runtime.clock,
        stop=runtime.stop,
        rng=runtime.rng,
        tell_unreachable=tell_unreachable,
    )
    keyring = Keyring(
        settings.secrets,
        AirflowConfig(runtime.environ),
        store=lambda: Store(runtime.aws),
        read=runtime.aws.read_secret,
    )
    airflow = AirflowCli(
        command=settings.airflow_command,
        python=settings.airflow_python,
        environ=runtime.environ,
        shared=keyring.environment,
    )
    observer = Observer(
        settings=settings, runtime=runtime, airflow=airflow, database=database, keyring=keyring
    )
    return Parts(airflow=airflow, database=database, keyring=keyring, observer=observer)


def a_run(settings: StandaloneInitSettings, runtime: Runtime, *, choose: Choose = everything) -> Apply:
    """Build one run; opens nothing."""
    events = Events(runtime.telemetry)
    built = parts(settings, runtime, tell_unreachable=events.unreachable)
    safety = a_safety(settings, runtime, built, events)
    return Apply(
        settings=settings,
        runtime=runtime,
        observer=built.observer,
        database=built.database,
        performer=Performer(
            settings=settings,
            runtime=runtime,
            observer=built.observer,
            airflow=built.airflow,
            database=built.database,
            keyring=built.keyring,
            safety=safety,
            events=events,
        ),
        safety=safety,
        preview=lambda seen: preview(
            seen.database, seen.image, airflow=built.airflow, database=built.database
        ),
        events=events,
        choose=choose,
    )


def a_safety(settings: StandaloneInitSettings, runtime: Runtime, built: Parts, events: Events) -> Safety:
    """Build what stops writers and takes snapshots; opens nothing."""
    return Safety(
        settings=settings,
        runtime=runtime,
        database=built.database,
        read_state=built.observer.database_state,
        airflow_version=lambda: built.observer.image.airflow_version,
        events=events,
    )


class StandaloneInit:
    """The program: it ends by itself, so ``run`` and ``once`` are the same."""

    def __init__(self, settings: StandaloneInitSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime

    async def run(self) -> int:
        """Do the job and return the exit code."""
        return await self.once()

    async def once(self) -> int:
        """Do the job in a thread of its own: the loop stays free for signals and the HTTP port."""
        return await asyncio.to_thread(a_run(self._settings, self._runtime).run)

    async def check(self) -> AsyncIterator[Finding]:
        """Say whether a run could begin; changes nothing."""
        budget = min(_CHECK_BUDGET_SECONDS, self._settings.connect_timeout_seconds)
        built = parts(
            self._settings, self._runtime, tell_unreachable=lambda _why, _pause: None, budget_seconds=budget
        )
        for finding in await asyncio.to_thread(_check, built):
            yield finding


def _check(built: Parts) -> list[Finding]:
    try:
        image = built.observer.image
        airflow = Finding(what="airflow", verdict="ok", why=f"{image.airflow_version}, not imported")
        goal, observation = built.observer.wanted, built.observer.observe()
        state = observation.database
        refused = refusal(state, image)
    except SidecarError as err:
        return [Finding(what=err.what, verdict="problem", why=err.why, remedy=err.remedy)]
    if refused is not None:
        return [
            airflow,
            Finding(what=refused.what, verdict="problem", why=refused.why, remedy=refused.remedy),
        ]
    missing = plan(observation, goal)
    work = Finding(
        what="plan",
        verdict="warning" if missing else "ok",
        why="; ".join(str(step) for step in missing) or "nothing to do",
        remedy="Run standalone-init apply" if missing else "",
    )
    return [airflow, Finding(what="database", verdict="ok", why=f"{state}: {state.why}"), work]
