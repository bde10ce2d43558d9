"""A Celery app without Airflow, with the settings that Airflow would get; runs in Airflow's own python.

STOCK=1 leaves airflow_ecs out of the worker: kombu and celery as they are, on the same queues and options.
"""
# ruff: noqa: TID251  # a program of its own: its settings are its environment

from __future__ import annotations

import os
import threading
from typing import Any

import psycopg2  # type: ignore[import-untyped]  # of the Airflow image
from celery import Celery, signals  # type: ignore[import-not-found]  # of the Airflow image

from airflow_ecs import sqs_profile

settings = sqs_profile.celery_settings(sqs_profile.read(os.environ), with_agent=not os.environ.get("STOCK"))
settings["broker_transport_options"]["wait_time_seconds"] = int(os.environ.get("WAIT_SECONDS", "2"))
app = Celery("plain")
app.conf.update(
    settings,
    task_default_queue="default",
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    task_ignore_result=True,
)


def break_connection() -> None:
    """Fail as a lost connection to the broker does."""
    raise ConnectionResetError("broken by the test")


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def break_connection_later(sender: Any, **_: object) -> None:
    """Break the connection once, a while after the worker is ready."""
    if os.environ.get("BREAK_AFTER"):
        sender.hub.call_later(float(os.environ["BREAK_AFTER"]), break_connection)


@app.task(name="work")  # type: ignore[untyped-decorator]  # celery has no types
def work(number: int, seconds: float = 0.0) -> None:
    """Write down that a task began and ended, in a row of its own."""
    with psycopg2.connect(os.environ["RUNS"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into runs (number, worker, pid) values (%s, %s, %s) returning id",
            (number, os.environ.get("NAME", ""), os.getpid()),
        )
        row = cursor.fetchone()
        connection.commit()
        if seconds:
            threading.Event().wait(seconds)
        cursor.execute("update runs set ended = clock_timestamp() where id = %s", row)
