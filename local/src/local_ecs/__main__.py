"""``python -m local_ecs``: an ECS on this machine.

Prints one line, ``local_ecs listening on http://HOST:PORT``, once it answers. SIGTERM and SIGINT end all
tasks (SIGTERM, grace, SIGKILL) and leave no process behind, a second one ends the grace; ``kill -9`` of
local_ecs itself leaves no process either.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from local_ecs.api import Api
from local_ecs.clock import SystemClock, VirtualClock
from local_ecs.engine import Engine
from local_ecs.model import Arns, Rules, StartDelay
from local_ecs.runtimes.ledger import InUseError
from local_ecs.runtimes.process import ProcessRuntime
from local_ecs.runtimes.virtual import VirtualRuntime
from local_ecs.server import Server
from local_ecs.state import State
from local_ecs.throttle import Throttle

EXIT_CANNOT_START = 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local-ecs", description="An ECS for unmodified boto3 that really starts processes."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 is any free port (default)")
    parser.add_argument("--runtime", choices=("process", "virtual"), default="process")
    parser.add_argument("--state-dir", type=Path, default=Path(".local_ecs"), help="one local_ecs at a time")
    parser.add_argument("--log-dir", type=Path, help="default: logs in the state directory")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--account", default="000000000000")
    parser.add_argument(
        "--start-delay-seconds", type=float, default=0.0, help="from RunTask to RUNNING, the median"
    )
    parser.add_argument("--start-delay-sigma", type=float, default=0.0, help="spread (log-normal); 0 is none")
    parser.add_argument(
        "--stop-grace-seconds", type=float, default=10.0, help="for all tasks when local_ecs ends"
    )
    parser.add_argument("--fast-failure-seconds", type=float, default=Rules().fast_failure_seconds)
    parser.add_argument("--backoff-base-seconds", type=float, default=Rules().backoff_base_seconds)
    parser.add_argument("--throttle", action="store_true", help="limit the request rate as ECS does")
    parser.add_argument(
        "--seed", type=int, help="repeat a run's random choices; default: none is like another"
    )
    return parser


def _build(options: argparse.Namespace) -> Api:
    """Put an ECS together.

    Raises:
        InUseError: another local_ecs works with the state directory.
    """
    rules = Rules(
        start_delay=StartDelay(median_seconds=options.start_delay_seconds, sigma=options.start_delay_sigma),
        availability_zones=tuple(f"{options.region}{letter}" for letter in "abc"),
        fast_failure_seconds=options.fast_failure_seconds,
        backoff_base_seconds=options.backoff_base_seconds,
    )
    is_virtual = options.runtime == "virtual"
    runtime = VirtualRuntime() if is_virtual else _process_runtime(options)
    engine = Engine(
        runtime=runtime,
        clock=VirtualClock() if is_virtual else SystemClock(),
        dice=random.Random(options.seed),  # noqa: S311 - chance that can be repeated, nothing secret
        rules=rules,
        state=State(arns=Arns(region=options.region, account=options.account)),
    )
    return Api(engine, throttle=Throttle() if options.throttle else None)


def _process_runtime(options: argparse.Namespace) -> ProcessRuntime:
    runtime = ProcessRuntime(
        log_dir=options.log_dir or options.state_dir / "logs",
        state_dir=options.state_dir,
        environment=os.environ,  # noqa: TID251 - handed on to the processes, not read
    )
    if runtime.ended_leftovers:
        print(
            f"local_ecs ended {runtime.ended_leftovers} processes that an earlier run left", file=sys.stderr
        )
    return runtime


async def _serve(api: Api, options: argparse.Namespace) -> None:
    stop, force = asyncio.Event(), asyncio.Event()

    def ordered() -> None:
        (force if stop.is_set() else stop).set()

    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ordered)
    server = Server(api, host=options.host, port=options.port, stop_grace_seconds=options.stop_grace_seconds)
    await server.run(stop, lambda url: print(f"local_ecs listening on {url}", flush=True), force=force)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; returns the exit code: 0 after an orderly end, 2 when it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        api = _build(options)
        asyncio.run(_serve(api, options))
    except (InUseError, OSError) as err:
        print(f"local_ecs cannot start: {err}", file=sys.stderr)
        return EXIT_CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
