"""The console script ``dags-agent``."""

from __future__ import annotations

import sys

from dags_agent import commands
from dags_agent.program import Agent
from dags_agent.settings import DagsAgentSettings
from sidecar import cli
from sidecar.app import Command, Sidecar

DAGS_AGENT = Sidecar(
    name="dags-agent",
    summary="Keeps a directory in step with an S3 prefix; readers see whole releases only.",
    settings=DagsAgentSettings,
    wire=Agent,
    commands=(
        Command(name="releases", meaning="list the releases that are kept", act=commands.releases),
        Command(
            name="rollback",
            meaning="serve a kept release again, and stay there until `resume`",
            act=commands.rollback,
            add_arguments=commands.add_rollback_arguments,
        ),
        Command(name="resume", meaning="follow S3 again after a rollback", act=commands.resume),
    ),
    can_dry_run=True,
)


def main() -> int:
    """Run the command line; return the exit code."""
    return cli.main(DAGS_AGENT)


if __name__ == "__main__":
    sys.exit(main())
