"""The queue depth from a command that prints it: for who gives the scaler neither database nor API.

No shell, a deadline, and a process group of its own that is ended as a whole: a wrapper's children too.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping

from sidecar.errors import ConfigError, Transient
from sidecar.secrets import mask
from worker_scaler.model import Reading
from worker_scaler.sources.document import DocumentError, parse

_GRACE_SECONDS = 2.0
_SAID_CHARACTERS = 300
_OUTPUT_MAX_BYTES = 16 * 1024 * 1024  # 10,000 queues are 2 MB

_CANNOT = "The queue depth could not be read from WORKER_SCALER_COMMAND"


class CommandSource:
    """Runs the command once per reading. Blocking: call it in a thread.

    Args:
        command: as in a shell, but without one: words and quotes only.
        timeout_seconds: after this time it is ended, and there is no reading.
        environ: what the command may know of ours; the scaler's own settings are left out.

    Raises:
        ConfigError: the command is empty, or its quotes do not match.
    """

    def __init__(self, command: str, *, timeout_seconds: float, environ: Mapping[str, str]) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as err:
            raise ConfigError("WORKER_SCALER_COMMAND is not usable", why=str(err)) from None
        if not self._words:
            raise ConfigError("WORKER_SCALER_COMMAND is not usable", why="it is empty")
        self._timeout_seconds = timeout_seconds
        self._environ = {key: value for key, value in environ.items() if not key.startswith("WORKER_SCALER_")}

    def read(self) -> Reading:
        """Return what the command printed.

        Raises:
            ConfigError: there is no such program.
            Transient: it failed, took too long, or printed no complete document; a retry may help.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is the operator's own setting
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as err:
            why = f"{self._words[0]}: {err.strerror}"
            raise ConfigError(_CANNOT, why=why, remedy="Correct the path, or install it") from err
        with process:
            try:
                out, said = process.communicate(timeout=self._timeout_seconds)
            except subprocess.TimeoutExpired:
                raise Transient(
                    _CANNOT,
                    why=f"it took longer than {self._timeout_seconds:g} s and was ended",
                    remedy="Nothing is changed until it answers in time",
                ) from None
            finally:
                _end(process)
        return self._understood(process.returncode, out, said)

    def _understood(self, code: int, out: bytes, said: bytes) -> Reading:
        if code != 0:
            last = mask(said.decode(errors="replace").strip()[-_SAID_CHARACTERS:])
            raise Transient(
                _CANNOT, why=f"it ended with {code}: {last or 'and said nothing'}", remedy="Run it by hand"
            )
        if len(out) > _OUTPUT_MAX_BYTES:
            raise Transient(_CANNOT, why=f"it printed {len(out)} bytes")
        try:
            return parse(out)
        except DocumentError as err:
            raise Transient(
                _CANNOT,
                why=str(err),
                remedy="Let it print what 'airflow-ecs queue-depth --output json' prints, and nothing else",
            ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, also when its leader is gone: a child that lives on would hold the pipe open."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
            if number is signal.SIGKILL or not _group_lives(process.pid):
                return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
