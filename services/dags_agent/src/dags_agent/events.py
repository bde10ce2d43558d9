"""What the agent tells: one function per event, each a log line and its metrics. The only door to both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from dags_agent.errors import Reason, Refused, SourceChanged
from dags_agent.listing import Listing
from dags_agent.plan import Delta, Target
from dags_agent.state import Hold
from sidecar.telemetry import Telemetry


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

    def listed(self, listing: Listing) -> None:
        """S3 gave a complete listing."""
        self._listings.inc()
        self._objects.set(len(listing.objects))
        if listing.objects:
            self._newest.set(max(item.last_modified for item in listing.objects).timestamp())

    def unchanged(self, release_id: str, listing: Listing) -> None:
        """The live release is what S3 has; nothing was written."""
        self._held.set(0)
        self._log.debug("unchanged", release=release_id, files=len(listing.objects))

    def held(self, hold: Hold) -> None:
        """A rollback holds the release; S3 is not followed."""
        self._held.set(1)
        self._log.debug("held", release=hold.release_id, since=hold.since.isoformat() if hold.since else None)

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
        at: datetime,
        duration_seconds: float,
    ) -> None:
        """A new release is live."""
        self._published.inc()
        self._published_at.set(at.timestamp())
        self._downloaded_objects.inc(downloaded_objects)
        self._downloaded_bytes.inc(downloaded_bytes)
        self._deleted.inc(len(delta.deleted))
        newest = max((item.last_modified for item in delta.changed), default=None)
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
        tell = self._log.warning if is_new else self._log.debug
        tell("refused", reason=error.reason, what=error.what, why=error.why, to_do=error.remedy)

    def source_changed(self, error: SourceChanged) -> None:
        """An object changed between listing and download; the pass begins again."""
        self._restarts.inc()
        self._log.debug("listing_voided", what=error.what)
