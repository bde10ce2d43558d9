"""The command line, the same for all: ``run once check health settings --version`` and the service's own."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from typing import Any

from sidecar import process
from sidecar.app import Finding, Runtime, Sidecar
from sidecar.aws import explain
from sidecar.errors import EXIT_CONFIG, EXIT_CRASH, EXIT_OK, ConfigError, SidecarError, sentences
from sidecar.http import probe
from sidecar.secrets import mask
from sidecar.settings import SidecarSettings

_CHECK_DEADLINE_SECONDS = 60.0
_MARKS = {"ok": "ok", "warning": "WARNING", "problem": "PROBLEM"}


def main(sidecar: Sidecar[Any], argv: Sequence[str] | None = None) -> int:
    """Run one sidecar's command line (``sys.argv`` unless given); return the process's exit code."""
    environ = os.environ  # noqa: TID251 - the one place where the environment enters
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser(sidecar).parse_args(words or ["run"])
    if arguments.verb == "settings" and arguments.markdown:
        sys.stdout.write(f"{sidecar.settings.to_markdown()}\n")
        return EXIT_OK
    try:
        settings = sidecar.settings.load(environ)
        return _act(sidecar, settings, arguments, environ)
    except SidecarError as err:
        sys.stderr.writelines(mask(f"{sidecar.name}: {line}\n") for line in err.lines())
        return err.exit_code
    except Exception as err:  # noqa: BLE001 - the last place that can keep a secret out of a traceback
        known = explain(err)
        text = f"{sidecar.name}: {known}\n" if known else traceback.format_exc()
        sys.stderr.write(mask(text))
        return known.exit_code if known else EXIT_CRASH


def _act(
    sidecar: Sidecar[Any],
    settings: SidecarSettings,
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
) -> int:
    if arguments.verb == "settings":
        sys.stdout.writelines(f"{name}={value}\n" for name, value in settings.effective())
        return EXIT_OK
    if arguments.verb == "health":
        return _health(settings)
    said = frozenset(arguments.flags or ())
    runtime = process.build_runtime(sidecar, settings, environ, dry_run=arguments.dry_run, flags=said)
    if arguments.verb == "check":
        return asyncio.run(_check(sidecar, settings, runtime))
    if arguments.verb in ("run", "once"):
        return process.run(sidecar, settings, runtime, arguments.verb)
    command = next(command for command in sidecar.commands if command.name == arguments.verb)
    return command.act(settings, runtime, arguments)


def _parser(sidecar: Sidecar[Any]) -> argparse.ArgumentParser:
    codes = {0: "done", 1: "failed", 2: "bad configuration", **sidecar.exit_codes}
    parser = argparse.ArgumentParser(
        prog=sidecar.name,
        description=sidecar.summary,
        epilog="exit codes: " + ", ".join(f"{code} {meaning}" for code, meaning in codes.items()),
        allow_abbrev=False,
    )
    parser.set_defaults(dry_run=False, flags=None)
    parser.add_argument("--version", action="version", version=f"%(prog)s {installed_version(sidecar.name)}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND")
    for name, meaning in (
        ("run", "work until done or told to stop (default)"),
        ("once", "do the job once and exit"),
    ):
        verb = verbs.add_parser(name, help=meaning, allow_abbrev=False)
        if sidecar.can_dry_run:
            verb.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
        if name == "once":
            for flag, use in sidecar.once_flags.items():
                verb.add_argument(f"--{flag}", action="append_const", dest="flags", const=flag, help=use)
    verbs.add_parser("check", help="look at configuration, permissions and reachability; change nothing")
    verbs.add_parser("health", help="ask the running sidecar on this host; for the container health check")
    settings = verbs.add_parser("settings", help="print the settings in force, secrets masked")
    settings.add_argument("--markdown", action="store_true", help="print the reference table instead")
    for command in sidecar.commands:
        command.add_arguments(verbs.add_parser(command.name, help=command.meaning, allow_abbrev=False))
    return parser


def _health(settings: SidecarSettings) -> int:
    if settings.http_port == 0:
        raise ConfigError(
            "Health cannot be asked",
            why="HTTP_PORT is 0",
            remedy="Give it a port, or drop the container health check",
        )
    is_fine, sentence = probe(settings.http_host, settings.http_port)
    (sys.stdout if is_fine else sys.stderr).write(f"{sentence}\n")
    return EXIT_OK if is_fine else 1


async def _check(sidecar: Sidecar[Any], settings: SidecarSettings, runtime: Runtime) -> int:
    """Print one line per finding; exit 2 when one of them is a problem."""
    problems = 0
    try:
        async with asyncio.timeout(_CHECK_DEADLINE_SECONDS):
            async for finding in sidecar.wire(settings, runtime).check():
                problems += finding.verdict == "problem"
                sys.stdout.write(_line(finding))
    except TimeoutError:
        sys.stdout.write(f"PROBLEM  the check itself took longer than {_CHECK_DEADLINE_SECONDS:g} s\n")
        problems += 1
    return EXIT_CONFIG if problems else EXIT_OK


def _line(finding: Finding) -> str:
    tail = sentences(finding.why, finding.remedy)
    return mask(f"{_MARKS[finding.verdict]:<8} {finding.what}{': ' + tail if tail else ''}\n")
