"""The ``log-forwarder`` command."""

from __future__ import annotations

import sys

from log_forwarder.audit import command as audit
from log_forwarder.program import EXIT_LEFT_BEHIND, LogForwarder
from log_forwarder.settings import ForwarderSettings
from sidecar import cli
from sidecar.app import Command, Sidecar

SIDECAR = Sidecar(
    name="log-forwarder",
    summary="Ships every log line of every Airflow service to Amazon Data Firehose.",
    settings=ForwarderSettings,
    wire=LogForwarder,
    commands=(
        Command(
            name="audit",
            meaning="read shipped objects back and prove that no byte of any source is missing",
            act=lambda _settings, _runtime, arguments: audit.run(arguments),
            add_arguments=audit.add_arguments,
        ),
    ),
    exit_codes={
        EXIT_LEFT_BEHIND: "ended before everything was delivered; it is still in the files",
        audit.EXIT_INCOMPLETE: "audit: something is missing or damaged",
    },
)


def main() -> int:
    """Run the command line; return the exit code."""
    if sys.argv[1:2] == ["audit"]:  # it needs no settings: it runs where the bucket can be read
        return audit.main(sys.argv[2:])
    return cli.main(SIDECAR)


if __name__ == "__main__":
    sys.exit(main())
