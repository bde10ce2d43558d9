"""The switch by which a person takes the scaler's hands off, without a deployment."""

from __future__ import annotations

from pathlib import Path

from worker_scaler.model import Fleet


class PauseSwitch:
    """Implements :class:`worker_scaler.ports.Pause` with a setting and a file.

    Args:
        always: everything is paused, by a setting.
        file: while it exists, the fleets it names, one a line, are paused; all when it is empty.
    """

    def __init__(self, *, always: bool, file: Path | None) -> None:
        self._always = always
        self._file = file

    def covers(self, fleet: Fleet) -> bool:
        """Whether this fleet is paused now. A file that is there and cannot be read pauses all."""
        if self._always or self._file is None:
            return self._always
        try:
            names = [line.strip() for line in self._file.read_text().splitlines() if line.strip()]
        except FileNotFoundError:
            return False
        except (OSError, UnicodeDecodeError):
            return True
        return not names or fleet.name in names
