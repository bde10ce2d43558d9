"""What the agent tells: one function per event, each a log line and its metrics. The only door to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dags_agent.errors import (
    Fenced,
    Reason,
    Refused,
    Skip,
    SourceChanged,
    StandsBy,
    TargetFailed,
    TargetFault,
)
from dags_agent.listing import Listing, Skipped
from dags_agent.manifest import published_at
from dags_agent.ownership import Owner
from dags_agent.plan import Delta
from dags_agent.state import Hold
from dags_agent.target import Target
from dags_agent.verify import Drift
from sidecar.errors import SidecarError
from sidecar.telemetry import Telemetry

_LAG_BUCKETS_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900)
_OUTCOMES = ("unchanged", "changed", "deleted")
_MESSAGES = ("change", "test", "foreign", "garbage")


class Events:
    """Log lines and metrics of dags-agent."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._published = telemetry.counter("releases_published_total", "Releases that became live")
        self._refused = telemetry.counter(
            "refused_total", "Passes that did not publish because a guard refused, by reason", ["reason"]
        )
        for reason in Reason:
            self._refused.labels(reason)
        self._listings = telemetry.counter("listings_total", "Complete listings of the source")
        self._objects = telemetry.gauge("source_objects", "Objects to publish in the last complete listing")
        self._newest = telemetry.gauge(
            "source_newest_object_timestamp_seconds", "When the newest listed object was stored (Unix time)"
        )
        self._restarts = telemetry.counter(
            "listings_voided_total", "Passes begun again because an object changed after it was listed"
        )
        self._downloaded_objects = telemetry.counter("downloaded_objects_total", "Objects downloaded")
        self._downloaded_bytes = telemetry.counter("downloaded_bytes_total", "Bytes downloaded")
        self._deleted = telemetry.counter("deleted_files_total", "Files that a new release no longer has")
        self._retired = telemetry.counter("releases_retired_total", "Releases deleted by retention")
        self._leftovers = telemetry.counter("leftovers_removed_total", "Leftovers of killed runs removed")
        self._not_removed = telemetry.counter(
            "removals_failed_total", "Times that a retired release or a leftover could not be deleted"
        )
        self._damaged = telemetry.gauge(
            "damaged_files", "Files of the live release that were not as published, at the last look"
        )
        self._published_at = telemetry.gauge(
            "release_published_timestamp_seconds", "When the live release was published (Unix time)"
        )
        self._held = telemetry.gauge("held", "1 while a rollback holds the release")
        self._list_seconds = telemetry.gauge("listing_seconds", "How long the last complete listing took")
        self._publish_seconds = telemetry.gauge(
            "publish_seconds", "How long the last publish took, from the end of its listing"
        )
        self._fetch_seconds = telemetry.gauge(
            "fetch_seconds", "How long the downloads of the last publish took"
        )
        self._lag = telemetry.histogram(
            "publish_lag_seconds",
            "From when the newest changed object was stored in S3 to when readers saw it",
            _LAG_BUCKETS_SECONDS,
        )
        self._refused_file = telemetry.gauge(
            "refused_file_line",
            "The file that keeps a release back, and its line; none when nothing does",
            ["path"],
        )
        self._skipped = telemetry.gauge(
            "skipped_objects", "Objects that the last release was published without, by reason", ["reason"]
        )
        for skip in Skip:
            self._skipped.labels(skip).set(0)
        self._skipped_before: frozenset[Skipped] = frozenset()
        self._files = telemetry.counter("files_total", "Files of published releases, by outcome", ["outcome"])
        for outcome in _OUTCOMES:
            self._files.labels(outcome)
        self._release = telemetry.gauge("release_info", "Always 1; the live release is a label", ["release"])
        self._kept = telemetry.gauge("releases", "Releases on disk")
        self._leased = telemetry.gauge("leased_releases", "Releases that a reader holds")
        self._verified = telemetry.counter("verifications_total", "Times that the live tree was hashed")
        self._verified_at = telemetry.gauge(
            "last_verification_timestamp_seconds", "When the live tree was last hashed (Unix time)"
        )
        self._drift = telemetry.gauge(
            "drifted_files",
            "Files of the live tree that were not as published, at the last hashing",
            ["kind"],
        )
        for kind in ("damaged", "foreign"):
            self._drift.labels(kind).set(0)
        self._target_errors = telemetry.counter(
            "target_errors_total", "Passes that the target's file system ended, by what it said", ["fault"]
        )
        for fault in TargetFault:
            self._target_errors.labels(fault)
        self._standing_by = telemetry.gauge("standing_by", "1 while another agent is publishing")
        self._fenced = telemetry.counter(
            "fenced_total", "Publishes given up because another writer was there"
        )
        self._waiting = telemetry.gauge("waiting_for_upload", "1 while an upload is not complete")
        self._messages = telemetry.counter("event_messages_total", "Messages from the events queue", ["kind"])
        for kind in _MESSAGES:
            self._messages.labels(kind)
        self._queue_errors = telemetry.counter(
            "event_queue_errors_total", "Calls of the events queue that failed"
        )
        self._window = telemetry.gauge(
            "mixed_window_seconds", "In place: how long old and new files lay beside each other, last time"
        )
        self._is_waiting = False
        self._was_held = False

    def listed(self, listing: Listing, *, duration_seconds: float) -> None:
        """S3 gave a complete listing."""
        self._listings.inc()
        self._list_seconds.set(duration_seconds)
        self._objects.set(len(listing.objects))
        if listing.objects:
            self._newest.set(max(item.last_modified for item in listing.objects).timestamp())

    def unchanged(self, release_id: str, listing: Listing) -> None:
        """The live release is what S3 has."""
        for gauge in (self._held, self._standing_by, self._waiting):
            gauge.set(0)
        self._is_waiting = False
        self._was_held = False
        self._refused_file.clear()
        self.serves(release_id)
        self._log.debug("unchanged", release=release_id, files=len(listing.objects))

    def serves(self, release_id: str) -> None:
        """This is what readers see, whatever S3 has."""
        self._release.clear()
        self._release.labels(release_id).set(1)
        self._published_at.set(published_at(release_id).timestamp())

    def held(self, hold: Hold) -> None:
        """A rollback holds the release; S3 is not followed. Told once, or `once` would say nothing at all."""
        self._held.set(1)
        log = self._log.debug if self._was_held else self._log.info
        self._was_held = True
        log("held", release=hold.release_id, since=hold.since.isoformat() if hold.since else None)

    def looked(self, target: Target) -> None:
        """The target was looked at, file by file."""
        self._held.set(0)
        self._damaged.set(len(target.damaged))
        if target.damaged:
            self._log.warning(
                "live_release_damaged",
                release=target.live,
                files=len(target.damaged),
                example=min(target.damaged),
                consequence="these files are fetched again into a new release",
            )

    def swept(self, leftovers: int) -> None:
        """What killed runs left was removed."""
        if leftovers:
            self._leftovers.inc(leftovers)
            self._log.info("leftovers_removed", count=leftovers)

    def not_removed(self, errors: Mapping[Path, OSError]) -> None:
        """Garbage stays on disk; publishing goes on."""
        self._not_removed.inc(len(errors))
        for path, err in errors.items():
            self._log.warning(
                "not_removed",
                path=str(path),
                why=str(err),
                consequence="it takes space; releases are published all the same; a later pass tries again",
                to_do="Delete it as its owner, and mount the target read-only in every reader",
            )

    def retired(self, releases: int) -> None:
        """Retention deleted old releases."""
        if releases:
            self._retired.inc(releases)
            self._log.debug("releases_retired", count=releases)

    def published(
        self,
        release_id: str,
        delta: Delta,
        *,
        previous: str | None,
        downloaded_objects: int,
        downloaded_bytes: int,
        fetch_seconds: float,
        at: datetime,
        duration_seconds: float,
    ) -> None:
        """A new release is live."""
        self._published.inc()
        self._downloaded_objects.inc(downloaded_objects)
        self._downloaded_bytes.inc(downloaded_bytes)
        self._deleted.inc(len(delta.deleted))
        self._publish_seconds.set(duration_seconds)
        self._fetch_seconds.set(fetch_seconds)
        for outcome, files in zip(_OUTCOMES, (delta.unchanged, delta.changed, delta.deleted), strict=True):
            self._files.labels(outcome).inc(len(files))
        newest = max((item.last_modified for item in delta.changed), default=None)
        if newest is not None:
            self._lag.observe(max(0.0, (at - newest).total_seconds()))
        self._log.info(
            "published",
            release=release_id,
            previous=previous,
            files=len(delta.unchanged) + len(delta.changed),
            changed=len(delta.changed),
            deleted=len(delta.deleted),
            downloaded_bytes=downloaded_bytes,
            lag_seconds=round((at - newest).total_seconds(), 3) if newest else None,
            duration_seconds=round(duration_seconds, 3),
        )

    def would_publish(self, delta: Delta, *, live: str | None) -> None:
        """A dry run ends here."""
        self._log.info(
            "would_publish",
            live=live,
            unchanged=len(delta.unchanged),
            changed=[item.path for item in delta.changed],
            deleted=list(delta.deleted),
        )

    def refused(self, error: Refused, *, is_new: bool) -> None:
        """A candidate was refused; told once per candidate, counted each pass."""
        self._refused.labels(error.reason).inc()
        self._refused_file.clear()
        at = {"path": error.path, "line": error.line} if error.path else {}
        if error.path:
            self._refused_file.labels(error.path).set(error.line)
        tell = self._log.warning if is_new else self._log.debug
        tell("refused", reason=error.reason, what=error.what, why=error.why, to_do=error.remedy, **at)

    def source_changed(self, error: SourceChanged) -> None:
        """An object changed between listing and download; the pass begins again."""
        self._restarts.inc()
        self._log.debug("listing_voided", what=error.what)

    def skipped(self, skipped: Sequence[Skipped]) -> None:
        """A release is published without these objects; each is told once while it stays."""
        for skip in Skip:
            self._skipped.labels(skip).set(sum(item.skip is skip for item in skipped))
        for item in skipped:
            if item not in self._skipped_before:
                self._log.warning(
                    "object_skipped",
                    key=item.key,
                    reason=item.skip,
                    why=item.why,
                    consequence="the release has everything but this",
                    to_do="Rename, restore or delete the object, or add it to DAGS_AGENT_EXCLUDE",
                )
        self._skipped_before = frozenset(skipped)

    def window(self, seconds: float) -> None:
        """In place, readers could see old and new files beside each other for so long."""
        self._window.set(seconds)

    def kept(self, releases: int, *, leased: int) -> None:
        """So many releases are on disk."""
        self._kept.set(releases)
        self._leased.set(leased)

    def verified(self, drift: Drift, *, at: datetime, duration_seconds: float) -> None:
        """The live tree was hashed."""
        self._verified.inc()
        self._verified_at.set(at.timestamp())
        self._drift.labels("damaged").set(len(drift.damaged))
        self._drift.labels("foreign").set(len(drift.foreign))
        facts = {"release": drift.release_id, "duration_seconds": round(duration_seconds, 3)}
        if not drift:
            self._log.debug("verified", **facts)
            return
        self._log.warning(
            "drift_found",
            damaged=len(drift.damaged),
            foreign=len(drift.foreign),
            example=min(drift.damaged or drift.foreign),
            consequence="it is repaired by the next pass, from S3",
            to_do="Find out who writes there; mount the target read-only in every reader",
            **facts,
        )

    def verify_failed(self, error: SidecarError) -> None:
        """The live tree could not be read; nothing is known about it."""
        self._log.warning("verify_failed", what=error.what, why=error.why, to_do=error.remedy)

    def target_failed(self, error: TargetFailed) -> None:
        """The target's file system refused; told in full by the failed pass."""
        self._target_errors.labels(error.fault).inc()

    def standing_by(self, error: StandsBy) -> None:
        """Another agent is publishing."""
        self._standing_by.set(1)
        self._log.debug("standing_by", what=error.what)

    def fenced(self, error: Fenced) -> None:
        """Another writer, or a hold, was there first; nothing was switched."""
        self._fenced.inc()
        self._log.debug("fenced", what=error.what, why=error.why)

    def owner_not_given(self, owner: Owner, why: str) -> None:
        """What is published keeps this process's owner, or the one that the access point gives."""
        self._log.info(
            "owner_not_given",
            owner=f"{owner.uid}:{owner.gid}",
            why=why,
            consequence="files belong to this process or to the access point's user; readers only read",
            to_do="Nothing, when readers can read; else let the access point enforce the owner",
        )

    def waits_for_marker(self, key: str, *, has_marker: bool) -> None:
        """Files changed and the marker did not: the upload is still in progress."""
        self._waits(
            marker=key, why="it did not change since the live release" if has_marker else "it is not there"
        )

    def waits_for_upload(self, seconds: float) -> None:
        """The newest object is so young that others may follow."""
        self._waits(why="the newest object is young", seconds=round(seconds, 3))

    def _waits(self, **facts: object) -> None:
        self._waiting.set(1)
        tell = self._log.debug if self._is_waiting else self._log.info
        tell("upload_in_progress", consequence="the live release stays until the upload is complete", **facts)
        self._is_waiting = True

    def message_received(self, kind: str) -> None:
        """The events queue had a message of this kind."""
        self._messages.labels(kind).inc()

    def queue_failed(self, error: SidecarError) -> None:
        """The events queue did not answer; the timer still finds every change."""
        self._queue_errors.inc()
        self._log.warning(
            "events_queue_failed",
            what=error.what,
            why=error.why,
            consequence="changes are found by the timer",
            to_do=error.remedy,
        )
