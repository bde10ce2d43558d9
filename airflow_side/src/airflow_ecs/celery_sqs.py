"""SQS in the place of Redis: ``[celery] celery_config_options = airflow_ecs.celery_sqs.CELERY_CONFIG``.

That, and ``AIRFLOW_ECS_SQS_QUEUES``, is all. ``CELERY_CONFIG`` is the provider's own configuration with what
is right for SQS merged into it, member by member, so it serves both of the provider's code paths: the worker
takes it as it is, the scheduler lays it over the default again.

Importing this module raises :class:`~airflow_ecs.sqs_profile.SqsProfileError` for whatever loses or doubles
tasks. ``AIRFLOW_ECS_WORKER_AGENT=off`` leaves the worker agent out.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.celery.executors.default_celery import (  # type: ignore[import-not-found]  # of the image
    DEFAULT_CELERY_CONFIG,
    conf,  # whichever configuration this version of the provider itself reads
)

from airflow_ecs import publish_latency, sqs_profile, versions
from airflow_ecs.worker_agent import settings

__all__ = ["CELERY_CONFIG"]

_OPTIONS = "broker_transport_options"
_SECTION = "celery_broker_transport_options"


def _configuration() -> dict[str, Any]:
    environment = os.environ  # noqa: TID251  # where users set it
    if found := versions.problems():
        raise sqs_profile.SqsProfileError(found)
    profile = sqs_profile.celery_settings(
        sqs_profile.read(environment), with_agent=settings.is_enabled(environment)
    )
    config = sqs_profile.merged(DEFAULT_CELERY_CONFIG, profile)
    # What the user wrote goes before the profile; what the provider put there by itself does not.
    config = sqs_profile.merged(config, _written_by_the_user(DEFAULT_CELERY_CONFIG))
    sqs_profile.refuse(config, default_queue=conf.get("operators", "default_queue"))
    return config


def _written_by_the_user(default: dict[str, Any]) -> dict[str, Any]:
    options = {name: value for name, value in default[_OPTIONS].items() if conf.has_option(_SECTION, name)}
    options.pop("predefined_queues", None)  # there is one variable for the queues
    written = {**conf.getjson("celery", "extra_celery_config", fallback={}), _OPTIONS: options}
    if not conf.getboolean("celery", "task_acks_late", fallback=True):
        written["task_acks_late"] = False
    if not default["broker_url"].startswith("redis:"):
        written["broker_url"] = default["broker_url"]
    written["worker_prefetch_multiplier"] = default["worker_prefetch_multiplier"]
    return written


CELERY_CONFIG = _configuration()
publish_latency.watch()
