"""The commands beside ``apply``: those that only read, and ``sync``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from sidecar.app import Command, Runtime
from sidecar.errors import EXIT_OK, ConfigError
from standalone_init import preview, record, secrets_command, verify, way_back_commands
from standalone_init.apply import objects_alone
from standalone_init.errors import NOT_VERIFIED, TRY_AGAIN
from standalone_init.plan import SyncObjects, plan
from standalone_init.refusal import refusal
from standalone_init.settings import StandaloneInitSettings
from standalone_init.state import StateClass
from standalone_init.wiring import Parts, a_run, parts

_RUNS_SHOWN = 10


def commands() -> Sequence[Command[StandaloneInitSettings]]:
    """Return them for the chassis."""
    return (
        Command(name="inspect", meaning="print the database's state as JSON; change nothing", act=_inspect),
        Command(
            name="plan",
            meaning="print what apply would do, and whom its migration will lock; change nothing",
            act=_plan,
            add_arguments=_as_json,
        ),
        Command(
            name="sync",
            meaning="bring users, roles, pools, connections and variables to the objects file",
            act=_sync,
            add_arguments=_sync_arguments,
        ),
        secrets_command.command(),
        *way_back_commands.commands(),
        Command(name="verify", meaning="read whether everything is as wanted; change nothing", act=_verify),
        Command(name="gate", meaning="may this image start? 0 yes, 75 not yet, 65-67 never so", act=_gate),
        Command(
            name="report", meaning=f"print the last {_RUNS_SHOWN} runs on this database as JSON", act=_report
        ),
    )


def _as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _built(settings: StandaloneInitSettings, runtime: Runtime) -> Parts:
    def tell(why: str, pause_seconds: float) -> None:
        sys.stderr.write(f"standalone-init: no answer yet ({why}), again in {pause_seconds:.1f} s\n")

    return parts(settings, runtime, tell_unreachable=tell)


def _inspect(settings: StandaloneInitSettings, runtime: Runtime, _arguments: argparse.Namespace) -> int:
    observer = _built(settings, runtime).observer
    state = observer.database_state()
    _print_json(
        {
            "state": state.name,
            "pending_revisions": state.pending,
            "why": state.why,
            "revisions": sorted(state.revisions),
            "heads": sorted(state.heads),
            "airflow_version": observer.image.airflow_version,
        }
    )
    return EXIT_OK


def _plan(settings: StandaloneInitSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    built = _built(settings, runtime)
    observer = built.observer
    observation = observer.observe()
    steps = plan(observation, observer.wanted)
    ahead = preview.preview(
        observation.database, observation.image, airflow=built.airflow, database=built.database
    )
    if arguments.json:
        _print_json(
            {
                "state": str(observation.database),
                "steps": [{"step": step.name, "does": str(step)} for step in steps],
                "migration": preview.document(ahead) if ahead else None,
            }
        )
        return EXIT_OK
    sys.stdout.writelines(f"{number}. {step}\n" for number, step in enumerate(steps, start=1))
    if ahead is not None:
        sys.stdout.writelines(f"   {line}\n" for line in preview.lines(ahead))
    sys.stdout.write("no impact until here\n" if steps else "nothing to do\n")
    return EXIT_OK


def _verify(settings: StandaloneInitSettings, runtime: Runtime, _arguments: argparse.Namespace) -> int:
    built = _built(settings, runtime)
    problems = 0
    for finding in verify.findings(
        built.observer.observe(), built.observer.wanted, built.database, model=built.observer.model
    ):
        problems += finding.verdict == "problem"
        tail = ". ".join(text for text in (finding.why, finding.remedy) if text)
        sys.stdout.write(f"{finding.verdict:<8} {finding.what}: {tail}\n")
    return NOT_VERIFIED if problems else EXIT_OK


def _sync(settings: StandaloneInitSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    if settings.objects_file is None:
        raise ConfigError("There is nothing to sync", remedy="Set STANDALONE_INIT_OBJECTS_FILE")
    if arguments.prune:
        settings = settings.model_copy(update={"objects_prune": True})
    if not arguments.diff:
        return a_run(settings, runtime, choose=objects_alone).run()
    observer = _built(settings, runtime).observer
    for step in objects_alone(observation := observer.observe(), plan(observation, observer.wanted)):
        if isinstance(step, SyncObjects):
            sys.stdout.writelines(f"{change}\n" for change in step.changes or ())
    return EXIT_OK


def _sync_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--diff", action="store_true", help="print what would be changed; change nothing")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="also remove what an earlier objects file declared and this one does not",
    )


def _gate(settings: StandaloneInitSettings, runtime: Runtime, _arguments: argparse.Namespace) -> int:
    observer = _built(settings, runtime).observer
    state = observer.database_state()
    refused = refusal(state, observer.image)
    if refused is not None:
        raise refused
    if state.name is StateClass.CURRENT:
        sys.stdout.write(f"{state}: {state.why}\n")
        return EXIT_OK
    sys.stderr.write(f"standalone-init: not yet: {state}: {state.why}. Run standalone-init apply\n")
    return TRY_AGAIN


def _report(settings: StandaloneInitSettings, runtime: Runtime, _arguments: argparse.Namespace) -> int:
    with _built(settings, runtime).database.reader() as connection:
        _print_json(list(record.latest(connection, _RUNS_SHOWN)))
    return EXIT_OK


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
