"""The ``log-forwarder`` command."""

from __future__ import annotations

import sys

from log_forwarder.program import EXIT_LEFT_BEHIND, LogForwarder
from log_forwarder.settings import ForwarderSettings
from sidecar import cli
from sidecar.app import Sidecar

SIDECAR = Sidecar(
    name="log-forwarder",
    summary="Ships every log line of every Airflow service to Amazon Data Firehose.",
    settings=ForwarderSettings,
    wire=LogForwarder,
    exit_codes={EXIT_LEFT_BEHIND: "ended before everything was delivered; it is still in the files"},
)


def main() -> int:
    """Run the command line; return the exit code."""
    return cli.main(SIDECAR)


if __name__ == "__main__":
    sys.exit(main())
