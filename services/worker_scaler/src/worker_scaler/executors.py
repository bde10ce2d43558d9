"""Whose task is it: Celery's, or another executor's? Pure.

``task_instance.executor`` holds what the DAG's author wrote: nothing (the default executor), a class name,
its full path, or an alias that only Airflow's configuration can resolve.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

DEFAULT = "default"
"""How the settings name the executor of a task that names none."""

KNOWN_OTHERS = frozenset(
    {
        "AwsBatchExecutor",
        "AwsEcsExecutor",
        "AwsLambdaExecutor",
        "DaskExecutor",
        "DebugExecutor",
        "EdgeExecutor",
        "KubernetesExecutor",
        "LocalExecutor",
        "SequentialExecutor",
    }
)
"""The executors of Airflow 2.10 to 3.3 and its providers that run no Celery worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executors:
    """Which executors' tasks run on Celery workers.

    Attributes:
        celery: names and aliases, ``default`` among them for tasks that name none. Empty: all but the
            executors known to be others. A task too many costs a worker; a task too few could be stopped.
    """

    celery: Collection[str] = ()

    def run_on_celery(self, name: str | None) -> bool:
        """Whether tasks with this executor hold a slot of a Celery worker."""
        last = (name or DEFAULT).rpartition(".")[2]
        if self.celery:
            return (name or DEFAULT) in self.celery or last in self.celery
        return last not in KNOWN_OTHERS
