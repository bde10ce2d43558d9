"""A live, readable timeline: what the demo does, what the sidecars say, how the fleet stands."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.phrases import phrase
from demo.verdict import Row

_COLOURS = {
    "demo": "bold",
    "worker-scaler": "cyan",
    "dags-agent": "green",
    "standalone-init": "magenta",
    "log-forwarder": "yellow",
    "fleet": "blue",
}


class Timeline:
    """Prints one line per thing that happened, with the seconds since the start.

    The sidecars' own log lines are its source for what they did: nothing is claimed on their behalf.
    """

    def __init__(self, sidecar_logs: Path) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._logs = sidecar_logs
        self._offsets: dict[Path, int] = {}
        self._last_said: dict[str, str] = {}
        self._started = time.monotonic()
        self._status = self._console.status("") if self._console.is_terminal else None

    def say(self, who: str, text: str) -> None:
        """Print one line."""
        line = Text(f"{time.monotonic() - self._started:7.1f} s  ", style="dim")
        line.append(f"{who:<16}", style=_COLOURS.get(who, ""))
        line.append(text)
        self._console.print(line)

    def waiting_for(self, what: str) -> None:
        """Show what is being waited for; on a terminal it moves, elsewhere it is a line."""
        if self._status is None:
            self.say("demo", f"{what} ...")
        else:
            self._status.update(what)
            self._status.start()

    def arrived(self) -> None:
        """End the last :meth:`waiting_for`."""
        if self._status is not None:
            self._status.stop()

    def pump(self) -> None:
        """Print what the sidecars have said since the last call."""
        for file in sorted(self._logs.glob("*/*.log")):
            if file.parent.name in _COLOURS:
                for line in self._new_lines(file):
                    self._relay(file.parent.name, line)

    def table(self, rows: tuple[Row, ...], *, seconds: float) -> None:
        """Print the closing table."""
        table = Table(title=f"What held, after {seconds:.0f} s", title_justify="left")
        for heading in ("", "promise", "measured"):
            table.add_column(heading)
        for row in rows:
            table.add_row("[green]holds[/]" if row.holds else "[bold red]BROKEN[/]", row.what, row.value)
        self._console.print(table)

    def _new_lines(self, file: Path) -> list[str]:
        with file.open("rb") as stream:
            stream.seek(self._offsets.get(file, 0))
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[file] = self._offsets.get(file, 0) + len(whole)
        return whole.decode(errors="replace").splitlines()

    def _relay(self, who: str, line: str) -> None:
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            self.say(who, line)
            return
        text = phrase(said)
        if text is not None and text != self._last_said.get(who):
            self._last_said[who] = text
            self.say(who, text)
