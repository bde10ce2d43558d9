"""What Airflow's own settings mean on ECS. No I/O: the settings are given as they are in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_ecs.queue_findings import Finding

COLD_START_SECONDS = 300.0  # a Fargate task with a large image, until its worker is ready
MIN_FAILED_HEARTBEATS = 10
MAX_REFRESH_SECONDS = 30.0
_MIN_JWT_BYTES = 64  # HS512, https://datatracker.ietf.org/doc/html/rfc7518#section-3.2
_SHARED = "every component makes its own otherwise"
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowFacts:
    """The settings that matter, of the component this runs in.

    Attributes:
        jwt_secret, secret_key, fernet_key: empty when they are not set by the user.
        is_set_by_user: option (``section.option``) to whether a user set it, and not Airflow's default.
        execution_api_url: where workers find the execution API.
        on_ecs: whether this is an ECS task.
        versioned_bundles: whether every DAG bundle supports versions.
        dumb_init_setsid: the variable, None when it is not set.
        is_worker: whether this component runs Celery's workers.
    """

    jwt_secret: str
    secret_key: str
    fernet_key: str
    is_set_by_user: Mapping[str, bool]
    execution_api_url: str
    on_ecs: bool
    refresh_interval_seconds: float
    versioned_bundles: bool
    task_queued_timeout_seconds: float
    max_failed_heartbeats: int
    min_heartbeat_interval_seconds: float
    hostname_callable: str
    dumb_init_setsid: str | None


def of_airflow(facts: AirflowFacts, *, cold_start_seconds: float) -> list[Finding]:
    """Judge them all, one finding for each."""
    return [
        *_secrets(facts),
        _execution_api(facts),
        _refresh(facts),
        _queued_timeout(facts, cold_start_seconds),
        _heartbeats(facts),
        _setsid(facts),
        _hostname(facts),
    ]


def _secrets(facts: AirflowFacts) -> list[Finding]:
    found = []
    for option, value, breaks in (
        ("api_auth.jwt_secret", facts.jwt_secret, "tasks fail with 'Signature verification failed'"),
        ("core.fernet_key", facts.fernet_key, "connections and variables cannot be read elsewhere"),
        ("api.secret_key", facts.secret_key, "logs cannot be fetched, and sessions end with each container"),
    ):
        section, name = option.split(".")
        subject = f"[{section}] {name}"
        if not value or not facts.is_set_by_user.get(option):
            text = (
                f"is not set: {_SHARED}, and {breaks}. Set the same from Secrets Manager on every component"
            )
            found.append(Finding("error", subject, text))
        elif option == "api_auth.jwt_secret" and len(value.encode()) < _MIN_JWT_BYTES:
            text = f"is shorter than {_MIN_JWT_BYTES} bytes, which its algorithm wants: make a longer one"
            found.append(Finding("warning", subject, text))
        else:
            text = f"is set. Compare with the other components: {fingerprint_text(value)}"
            found.append(Finding("ok", subject, text))
    return found


def fingerprint_text(value: str) -> str:
    """Return what may be printed of a secret: the same for the same one, and nothing about it."""
    import hashlib  # noqa: PLC0415  # beside its only use

    digest = hashlib.scrypt(value.encode(), salt=b"airflow-ecs doctor", n=16_384, r=8, p=1, dklen=4)
    return f"fingerprint {digest.hex()}"


def _execution_api(facts: AirflowFacts) -> Finding:
    subject = "[core] execution_api_server_url"
    url = facts.execution_api_url
    if facts.on_ecs and (not url or any(host in url for host in _LOCAL)):
        text = (
            f"is {url!r}: no API server is in this task, and every task fails at start. Set the"
            " address of the"
        )
        return Finding("error", subject, f"{text} always-on execution API, ending in /execution/")
    if url and not url.rstrip("/").endswith("/execution"):
        return Finding("error", subject, f"is {url!r}: it ends in /execution/ where the API is served")
    return Finding("ok", subject, f"is {url or 'the default, on this machine'}")


def _refresh(facts: AirflowFacts) -> Finding:
    subject = "[dag_processor] refresh_interval"
    seconds = facts.refresh_interval_seconds
    if seconds <= MAX_REFRESH_SECONDS:
        return Finding("ok", subject, f"is {seconds:g} s")
    if facts.versioned_bundles:
        text = (
            f"is {seconds:g} s: new DAGs are seen that late. With EfsReleaseBundle a look costs one"
            " readlink: set 10"
        )
    else:
        text = (
            f"is {seconds:g} s: new DAGs are seen that late. Use"
            " airflow_ecs.bundles.EfsReleaseBundle, then set 10"
        )
    return Finding("warning", subject, text)


def _queued_timeout(facts: AirflowFacts, cold_start_seconds: float) -> Finding:
    subject = "[scheduler] task_queued_timeout"
    seconds, least = facts.task_queued_timeout_seconds, 2 * cold_start_seconds
    if seconds <= cold_start_seconds:
        text = (
            f"is {seconds:g} s and a worker needs {cold_start_seconds:g} s to start: tasks fail"
            " before it is there"
        )
        return Finding("error", subject, f"{text}. Set 3600 (a message's token lives as long)")
    if seconds <= least:
        text = (
            f"is {seconds:g} s, and a cold start of {cold_start_seconds:g} s leaves little for a"
            " backlog. Set 3600"
        )
        return Finding("warning", subject, text)
    return Finding("ok", subject, f"is {seconds:g} s for a cold start of {cold_start_seconds:g} s")


def _heartbeats(facts: AirflowFacts) -> Finding:
    subject = "[workers] max_failed_heartbeats"
    count = facts.max_failed_heartbeats
    seconds = count * facts.min_heartbeat_interval_seconds
    if count < MIN_FAILED_HEARTBEATS:
        text = (
            f"is {count}: running tasks are killed when the execution API is away for about {seconds:g}"
            " s, as in a"
            " deployment. Set 20"
        )
        return Finding("warning", subject, text)
    return Finding("ok", subject, f"is {count}: tasks survive about {seconds:g} s without the execution API")


def _setsid(facts: AirflowFacts) -> Finding:
    subject = "DUMB_INIT_SETSID"
    if facts.dumb_init_setsid == "0":
        return Finding("ok", subject, "is 0: a stop reaches the worker alone")
    text = (
        "is not 0: where workers run, ECS's SIGTERM reaches every task as well, and ends it. Set 0 on workers"
    )
    return Finding("warning", subject, text)


def _hostname(facts: AirflowFacts) -> Finding:
    subject = "[core] hostname_callable"
    if facts.hostname_callable == "airflow_ecs.hostname.get_task_ip":
        return Finding("ok", subject, "is the ECS task's address")
    text = (
        f"is {facts.hostname_callable!r}: worker_scaler may not find the ECS task of a running task, and"
        " then releases"
        " none. Set airflow_ecs.hostname.get_task_ip"
    )
    return Finding("warning", subject, text)
