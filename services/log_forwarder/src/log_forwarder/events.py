"""Everything the forwarder tells. The only module here that logs or counts.

A forwarder must not be its own loudest source: what happens all the time is counted, not logged.
"""

from __future__ import annotations

from pathlib import Path

from log_forwarder.batching import Record
from log_forwarder.billing import Billing
from log_forwarder.firehose import Outcome
from sidecar.clock import Clock
from sidecar.errors import ConfigError, Permanent, SidecarError
from sidecar.health import Health
from sidecar.telemetry import Telemetry

_CALL_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_RECORD_BUCKETS_BYTES = (5_120, 20_480, 51_200, 102_400, 256_000, 512_000, 768_000, 1_024_000)
_KINDS = ("airflow_task", "file", "forward", "docker", "stdin")


class Events:
    """One function per event; any thread. Metrics are ``airflow_ecs_log_forwarder_…``."""

    def __init__(self, telemetry: Telemetry, health: Health, clock: Clock) -> None:
        self._log = telemetry.log
        self._health = health
        self._clock = clock
        self._billing = Billing(clock.monotonic())
        self._is_state_unwritable = False
        counter, gauge, histogram = telemetry.counter, telemetry.gauge, telemetry.histogram
        self._read_lines = counter("read_lines_total", "Lines read and handed on", ["stream"])
        self._read_bytes = counter("read_bytes_total", "Bytes read and handed on", ["stream"])
        self._split_parts = counter("split_parts_total", "Parts that too long lines were split into")
        self._delivered_lines = counter("delivered_lines_total", "Lines that Firehose accepted")
        self._delivered_bytes = counter("delivered_bytes_total", "Bytes of records that Firehose accepted")
        self._packed_bytes = counter(
            "packed_bytes_total", "Bytes that accepted records hold, before compression"
        )
        self._billed_bytes = counter(
            "billed_bytes_total", "Bytes that Firehose bills: each accepted record rounded up to 5 KB"
        )
        self._cost = gauge(
            "estimated_cost_dollars_per_day",
            "What a day costs at the pace of the last hour, at the list price of us-east-1",
        )
        self._record_bytes = histogram("record_size_bytes", "Size of accepted records", _RECORD_BUCKETS_BYTES)
        self._failed_records = counter(
            "failed_records_total", "Records that were not accepted and are sent again"
        )
        self._possible_duplicates = counter(
            "possible_duplicates_total", "Records sent again though Firehose may have accepted them"
        )
        self._dropped_lines = counter("dropped_lines_total", "Lines dropped by the configured policy")
        self._dead_letters = counter(
            "dead_letters_total", "Records that Firehose refuses for themselves, kept in the state directory"
        )
        self._overflowed_records = counter(
            "overflowed_records_total", "Records written straight to S3, past Firehose"
        )
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
        self._state_failures = counter(
            "state_write_failures_total", "Times the state directory could not be written to"
        )
        self._calls = counter("calls_total", "Calls of PutRecordBatch by result", ["result"])
        self._call_seconds = histogram(
            "call_duration_seconds", "How long calls of PutRecordBatch took", _CALL_BUCKETS_SECONDS
        )
        self._lag_bytes = gauge("lag_bytes", "Bytes that are there and Firehose has not accepted yet")
        self._lag_seconds = gauge(
            "lag_seconds", "Age of the oldest byte that Firehose has not accepted yet", ["stream"]
        )
        self._held_bytes = gauge("held_bytes", "Bytes of records in memory, waiting or in flight")
        self._files_tracked = gauge("files_tracked", "Files that are known and there")
        self._files_open = gauge("files_open", "Files that are held open")
        self._is_watching = gauge("is_watching", "1 while the kernel tells of new lines, 0 while we scan")

    # ------------------------------------------------------------ sending

    def put(self, outcome: Outcome, *, seconds: float) -> None:
        """A call of PutRecordBatch ended."""
        self._calls.labels(_result(outcome)).inc()
        self._call_seconds.observe(seconds)
        self._failed_records.inc(len(outcome.failed))
        if outcome.is_uncertain:
            self._possible_duplicates.inc(len(outcome.failed))
        for record in outcome.accepted:
            self._accepted(record)
        if outcome.accepted:
            self._log.debug(
                "delivered",
                records=len(outcome.accepted),
                lines=sum(record.lines for record in outcome.accepted),
                bytes=sum(len(record.data) for record in outcome.accepted),
            )
        else:
            self._health.not_ready(f"lines are held back: {outcome.error}")

    def overflowed(self, outcome: Outcome) -> None:
        """Records were written straight to S3, or could not be."""
        if outcome.accepted:
            self._overflowed_records.inc(len(outcome.accepted))
            self._delivered_lines.inc(sum(record.lines for record in outcome.accepted))
            self._log.warning(
                "overflowed",
                records=len(outcome.accepted),
                bytes=sum(len(record.data) for record in outcome.accepted),
                to_do="Nothing is lost: the lines are in that bucket. See why Firehose does not take them",
            )
        if outcome.error is not None:
            self._log.warning("overflow_failed", why=str(outcome.error))

    def dead_letter(self, record: Record, path: Path, why: SidecarError) -> None:
        """A record that Firehose refuses was set aside."""
        self._dead_letters.inc()
        self._log.error(
            "record_refused",
            id=record.id,
            lines=record.lines,
            kept_in=str(path),
            why=why.why,
            to_do="Nothing is lost: its lines are in that file. Report it, the limits of Firehose are kept",
        )

    def state_unwritable(self, error: SidecarError) -> None:
        """The state directory cannot be written to; sending waits for it."""
        self._state_failures.inc()
        self._health.not_ready(str(error))
        if not self._is_state_unwritable:
            self._is_state_unwritable = True
            self._log.error("state_unwritable", what=error.what, why=error.why, to_do=error.remedy)

    def recovered(self) -> None:
        """Firehose accepts records again."""
        self._is_state_unwritable = False
        self._log.info("delivery_recovered")

    # ------------------------------------------------------------ reading

    def read(self, *, kind: str, lines: int, plain_bytes: int, is_part: bool) -> None:
        """Lines were handed on to be sent."""
        self._read_lines.labels(kind).inc(lines)
        self._read_bytes.labels(kind).inc(plain_bytes)
        self._split_parts.inc(is_part)

    def looked(self, *, lag_bytes: int, lag_seconds: dict[str, float], held_bytes: int) -> None:
        """How far we are behind."""
        self._lag_bytes.set(lag_bytes)
        self._held_bytes.set(held_bytes)
        for kind in _KINDS:
            self._lag_seconds.labels(kind).set(lag_seconds.get(kind, 0.0))
        self._cost.set(self._billing.dollars_per_day(self._clock.monotonic()))

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

    # ------------------------------------------------------------ the end

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
            to_do="They are still on disk, and the offsets are kept: start it again on the same volumes",
        )

    def _accepted(self, record: Record) -> None:
        self._delivered_lines.inc(record.lines)
        self._delivered_bytes.inc(len(record.data))
        self._packed_bytes.inc(record.plain_bytes)
        self._billed_bytes.inc(record.billed_bytes)
        self._record_bytes.observe(len(record.data))
        self._billing.add(record.billed_bytes, self._clock.monotonic())


