"""The console script ``dags-agent``."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from dags_agent import commands, deploying, waiting
from dags_agent.deploy_settings import DeploySettings
from dags_agent.program import ALLOW_DELETE, Agent
from dags_agent.settings import DagsAgentSettings
from sidecar import cli
from sidecar.app import Command, Sidecar

DAGS_AGENT: Sidecar[Any] = Sidecar(
    name="dags-agent",
    summary="Keeps a directory in step with an S3 prefix; readers see whole releases only.",
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
    once_flags={ALLOW_DELETE: "publish a listing that the guards against deletions refuse"},
)


def main() -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:]
    sidecar = DAGS_AGENT
    if words[:1] in (["publish"], ["wait"]):
        sidecar = replace(sidecar, settings=DeploySettings)
    return cli.main(sidecar, words)


if __name__ == "__main__":
    sys.exit(main())
