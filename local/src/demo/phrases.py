"""Say a sidecar's log line in words. Pure; an event without a phrase is shown as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Facts = Mapping[str, Any]

_ENVELOPE = {"service", "event", "level", "timestamp", "version", "settings"}
_UNTOLD = {"http_listening", "stopped", "airflow", "started"}
_LONGEST_VALUE = 60


def phrase(said: Facts) -> str | None:
    """Return one line for a log line, or None when it is not worth showing."""
    event = str(said.get("event"))
    if event in _UNTOLD:
        return None
    if event in _PHRASES:
        return _PHRASES[event](said)
    facts = " ".join(f"{key}={_short(value)}" for key, value in said.items() if key not in _ENVELOPE)
    return f"{event} {facts}".rstrip()


def _decided(said: Facts) -> str:
    return (
        f"{', '.join(said['steps'])} ({said['why']}): {said['queued_tasks']} queued + {said['running_tasks']}"
        f" running tasks want {said['wanted_workers']} workers, {said['busy_workers']} busy"
    )


def _published(said: Facts) -> str:
    return (
        f"published release {said['release']}: {said['files']} files,"
        f" {said['changed']} downloaded, {said['deleted']} deleted"
    )


def _observed(said: Facts) -> str:
    return f"the database is {said['state']}: {said['why']} (image: Airflow {said['airflow_version']})"


def _trouble(said: Facts) -> str:
    return ". ".join(str(said[key]) for key in ("what", "why", "to_do") if said.get(key))


_PHRASES: dict[str, Callable[[Facts], str]] = {
    "decided": _decided,
    "published": _published,
    "observed": _observed,
    "no_impact_until_here": lambda said: "no impact until here; next: " + "; ".join(said["next"]),
    "step_done": lambda said: f"done: {said['did']} ({said['duration_seconds']} s)",
    "finished": lambda said: f"finished: {said['outcome']}",
    "waiting_for_lock": lambda said: f"waits for the lock held by {said['holder']}",
    "stopping": lambda said: f"stops ({said['why']})",
    "everything_delivered": lambda _: "everything is delivered",
    "fatal": _trouble,
    "cycle_failed": _trouble,
}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
