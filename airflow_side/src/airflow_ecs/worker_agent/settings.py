"""What can be set about the agent: environment variables, read once when the worker starts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "AIRFLOW_ECS_WORKER_AGENT"
DEFAULT_PORT = 9465  # docs/adr/0004
DEFAULT_HEARTBEAT_FILE = "/tmp/airflow-ecs-worker.heartbeat"  # noqa: S108  # of the container: nobody else is in it
MAX_PROTECTION_MINUTES = (
    2880  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
)
_OFF = frozenset({"off", "false", "no", "0"})
_ON = frozenset({"on", "true", "yes", "1", ""})
_MEMBERS = (
    "HOST",
    "PORT",
    "TOKEN",
    "ORDER_FILE",
    "HEARTBEAT_FILE",
    "PROTECTION_MINUTES",
    "RELEASE_AFTER_SECONDS",
    "STOP_TIMEOUT_SECONDS",
)


class SettingsError(ValueError):
    """A setting is wrong; the text says which, and what it may be. Trying again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The agent's settings.

    Attributes:
        host: address to listen on; None is the ECS task's own, or all of them outside ECS.
        port: port to listen on; 0 takes any free one.
        token: what a request must bear; empty asks for none.
        order_file: an order for those who cannot speak HTTP; None watches no file.
        heartbeat_file: rewritten while the worker's event loop turns.
        protection_minutes: how long ECS is asked to protect the task; renewed at half of it.
        release_after_seconds: how long the worker is idle before it takes its own protection off.
        stop_timeout_seconds: the ``stopTimeout`` of the container; None never interrupts a task.
        agent_uri: the ECS agent's endpoint for this task; empty outside ECS.
        metadata_uri: the ECS metadata endpoint of this task; empty outside ECS.
    """

    host: str | None = None
    port: int = DEFAULT_PORT
    token: str = field(default="", repr=False)
    order_file: Path | None = None
    heartbeat_file: Path = Path(DEFAULT_HEARTBEAT_FILE)
    protection_minutes: int = 60
    release_after_seconds: float = 5.0
    stop_timeout_seconds: float | None = None
    agent_uri: str = ""
    metadata_uri: str = ""


def is_enabled(environment: Mapping[str, str]) -> bool:
    """Whether the agent is wanted: ``AIRFLOW_ECS_WORKER_AGENT``, on unless it says off.

    Raises:
        SettingsError: it says neither.
    """
    said = environment.get(PREFIX, "").strip().lower()
    if said in _OFF:
        return False
    if said in _ON:
        return True
    raise SettingsError(f"{PREFIX} is on or off, not {said!r}")


def read(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a value makes no sense, or a variable with our prefix is none of ours.
    """
    _refuse_unknown(environment)

    def get(member: str) -> str:
        return environment.get(f"{PREFIX}_{member}", "").strip()

    order_file = get("ORDER_FILE")
    stop_timeout = get("STOP_TIMEOUT_SECONDS")
    return Settings(
        host=get("HOST") or None,
        port=int(_number("PORT", get("PORT") or str(DEFAULT_PORT), 0, 65_535)),
        token=get("TOKEN"),
        order_file=Path(order_file) if order_file else None,
        heartbeat_file=Path(get("HEARTBEAT_FILE") or DEFAULT_HEARTBEAT_FILE),
        protection_minutes=int(
            _number("PROTECTION_MINUTES", get("PROTECTION_MINUTES") or "60", 2, MAX_PROTECTION_MINUTES)
        ),
        release_after_seconds=_number(
            "RELEASE_AFTER_SECONDS", get("RELEASE_AFTER_SECONDS") or "5", 0, 86_400
        ),
        stop_timeout_seconds=(
            _number("STOP_TIMEOUT_SECONDS", stop_timeout, 15, 86_400) if stop_timeout else None
        ),
        agent_uri=environment.get("ECS_AGENT_URI", ""),
        metadata_uri=environment.get("ECS_CONTAINER_METADATA_URI_V4", ""),
    )


def _number(member: str, text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise SettingsError(f"{PREFIX}_{member} is a number from {low:g} to {high:g}, not {text!r}")
    return number


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    for name in environment:
        member = name.removeprefix(f"{PREFIX}_")
        if member != name and member not in _MEMBERS:
            near = difflib.get_close_matches(member, _MEMBERS, n=1, cutoff=0)
            raise SettingsError(f"{name} is no setting; did you mean {PREFIX}_{near[0]}?")
