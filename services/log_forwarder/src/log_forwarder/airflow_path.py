"""Who wrote a task log, read from its path. Pure.

Lines of ``print()`` in a task carry no identity, the path always does. Airflow's default template is
``dag_id=…/run_id=…/task_id=…/[map_index=…/]attempt=….log``
(https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#log-filename-template);
a deferred task's triggerer writes ``attempt=N.log.trigger.<job id>.log`` beside it.
"""

from __future__ import annotations

import re
from typing import Literal

_TEXT = ("dag_id", "run_id", "task_id")
_NUMBER = re.compile(r"^(?P<name>map_index|attempt)=(?P<value>-?\d+)")


def kind_of(path: str) -> Literal["airflow_task", "file"]:
    """Say whether a file is a task's log."""
    return "airflow_task" if "/task_id=" in path else "file"


def identify(path: str) -> dict[str, str | int]:
    """Return those of ``dag_id run_id task_id map_index attempt`` that the path names."""
    found: dict[str, str | int] = {}
    for segment in path.split("/"):
        name, separator, value = segment.partition("=")
        if separator and name in _TEXT:
            found[name] = value
        elif match := _NUMBER.match(segment):
            found[match["name"]] = int(match["value"])
    return found
