"""Everything the forwarder tells. The only module here that logs or counts.

A forwarder must not be its own loudest source: what happens all the time is counted, not logged.
"""

from __future__ import annotations

from log_forwarder.firehose import Outcome
from sidecar.errors import ConfigError, Permanent, SidecarError
from sidecar.health import Health
from sidecar.telemetry import Telemetry


class Events:
    """One function per event; any thread.

    Metrics are ``airflow_ecs_log_forwarder_…``. ``dropped_lines_total`` has one source, a policy that
    the user chose; there is none yet, so it stays 0 and is there for the alarm.
    """

    def __init__(self, telemetry: Telemetry, health: Health) -> None:
        self._log = telemetry.log
        self._health = health
        counter, gauge = telemetry.counter, telemetry.gauge
        self._read_lines = counter("read_lines_total", "Lines read and handed on")
        self._split_parts = counter("split_parts_total", "Parts that too long lines were split into")
        self._delivered_lines = counter("delivered_lines_total", "Lines that Firehose accepted")
        self._delivered_bytes = counter("delivered_bytes_total", "Bytes of records that Firehose accepted")
        self._billed_bytes = counter(
            "billed_bytes_total", "Bytes that Firehose bills: each accepted record rounded up to 5 KB"
        )
        self._failed_records = counter(
            "failed_records_total", "Records that were not accepted and are sent again"
        )
        self._dropped_lines = counter("dropped_lines_total", "Lines dropped by the configured policy")
        self._unread_bytes = counter(
            "unread_bytes_total", "Bytes of files that were removed before they could be read"
        )
        self._unwatched_files = counter(
            "unwatched_files_total",
            "Files removed while they were not open: what they got since the last scan is unknown",
        )
        self._restarted_files = counter("restarted_files_total", "Files truncated or replaced in place")
        self._unreadable_files = counter("unreadable_files_total", "Files that could not be opened or read")
        self._calls = counter("calls_total", "Calls of PutRecordBatch by result", ["result"])
        self._lag_bytes = gauge("lag_bytes", "Bytes in the files that Firehose has not accepted yet")
        self._files_tracked = gauge("files_tracked", "Files that are followed")

    def put(self, outcome: Outcome) -> None:
        """A call of PutRecordBatch ended."""
        self._calls.labels(_result(outcome)).inc()
        self._failed_records.inc(len(outcome.failed))
        lines = sum(record.lines for record in outcome.accepted)
        sent_bytes = sum(len(record.data) for record in outcome.accepted)
        self._delivered_lines.inc(lines)
        self._delivered_bytes.inc(sent_bytes)
        self._billed_bytes.inc(sum(record.billed_bytes for record in outcome.accepted))
        if outcome.accepted:
            self._log.debug("delivered", records=len(outcome.accepted), lines=lines, bytes=sent_bytes)
        else:
            self._health.not_ready(f"lines are held back: {outcome.error}")

    def read(self, *, lines: int, parts: int) -> None:
        """Lines were handed on to be sent."""
        self._read_lines.inc(lines)
        self._split_parts.inc(parts)

    def looked(self, *, files: int, lag_bytes: int) -> None:
        """A scan ended."""
        self._files_tracked.set(files)
        self._lag_bytes.set(lag_bytes)

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

    def restarted(self, path: str) -> None:
        """A file was truncated, or another one has its place; it is read from its start."""
        self._restarted_files.inc()
        self._log.info("file_restarted", path=path)

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

    def recovered(self) -> None:
        """Firehose accepts records again."""
        self._log.info("delivery_recovered")

    def finished(self) -> None:
        """Everything that was there is accepted."""
        self._lag_bytes.set(0)
        self._log.info("everything_delivered")

    def left_behind(self, *, left_bytes: int, why: str) -> None:
        """The process ends before everything was accepted."""
        self._lag_bytes.set(left_bytes)
        self._log.error(
            "lines_left_behind",
            left_bytes=left_bytes,
            why=why,
            to_do="They are still in the files, and the offsets are kept: start it again on the same volumes",
        )


def _result(outcome: Outcome) -> str:
    if outcome.error is None:
        return "ok"
    return "partial" if outcome.accepted else _kind(outcome.error)


def _kind(error: SidecarError) -> str:
    if isinstance(error, ConfigError):
        return "refused"
    return "rejected" if isinstance(error, Permanent) else "unavailable"
