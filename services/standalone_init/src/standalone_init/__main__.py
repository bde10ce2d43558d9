"""``standalone-init``: settings in, exit code out."""

from __future__ import annotations

import argparse
import sys

from sidecar import cli, process
from sidecar.app import Command, Runtime, Sidecar
from standalone_init.commands import commands
from standalone_init.errors import EXIT_CODES
from standalone_init.settings import StandaloneInitSettings
from standalone_init.wiring import StandaloneInit


def _apply(settings: StandaloneInitSettings, runtime: Runtime, _arguments: argparse.Namespace) -> int:
    return process.run(SIDECAR, settings, runtime, "run")


def _with_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")


SIDECAR: Sidecar[StandaloneInitSettings] = Sidecar(
    name="standalone-init",
    summary="Bring an Airflow deployment's database, directories and first user to what this image needs.",
    settings=StandaloneInitSettings,
    wire=StandaloneInit,
    commands=(
        Command(
            name="apply",
            meaning="do what is missing and exit (= run)",
            act=_apply,
            add_arguments=_with_dry_run,
        ),
        *commands(),
    ),
    can_dry_run=True,
    exit_codes=EXIT_CODES,
)


def main() -> int:
    """Run the command line; return the process's exit code."""
    return cli.main(SIDECAR)


if __name__ == "__main__":
    sys.exit(main())
