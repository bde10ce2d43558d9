"""What the agent says to the person woken at night when the task cannot be protected."""

from __future__ import annotations

import logging

from airflow_ecs.worker_agent.protection import Denied, Unreachable

_log = logging.getLogger(__name__)


def tell_problem(problem: Denied | Unreachable) -> None:
    """Log why ECS does not protect the task, what that does to its work, and what to do."""
    if isinstance(problem, Denied):
        _log.error(
            "ECS does not protect this task from scale-in: %s. The worker takes no new work until it does;"
            " what runs goes on. Check ecs:UpdateTaskProtection of the task role, and that the service's"
            " desired count is not below its protected tasks.",
            problem.why,
        )
    else:
        _log.error(
            "The ECS agent does not answer, so this task cannot be protected from scale-in: %s. Work goes"
            " back once for others, and then begins here without protection until the agent answers.",
            problem.why,
        )
