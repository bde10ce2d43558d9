"""Everything that is told of the files that are followed."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import Transient
from sidecar.telemetry import Telemetry


class FileEvents:
    """One function per event; any thread.

    Args:
        telemetry: the logger and the metrics.
        state_unwritable: tells that the state directory cannot be written to.
    """

    def __init__(self, telemetry: Telemetry, state_unwritable: Callable[[Transient], None]) -> None:
        self._log = telemetry.log
        self.state_unwritable = state_unwritable
        counter, gauge = telemetry.counter, telemetry.gauge
        self._unread_bytes = counter(
            "unread_bytes_total", "Bytes of files that were removed or truncated before they could be read"
        )
        self._unwatched_files = counter(
            "unwatched_files_total",
            "Files removed while they were not open: what they got since the last look is unknown",
        )
        self._missed_files = counter(
            "missed_files_total", "Files, or directories, that were removed before they could be opened"
        )
        self._restarted_files = counter("restarted_files_total", "Files truncated or replaced in place")
        self._unreadable_files = counter("unreadable_files_total", "Files that could not be opened or read")
        self._groomed_files = counter("groomed_files_total", "Shipped files that were deleted")
        self._lost_events = counter(
            "inotify_overflows_total", "Times the kernel's queue of file events ran over; a scan followed"
        )
        self._files_tracked = gauge("files_tracked", "Files that are known and there")
        self._files_open = gauge("files_open", "Files that are held open")
        self._is_watching = gauge("is_watching", "1 while the kernel tells of new lines, 0 while we scan")

    def tended(self, *, tracked: int, is_open: int) -> None:
        """The files were looked after."""
        self._files_tracked.set(tracked)
        self._files_open.set(is_open)

    def ended(self, path: str, *, unread_bytes: int, was_open: bool) -> None:
        """A file is gone. One that was not open may have held more than was ever seen."""
        if not was_open:
            self._unwatched_files.inc()
        if unread_bytes:
            self._unread_bytes.inc(unread_bytes)
            self._log.error(
                "file_removed_unread",
                path=path,
                unread_bytes=unread_bytes,
                may_be_more=not was_open,
                to_do="Keep log files until they are shipped: they are the spool",
            )
        else:
            self._log.debug("file_ended", path=path, was_open=was_open)

    def missed(self, path: str) -> None:
        """A file, or a directory that may have held some, came and went before it could be opened."""
        self._missed_files.inc()
        self._log.error(
            "file_missed",
            path=path,
            to_do="What was in it is lost. Keep log files until they are shipped, or give this task more CPU",
        )

    def cold_ended(self, count: int) -> None:
        """Files are gone that were shipped whole when they were last looked at, and not open since."""
        self._unwatched_files.inc(count)

    def restarted(self, path: str, *, unread_bytes: int) -> None:
        """A file was truncated, or another one has its place; it is read from its start."""
        self._restarted_files.inc()
        self._unread_bytes.inc(unread_bytes)
        self._log.info("file_restarted", path=path, unread_bytes=unread_bytes)

    def unreadable(self, path: str, *, why: str) -> None:
        """A file is there and cannot be opened or read."""
        self._unreadable_files.inc()
        self._log.warning(
            "file_unreadable",
            path=path,
            why=why,
            to_do="Let this user read it (same uid or group as Airflow's), or repair the volume it is on; "
            "it is tried again at every scan",
        )

    def events_lost(self) -> None:
        """The kernel's queue of events ran over; everything is scanned."""
        self._lost_events.inc()
        self._log.warning(
            "inotify_overflowed",
            to_do="Nothing: everything was scanned. Raise fs.inotify.max_queued_events if it happens often",
        )

    def watching(self) -> None:
        """The kernel tells of new lines."""
        self._is_watching.set(1)

    def watching_ended(self, *, why: str) -> None:
        """New and grown files are found by scans alone from now on."""
        self._is_watching.set(0)
        self._log.warning(
            "inotify_unavailable",
            why=why,
            to_do="New files are found by scans, each LOG_FORWARDER_SCAN_SECONDS. Raise "
            "fs.inotify.max_user_watches, or let LOG_FORWARDER_DELETE_AFTER_HOURS keep the tree small",
        )

    def groomed(self, *, files: int, deleted_bytes: int) -> None:
        """Shipped files were deleted."""
        self._groomed_files.inc(files)
        self._log.info("files_deleted", files=files, bytes=deleted_bytes)
