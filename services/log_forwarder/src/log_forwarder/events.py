"""What the forwarder tells of reading, sending and its end; of files and pushed lines: ``*/events.py``.

A forwarder must not be its own loudest source: what happens all the time is counted, not logged.
"""

from __future__ import annotations

from pathlib import Path

from log_forwarder.batching import Record
from log_forwarder.billing import Billing
from log_forwarder.firehose import Outcome
from log_forwarder.inputs.events import FileEvents
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
        self.files = FileEvents(telemetry, self.state_unwritable)

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


def _result(outcome: Outcome) -> str:
    if outcome.error is None:
        return "ok"
    return "partial" if outcome.accepted else _kind(outcome.error)


def _kind(error: SidecarError) -> str:
    if isinstance(error, ConfigError):
        return "refused"
    return "rejected" if isinstance(error, Permanent) else "unavailable"
