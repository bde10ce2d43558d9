"""Everything that is told of lines that are pushed: what is refused, spooled, dropped, masked or shown."""

from __future__ import annotations

from sidecar.errors import SidecarError
from sidecar.telemetry import Telemetry


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
