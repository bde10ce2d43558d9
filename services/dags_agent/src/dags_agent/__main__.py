"""The console script ``dags-agent``."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Any

from dags_agent import commands, deploying, waiting
from dags_agent.deploy_settings import DeploySettings
from dags_agent.program import Agent
from dags_agent.settings import DagsAgentSettings
from sidecar import cli
from sidecar.app import Command, Sidecar

_ALLOW_DELETE = "--allow-delete"

DAGS_AGENT: Sidecar[Any] = Sidecar(
    name="dags-agent",
    summary=(
        "Keeps a directory in step with an S3 prefix; readers see whole releases only. "
        "`once --allow-delete` publishes a listing that a guard against deletions refuses."
    ),
    settings=DagsAgentSettings,
    wire=Agent,
    commands=(
        Command(name="releases", meaning="list the releases that are kept", act=commands.releases),
        Command(
            name="diff",
            meaning="say how one release differs from another",
            act=commands.diff,
            add_arguments=commands.add_diff_arguments,
        ),
        Command(
            name="verify",
            meaning="hash a release and say what is not as published",
            act=commands.verify,
            add_arguments=commands.add_verify_arguments,
        ),
        Command(
            name="rollback",
            meaning="serve a kept release again, and stay there until `resume`",
            act=commands.rollback,
            add_arguments=commands.add_rollback_arguments,
        ),
        Command(name="resume", meaning="follow S3 again after a rollback", act=commands.resume),
        Command(
            name="publish",
            meaning="upload a tree to S3, the marker last; for CI jobs",
            act=deploying.publish,
            add_arguments=deploying.add_publish_arguments,
        ),
        Command(
            name="wait",
            meaning="return when a deploy is what readers see; for CI jobs",
            act=waiting.wait,
            add_arguments=waiting.add_wait_arguments,
        ),
    ),
    can_dry_run=True,
)


def main() -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:]
    sidecar = DAGS_AGENT
    if words[:1] in (["publish"], ["wait"]):
        sidecar = replace(sidecar, settings=DeploySettings)
    elif words[:1] == ["once"] and _ALLOW_DELETE in words:
        # The chassis owns the arguments of `once`; this one changes how the agent is put together.
        words = [word for word in words if word != _ALLOW_DELETE]
        sidecar = replace(sidecar, wire=partial(Agent, may_delete_all=True))
    return cli.main(sidecar, words)


if __name__ == "__main__":
    sys.exit(main())
