"""What S3 has, and whether all of it has arrived: half an upload is not a deploy.

Three ways to know: a marker object that the deployer writes last; a quiet time after the newest change; or,
with both turned off, nobody asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from dags_agent.errors import SourceChanged
from dags_agent.events import Events
from dags_agent.fetch import refuse_other_bytes
from dags_agent.keys import KeyRules, to_listing
from dags_agent.listing import Listed, Listing, SourceObject, is_same_marker
from dags_agent.note import ReleaseNote
from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Source
from sidecar.app import Runtime

_MARKER_BYTES_MAX = 1 << 16
_DEPLOY_CHARACTERS_MAX = 200
# A restore from an archive tier takes minutes to hours; nothing tells when it is done.
_ARCHIVED_SECONDS = 3600.0
# An upload that lasts longer than this many settle times is published as it is.
_SETTLE_LISTINGS_MAX = 20


def rules_of(settings: DagsAgentSettings) -> KeyRules:
    """Return the rules by which these settings turn keys into files."""
    return KeyRules(
        prefix=settings.source_url.prefix,
        include=settings.include,
        exclude=settings.exclude,
        refuses_unsafe=settings.unsafe_keys == "refuse",
        max_file_bytes=settings.max_file_bytes,
        max_files=settings.max_files,
        marker=settings.marker,
    )


class Arrivals:
    """Lists the source, and waits for uploads in progress."""

    def __init__(self, settings: DagsAgentSettings, runtime: Runtime, source: Source, events: Events) -> None:
        self._settings = settings
        self._runtime = runtime
        self._source = source
        self._events = events
        self._rules = rules_of(settings)
        self._archived: dict[tuple[str, str], float] = {}

    async def listing(self) -> Listing:
        """Return what S3 has at this moment.

        Raises:
            Refused: see :func:`dags_agent.keys.to_listing`.
            SidecarError: there is no complete listing.
        """
        began = self._runtime.clock.monotonic()
        listed = await self._source.list()
        seconds = self._runtime.clock.monotonic() - began
        listing = self._without_archived(to_listing(taken_from(listed), self._rules))
        self._events.listed(listing, duration_seconds=seconds)
        return listing

    def leave_out(self, versions: frozenset[tuple[str, str]]) -> None:
        """Take these for archived, whatever their storage class says, until it is worth another try."""
        again_at = self._runtime.clock.monotonic() + _ARCHIVED_SECONDS
        self._archived |= dict.fromkeys(versions, again_at)

    def _without_archived(self, listing: Listing) -> Listing:
        now = self._runtime.clock.monotonic()
        self._archived = {version: at for version, at in self._archived.items() if at > now}
        if not self._archived:
            return listing
        found = [item for item in listing.objects if (item.key, item.etag) in self._archived]
        return replace(
            listing,
            objects=tuple(item for item in listing.objects if (item.key, item.etag) not in self._archived),
            archived=tuple(sorted((*listing.archived, *found), key=lambda item: item.key)),
        )

    async def whole(
        self, listing: Listing, live: ReleaseNote | None, *, is_quiet: bool = False
    ) -> Listing | None:
        """Return a listing of a complete upload; None when the upload is still in progress.

        Args:
            listing: that differs from the last one that was published.
            live: the note of the live release.
            is_quiet: S3's notifications say that nothing was written for the quiet time.

        Raises:
            SourceChanged: S3 changes faster than it can be listed.
            SidecarError: there is no complete listing.
        """
        is_announced = listing.marker is None or _is_published(listing.marker, live)
        if live is not None and live.fingerprint == listing.fingerprint and is_announced:
            return listing  # what is live: nothing arrives
        if self._settings.marker is not None:
            return await self._marked(listing, live)
        return listing if is_quiet else await self._settled(listing)

    async def deploy_of(self, listing: Listing) -> str:
        """Return what the marker calls this deploy: the ``id`` in its JSON; empty when it says nothing.

        Raises:
            SourceChanged: the marker was replaced.
            SidecarError: it cannot be read, or its bytes are not the listed ones.
        """
        marker = listing.marker
        if marker is None or marker.size_bytes > _MARKER_BYTES_MAX:
            return ""
        text = b""
        async with self._source.open(marker) as download:
            while len(text) <= marker.size_bytes and (piece := await download.read(_MARKER_BYTES_MAX)):
                download.checksum.update(piece)
                text += piece
            refuse_other_bytes(marker, len(text), download)
        return _deploy(text)

    async def _marked(self, listing: Listing, live: ReleaseNote | None) -> Listing | None:
        """The files may have been listed before the marker was: only what is listed after it counts."""
        marker = listing.marker
        if marker is None or _is_published(marker, live):
            self._events.waits_for_marker(self._settings.marker or "", has_marker=marker is not None)
            return None
        again = await self.listing()
        if again.marker != marker:
            raise SourceChanged(f"Key {marker.key!r} changed while the source was being listed")
        return again

    async def _settled(self, listing: Listing) -> Listing | None:
        """List again until two listings, a settle time apart, are equal.

        Somebody who never pauses is not waited for without end: no release at all would be worse.
        """
        for _ in range(_SETTLE_LISTINGS_MAX):
            wait_seconds = self._wait_seconds(listing)
            if wait_seconds <= 0:
                return listing
            self._events.waits_for_upload(wait_seconds)
            if await self._runtime.clock.wait(wait_seconds, self._runtime.stop.event):
                return None
            former, listing = listing, await self.listing()
            if former.seen == listing.seen:
                return listing
        return listing

    def _wait_seconds(self, listing: Listing) -> float:
        """Return how long to wait before listing again; 0 when the newest object is old enough.

        A skewed clock makes it wait too long or too short by at most the settle time, never for ever.
        """
        settle_seconds = self._settings.settle_seconds
        if not listing.objects:
            return 0.0
        newest = max(item.last_modified for item in listing.objects)
        age_seconds = (self._runtime.clock.now() - newest).total_seconds()
        return 0.0 if age_seconds >= settle_seconds else settle_seconds - max(age_seconds, 0.0)


def taken_from(listed: list[Listed]) -> Iterator[Listed]:
    """Yield what was listed, and let go of it: 100,000 objects are held once, not twice."""
    listed.reverse()
    while listed:
        yield listed.pop()


def _is_published(marker: SourceObject, live: ReleaseNote | None) -> bool:
    return live is not None and is_same_marker(
        marker, etag=live.marker_etag, written_at=live.marker_written_at
    )


def _deploy(text: bytes) -> str:
    try:
        name = json.loads(text)["id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name[:_DEPLOY_CHARACTERS_MAX] if isinstance(name, str) and name.isprintable() else ""
