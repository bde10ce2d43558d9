"""``airflow-ecs doctor``: everything this package knows how to check, on the component it runs in.

Queues (``airflow-ecs doctor sqs``), Airflow's settings, the execution API, and the XCom bucket and its key.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
import uuid
from typing import Any

from airflow_ecs import doctor_sqs
from airflow_ecs.airflow_findings import COLD_START_SECONDS, AirflowFacts, of_airflow
from airflow_ecs.hostname import METADATA_VARIABLE
from airflow_ecs.queue_findings import Finding
from airflow_ecs.xcom.errors import XComSettingsError, XComStoreError

_TIMEOUT_SECONDS = 5.0
_XCOM_BACKEND = "airflow_ecs.xcom_s3.S3XComBackend"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    doctor_sqs.add_arguments(parser)
    parser.add_argument(
        "--cold-start-seconds",
        type=float,
        default=COLD_START_SECONDS,
        metavar="SECONDS",
        help=f"from desired count to a worker that takes tasks ({COLD_START_SECONDS:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line per finding; return 1 when one is an error, else 0."""
    facts = facts_in_force()
    findings = [
        *of_airflow(facts, cold_start_seconds=arguments.cold_start_seconds),
        *of_execution_api(facts.execution_api_url),
        *of_xcom(),
    ]
    worst = doctor_sqs.tell(findings)
    return max(worst, doctor_sqs.run(arguments)) if _uses_sqs() else worst


def facts_in_force() -> AirflowFacts:
    """Read Airflow's configuration as this component has it, secrets backends and all."""
    from airflow.configuration import conf  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image

    environment = os.environ  # noqa: TID251  # what ECS and the user set
    return AirflowFacts(
        jwt_secret=conf.get("api_auth", "jwt_secret", fallback="") or "",
        secret_key=conf.get("api", "secret_key", fallback="") or "",
        fernet_key=conf.get("core", "fernet_key", fallback="") or "",
        is_set_by_user={
            f"{section}.{option}": _is_shared(conf, section, option)
            for section, option in (("api_auth", "jwt_secret"), ("api", "secret_key"), ("core", "fernet_key"))
        },
        execution_api_url=conf.get("core", "execution_api_server_url", fallback="") or "",
        on_ecs=METADATA_VARIABLE in environment,
        refresh_interval_seconds=conf.getfloat("dag_processor", "refresh_interval"),
        versioned_bundles=_has_versioned_bundles(conf),
        task_queued_timeout_seconds=conf.getfloat("scheduler", "task_queued_timeout"),
        max_failed_heartbeats=conf.getint("workers", "max_failed_heartbeats"),
        min_heartbeat_interval_seconds=conf.getfloat("workers", "min_heartbeat_interval"),
        hostname_callable=conf.get("core", "hostname_callable"),
        dumb_init_setsid=environment.get("DUMB_INIT_SETSID"),
    )


def of_execution_api(url: str) -> list[Finding]:
    """Ask the execution API how it is; without it no task starts, and running ones are killed."""
    if not url:
        return []
    health = f"{url.rstrip('/')}/health"
    if not health.startswith(("http://", "https://")):
        return [Finding("error", "execution API", f"{url!r} is no HTTP address")]
    try:
        with urllib.request.urlopen(health, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  # http, as just checked
            answer.read(1_024)
    except (urllib.error.URLError, OSError, ValueError) as err:
        text = (
            f"{health} does not answer: {err}. Run 'airflow api-server --apps execution' always on; check its"
        )
        return [Finding("error", "execution API", f"{text} security group and service discovery")]
    return [Finding("ok", "execution API", f"{health} answers")]


def of_xcom() -> list[Finding]:
    """Write, read and delete a value through the real bucket and key; say what the bucket lacks."""
    from airflow.configuration import conf  # noqa: PLC0415  # of the image

    if conf.get("core", "xcom_backend") != _XCOM_BACKEND:
        return [
            Finding("ok", "[core] xcom_backend", "is not the one of airflow_ecs: its bucket is not looked at")
        ]
    from airflow_ecs.xcom import settings as xcom_settings  # noqa: PLC0415  # only where it is used
    from airflow_ecs.xcom.making import client, make_store  # noqa: PLC0415  # the same

    try:
        settings = xcom_settings.read(os.environ)  # noqa: TID251  # where users set it
    except XComSettingsError as err:
        return [Finding("error", "XCom store", problem) for problem in err.problems]
    store = make_store(settings, to_json=lambda value: value, from_json=lambda value: value)
    return [of_xcom_probe(store), of_xcom_bucket(client("s3"), settings.bucket)]


def of_xcom_probe(store: Any) -> Finding:
    """Do what a task does."""
    from airflow_ecs.xcom.keys import Coordinate  # noqa: PLC0415  # only where it is used

    probe = uuid.uuid4().hex
    coordinate = Coordinate(dag_id="airflow-ecs-doctor", run_id=probe, task_id="doctor")
    try:
        reference = store.put(coordinate, b"probe")
        found = store.get(reference)
        store.purge(reference)
    except XComStoreError as err:
        return Finding("error", "XCom store", str(err))
    if found != b"probe":
        return Finding("error", "XCom store", "another value came back than was stored: report it")
    return Finding("ok", "XCom store", "a value was written, read and deleted under the key")


def of_xcom_bucket(s3: Any, bucket: str) -> Finding:
    """Look whether the bucket has versions: without them a zombie can overwrite what a reference means."""
    subject = f"XCom bucket {bucket}"
    try:
        status = s3.get_bucket_versioning(Bucket=bucket).get("Status")
    except Exception as err:  # noqa: BLE001  # botocore's errors have no common base but this; it is told
        return Finding(
            "warning", subject, f"whether it has versions is not known: {type(err).__name__}: {err}"
        )
    if status != "Enabled":
        text = (
            "has no versioning: a task that was given up can overwrite the value of its retry (it"
            " is noticed, as"
        )
        return Finding(
            "warning", subject, f"{text} corrupt). Switch it on, with a lifecycle rule for old versions"
        )
    return Finding("ok", subject, "has versions")


def _uses_sqs() -> bool:
    return bool(os.environ.get("AIRFLOW_ECS_SQS_QUEUES"))  # noqa: TID251  # where users set it


def _is_shared(conf: Any, section: str, option: str) -> bool:
    """Whether it comes from the environment or a secret: what is in a container's own file was made there."""
    prefix = f"AIRFLOW__{section.upper()}__{option.upper()}"
    names = (prefix, f"{prefix}_CMD", f"{prefix}_SECRET")
    return any(name in os.environ for name in names) or conf.has_option(section, f"{option}_secret")  # noqa: TID251  # where users set it


def _has_versioned_bundles(conf: Any) -> bool:
    try:
        bundles = json.loads(conf.get("dag_processor", "dag_bundle_config_list"))
    except (TypeError, ValueError):
        return False
    return bool(bundles) and all("EfsReleaseBundle" in str(each.get("classpath")) for each in bundles)
