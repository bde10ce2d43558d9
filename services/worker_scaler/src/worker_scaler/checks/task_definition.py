"""What of a worker's task definition would lose tasks, or mislead the scaler."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sidecar.app import Finding
from worker_scaler.model import Fleet

FARGATE_STOP_TIMEOUT_MAX_SECONDS = 120
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html, stopTimeout"""

_DEFAULT_STOP_TIMEOUT_SECONDS = 30
_CONCURRENCY = "AIRFLOW__CELERY__WORKER_CONCURRENCY"
_AUTOSCALE = "AIRFLOW__CELERY__WORKER_AUTOSCALE"
_HOSTNAME = "AIRFLOW__CORE__HOSTNAME_CALLABLE"
_DEFAULT_CONCURRENCY = 16

Document = Mapping[str, Any]


def findings(fleet: Fleet, definition: Document) -> Iterator[Finding]:
    """Yield what is to be said of a worker's task definition."""
    container = worker_container(definition.get("containerDefinitions", []))
    if container is None:
        yield _about(fleet, "worker container", why="the task definition has no container")
        return
    environment = {
        pair["name"]: pair["value"] for pair in container.get("environment", []) if "value" in pair
    }
    from_secrets = {pair["name"] for pair in container.get("secrets", [])}
    yield _signals(fleet, container, environment)
    yield _stop_timeout(fleet, container)
    yield _concurrency(fleet, container, environment, from_secrets)
    yield _hostname(fleet, definition, environment, from_secrets)


def worker_container(containers: Sequence[Document]) -> Document | None:
    """Return the container that runs the worker: whose command says so, else the first essential one."""
    for container in containers:
        words = [*container.get("entryPoint", []), *container.get("command", [])]
        if "celery" in " ".join(words) and "worker" in " ".join(words):
            return container
    essential = [container for container in containers if container.get("essential", True)]
    return essential[0] if essential else None


def _signals(fleet: Fleet, container: Document, environment: Mapping[str, str]) -> Finding:
    what = "signals reach the worker alone"
    entry_point = container.get("entryPoint", [])
    if environment.get("DUMB_INIT_SETSID") == "0" or (
        entry_point and "dumb-init" not in " ".join(entry_point)
    ):
        return _ok(fleet, what)
    return _about(
        fleet,
        what,
        why="without DUMB_INIT_SETSID=0 dumb-init sends SIGTERM to the running tasks too: they die",
        remedy="Set DUMB_INIT_SETSID=0 in the worker container's environment",
        verdict="problem",
    )


def _stop_timeout(fleet: Fleet, container: Document) -> Finding:
    what = "stop timeout"
    seconds = container.get("stopTimeout", _DEFAULT_STOP_TIMEOUT_SECONDS)
    if seconds >= FARGATE_STOP_TIMEOUT_MAX_SECONDS:
        return _ok(fleet, what, why=f"{seconds} s")
    return _about(
        fleet,
        what,
        why=f"{seconds} s after SIGTERM the worker is killed, with a task that reached it in the last moment",
        remedy=f"Set stopTimeout to {FARGATE_STOP_TIMEOUT_MAX_SECONDS}, the most that Fargate gives",
    )


def _concurrency(
    fleet: Fleet, container: Document, environment: Mapping[str, str], from_secrets: set[str]
) -> Finding:
    what = "tasks per worker"
    if environment.get(_AUTOSCALE):
        return _about(
            fleet,
            what,
            why=f"{_AUTOSCALE} lets the number of slots change by itself",
            remedy=f"Remove it and set {_CONCURRENCY}={fleet.tasks_per_worker}",
        )
    if _CONCURRENCY in from_secrets:
        return _ok(fleet, what, why=f"{_CONCURRENCY} is a secret and was not compared")
    told = _option(container) or environment.get(_CONCURRENCY)
    actual = told or str(_DEFAULT_CONCURRENCY)
    if actual == str(fleet.tasks_per_worker):
        return _ok(fleet, what, why=actual)
    return _about(
        fleet,
        what,
        why=f"the worker runs {actual} tasks at a time"
        + ("" if told else " (Airflow's default, if the image's airflow.cfg does not say otherwise)")
        + f", the fleet says {fleet.tasks_per_worker}",
        remedy=f"Set tasks_per_worker of fleet {fleet.name!r} to {actual}, or {_CONCURRENCY} to "
        f"{fleet.tasks_per_worker}",
        verdict="problem" if told else "warning",
    )


def _option(container: Document) -> str | None:
    """Return what ``--concurrency`` or ``-c`` says in the command."""
    words = shlex.split(" ".join(container.get("command", [])), posix=False)
    for place, word in enumerate(words):
        if word.startswith("--concurrency="):
            return word.partition("=")[2]
        if word in ("--concurrency", "-c") and place + 1 < len(words) and words[place + 1].isdigit():
            return words[place + 1]
    return None


def _hostname(
    fleet: Fleet, definition: Document, environment: Mapping[str, str], from_secrets: set[str]
) -> Finding:
    what = "host names lead to ECS tasks"
    mode = definition.get("networkMode", "bridge")
    if _HOSTNAME in environment or _HOSTNAME in from_secrets:
        return _ok(fleet, what, why=environment.get(_HOSTNAME, "by a secret"))
    if mode == "host":
        return _about(
            fleet,
            what,
            why="in network mode host all workers of an instance have its name: none can be released",
            remedy=f"Set {_HOSTNAME}=airflow_ecs.hostname.get_hostname, or use awsvpc",
            verdict="problem",
        )
    if mode == "awsvpc":
        return _about(
            fleet,
            what,
            why="the default asks DNS for the worker's name, and the name may be one ECS does not know",
            remedy=f"Set {_HOSTNAME}=airflow.utils.net.get_host_ip_address",
        )
    return _ok(fleet, what, why=f"network mode {mode}: the container's id")


def _ok(fleet: Fleet, what: str, *, why: str = "") -> Finding:
    return Finding(what=f"fleet {fleet.name}: {what}", verdict="ok", why=why)


def _about(fleet: Fleet, what: str, *, why: str, remedy: str = "", verdict: Any = "warning") -> Finding:
    return Finding(what=f"fleet {fleet.name}: {what}", verdict=verdict, why=why, remedy=remedy)