class PushEvents:
    """What happens to lines that are pushed, before they are read; any thread."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        counter, gauge = telemetry.counter, telemetry.gauge
        self._dropped_payloads = counter(
            "dropped_payloads_total",
            "Pushed payloads dropped because WHEN_FULL=drop_newest and the disk was full",
        )
        self._dropped_bytes = counter("dropped_bytes_total", "Bytes of these payloads")
        self._refused = counter(
            "forward_refused_total", "Forward connections ended because of what they sent"
        )
        self._truncated = counter(
            "forward_truncated_total", "Forward clients that ended in the middle of a frame"
        )
        self._damaged_bytes = counter(
            "spool_damaged_bytes_total", "Bytes of the spool that could not be read again"
        )
        self._is_full = gauge("spool_is_full", "1 while pushed lines wait because the disk budget is used up")
        self._segment_bytes = counter(
            "ui_segment_bytes_total", "Bytes of task logs written where Airflow's UI reads"
        )
        self._left_out_bytes = counter(
            "ui_left_out_bytes_total",
            "Bytes that are not in the UI's segments, since the bucket took none for long",
        )
        self._redacted = counter("redacted_secrets_total", "Secrets that were masked")
        self._left_out = counter("left_out_lines_total", "Lines left out because they are below LEVEL")

    def forward_refused(self, client: str, *, why: str) -> None:
        """A connection was ended because of what the client sent, or did not send."""
        self._refused.inc()
        self._log.warning(
            "forward_refused",
            client=client,
            why=why,
            to_do="Find out what connects there; other clients are not affected",
        )

    def forward_truncated(self, client: str, *, discarded_bytes: int) -> None:
        """A client ended in the middle of a frame; it sends the whole frame again."""
        self._truncated.inc()
        self._log.debug("forward_truncated", client=client, discarded_bytes=discarded_bytes)

    def spool_full(self, *, is_full: bool) -> None:
        """The spool has no room; or has room again."""
        self._is_full.set(is_full)
        if is_full:
            self._log.warning(
                "spool_full",
                to_do="Raise LOG_FORWARDER_DISK_BUDGET_MIB or the volume, or the stream's quota; "
                "clients wait (or their lines are dropped and counted, with WHEN_FULL=drop_newest)",
            )
        else:
            self._log.info("spool_has_room")

    def dropped(self, *, payloads: int, dropped_bytes: int) -> None:
        """The policy that the user chose dropped what was pushed."""
        self._dropped_payloads.inc(payloads)
        self._dropped_bytes.inc(dropped_bytes)

    def spool_damaged(self, *, lost_bytes: int) -> None:
        """Bytes of the spool cannot be read any more."""
        self._damaged_bytes.inc(lost_bytes)
        self._log.error(
            "spool_damaged",
            lost_bytes=lost_bytes,
            to_do="The volume of the state directory returns other bytes than were written: replace it",
        )

    def spool_cut(self, *, cut_bytes: int) -> None:
        """The end of the spool was not whole after a crash; nothing of it was acknowledged."""
        self._log.info("spool_tail_cut", cut_bytes=cut_bytes)

    def docker_unreachable(self, *, why: str) -> None:
        """The engine does not answer; it is asked again."""
        self._log.warning(
            "docker_unreachable",
            why=why,
            to_do="Mount the engine's socket, or correct LOG_FORWARDER_DOCKER_URL",
        )

    def container_followed(self, name: str) -> None:
        """A container's log is followed."""
        self._log.info("container_followed", container=name)

    def segment_written(self, *, written_bytes: int) -> None:
        """A segment is there to be read by the UI."""
        self._segment_bytes.inc(written_bytes)

    def segment_failed(self, error: SidecarError) -> None:
        """A segment could not be written; it is tried again."""
        self._log.warning(
            "ui_segment_failed",
            why=error.why,
            to_do="Allow s3:PutObject on LOG_FORWARDER_UI_URL and its KMS key; delivery goes on without it",
        )

    def segment_left_out(self, *, left_out_bytes: int) -> None:
        """The UI will not show these bytes before Airflow's own upload."""
        self._left_out_bytes.inc(left_out_bytes)

    def redacted(self, count: int) -> None:
        """Secrets were masked."""
        self._redacted.inc(count)

    def left_out(self, count: int) -> None:
        """Lines were left out by their level."""
        self._left_out.inc(count)


def _result(outcome: Outcome) -> str:
    if outcome.error is None:
        return "ok"
    return "partial" if outcome.accepted else _kind(outcome.error)


def _kind(error: SidecarError) -> str:
    if isinstance(error, ConfigError):
        return "refused"
    return "rejected" if isinstance(error, Permanent) else "unavailable"
