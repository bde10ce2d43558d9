"""New names of files that nobody has seen yet: what goes now is lost, and is told."""

from __future__ import annotations

from log_forwarder.inputs import inotify

_MOST = 100_000  # names; of more than that at a time the rest is lost without being told by name


class Unseen:
    """New names whose files, or directories, were not opened yet. Used by one thread."""

    def __init__(self) -> None:
        self._names: set[tuple[int, str]] = set()
        self._listed: set[tuple[int, str]] = set()
        self._renamed: dict[int, bool] = {}

    def is_lost(self, event: inotify.Event) -> bool:
        """Take note of what happened to a name; return whether something is gone that nobody has seen.

        What was only renamed is not lost under its old name, nor new under its new one.
        """
        place = (event.watch, event.name)
        if event.mask & inotify.MOVED_FROM:
            self._renamed = {event.cookie: place in self._names}  # its other end follows at once
            self._names.discard(place)
        elif event.mask & inotify.MOVED_TO:
            if self._renamed.pop(event.cookie, True):  # unseen before, or from where we do not look
                self._appeared(place)
            else:
                self._names.discard(place)
        elif event.mask & inotify.CREATE:
            self._appeared(place)
        elif event.mask & inotify.DELETE:
            self._listed.discard(place)
            if place in self._names:
                self._names.discard(place)
                return True
        return False

    def expect(self, watch: int, name: str) -> None:
        """A list held this name, and it is gone: the kernel will say whether it was removed or renamed."""
        if len(self._names) < _MOST:
            self._names.add((watch, name))

    def seen(self, watch: int, name: str) -> None:
        """A file or directory was opened after an event; or it is not wanted."""
        self._names.discard((watch, name))

    def listed(self, watch: int, name: str) -> None:
        """It was opened from a list; the event of its creation may still come."""
        self._names.discard((watch, name))
        self._listed.add((watch, name))

    def settle(self) -> None:
        """There are no events: those that were on their way when a list was read have come."""
        self._listed.clear()

    def _appeared(self, place: tuple[int, str]) -> None:
        if place in self._listed:
            self._listed.discard(place)
        else:
            self.expect(*place)
