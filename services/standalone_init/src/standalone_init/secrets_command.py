"""``standalone-init secrets ensure | doctor | rotate-fernet``."""

from __future__ import annotations

import argparse
import sys

from sidecar.app import Command, Runtime
from sidecar.errors import EXIT_OK, ConfigError
from standalone_init.errors import NOT_VERIFIED
from standalone_init.keys import fernet
from standalone_init.keys.purposes import FERNET_KEY
from standalone_init.keys.store import Store
from standalone_init.lock import Holder
from standalone_init.locking import run_lock
from standalone_init.rotation import Rotation
from standalone_init.settings import StandaloneInitSettings
from standalone_init.wiring import parts


def command() -> Command[StandaloneInitSettings]:
    """Return it for the chassis."""
    return Command(
        name="secrets",
        meaning="ensure: make the shared secrets once; doctor: are they the same everywhere; rotate-fernet",
        act=_act,
        add_arguments=_arguments,
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("ensure", "doctor", "rotate-fernet"))
    parser.add_argument(
        "--finish",
        action="store_true",
        help="second phase of rotate-fernet: every service was deployed again since the first",
    )


def _act(settings: StandaloneInitSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    if not settings.secrets and arguments.what != "doctor":
        raise ConfigError("No secret is named", remedy="Set STANDALONE_INIT_SECRETS")
    if arguments.what == "ensure":
        return _ensure(settings, runtime)
    if arguments.what == "doctor":
        return _doctor(settings, runtime)
    return _rotate(settings, runtime, is_second_phase=arguments.finish)


def _ensure(settings: StandaloneInitSettings, runtime: Runtime) -> int:
    keyring = parts(settings, runtime, tell_unreachable=_silent).keyring
    for purpose, name in settings.secrets.items():
        made = keyring.ensure(purpose)
        sys.stdout.write(f"{'made' if made else 'kept':<5} {purpose}: secret {name}\n")
    return EXIT_OK


def _doctor(settings: StandaloneInitSettings, runtime: Runtime) -> int:
    problems = 0
    for finding in parts(settings, runtime, tell_unreachable=_silent).keyring.findings():
        problems += finding.verdict == "problem"
        tail = ". ".join(text for text in (finding.why, finding.remedy) if text)
        sys.stdout.write(f"{finding.verdict:<8} {finding.what}: {tail}\n")
    return NOT_VERIFIED if problems else EXIT_OK


def _rotate(settings: StandaloneInitSettings, runtime: Runtime, *, is_second_phase: bool) -> int:
    name = settings.secrets.get(FERNET_KEY)
    if name is None:
        raise ConfigError("No Fernet key is named", remedy=f"Name {FERNET_KEY!r} in STANDALONE_INIT_SECRETS")
    built = parts(settings, runtime, tell_unreachable=_silent)
    with built.database.writer() as connection:
        lock = run_lock(
            settings, runtime, database=built.database, connection=connection, tell_waiting=_tell_waiting
        )
        with lock.held():
            held = fernet.keys(runtime.aws.read_secret(name))
            rotation = Rotation(store=Store(runtime.aws), name=name, held=held)
            if is_second_phase:
                told = rotation.finish(
                    here=built.keyring.fernet_keys(),
                    airflow=built.airflow,
                    database_url=built.database.url(),
                    connection=connection,
                )
            else:
                told = rotation.begin()
    sys.stdout.write(f"{told}\n")
    return EXIT_OK


def _silent(_why: str, _pause_seconds: float) -> None:
    """Nobody listens: the error says it all when the budget is used up."""


def _tell_waiting(whom: str, holder: Holder | None, waited_seconds: float) -> None:
    sys.stderr.write(f"standalone-init: waiting for {whom}: {holder or 'unknown'}, {waited_seconds:.0f} s\n")
