"""The console script ``airflow-ecs``. A subcommand's module is imported when it is called, and not before."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One subcommand.

    Attributes:
        words: how it is called.
        help: what it is for.
        module: where its ``add_arguments(parser)`` and ``run(arguments) -> exit code`` are.
    """

    words: tuple[str, ...]
    help: str
    module: str


SUBCOMMANDS = (
    Subcommand(("doctor", "sqs"), "check Celery's queues against the profile", "airflow_ecs.doctor_sqs"),
    Subcommand(("doctor", "all"), "all checks; what `doctor` alone does", "airflow_ecs.doctor"),
    Subcommand(("queue-depth",), "print the queue depth for worker_scaler", "airflow_ecs.queue_depth"),
    Subcommand(("xcom", "sweep"), "find the objects of XComs that are no more", "airflow_ecs.xcom.sweep"),
    Subcommand(("worker-health",), "is this worker's event loop alive", "airflow_ecs.worker_agent.health"),
)
GROUPS = {"doctor": "check a real environment", "xcom": "look after the XCom store"}
# A group that does something by itself: then its first option, or nothing, follows its name.
_ALONE = {"doctor": "all"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code. 2 is a wrong call, as argparse has it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if (
        given
        and given[0] in _ALONE
        and (len(given) == 1 or given[1].startswith("--"))
        and "--help" not in given
    ):
        given.insert(1, _ALONE[given[0]])
    chosen = next((each for each in SUBCOMMANDS if tuple(given[: len(each.words)]) == each.words), None)
    parser = _parser(chosen)
    found = parser.parse_args(given)
    if chosen is None:
        parser.print_help()
        return 2
    run: Callable[[argparse.Namespace], int] = importlib.import_module(chosen.module).run
    return run(found)


def _parser(chosen: Subcommand | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airflow-ecs", description="Apache Airflow 3 on AWS ECS.")
    first = parser.add_subparsers(metavar="COMMAND")
    groups = {
        name: first.add_parser(name, help=text, description=text).add_subparsers(
            metavar="WHAT", required=True
        )
        for name, text in GROUPS.items()
    }
    for each in SUBCOMMANDS:
        where = groups[each.words[0]] if len(each.words) > 1 else first
        made = where.add_parser(each.words[-1], help=each.help, description=each.help)
        if each is chosen:
            importlib.import_module(each.module).add_arguments(made)
    return parser


if __name__ == "__main__":
    sys.exit(main())
