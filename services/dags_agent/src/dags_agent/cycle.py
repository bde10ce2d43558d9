"""One pass: look at S3 and at the target, decide, publish, tell."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TypeVar

from dags_agent.arrivals import Arrivals
from dags_agent.errors import Archived, Fenced, Refused, SourceChanged, StandsBy
from dags_agent.events import Events
from dags_agent.faults import explained
from dags_agent.fetch import Fetcher
from dags_agent.in_place import InPlaceMode
from dags_agent.layout import Layout
from dags_agent.listing import Listing
from dags_agent.order import Mode, Order, Published
from dags_agent.ownership import Owner
from dags_agent.policy import Policy
from dags_agent.releases import ReleaseMode
from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Source
from dags_agent.state import read_hold
from dags_agent.verify import Drift
from dags_agent.writer import Fence, WriterLease
from sidecar.app import Runtime
from sidecar.errors import SidecarError, Transient

T = TypeVar("T")

# A deploy that rewrites objects faster than we can read them: leave it to the next pass.
_LISTINGS_PER_PASS = 3
# The compiler was killed or too slow: perhaps for its neighbours, so it is tried again; a file that kills it
# each time costs a download of what changed so often.
_UNCERTAIN_REFUSAL_SECONDS = 300.0
# Of an interval: chores end before the next pass is due.
_CHORES_SHARE = 0.5


class Cycle:
    """Keeps the target in step with the source, pass by pass.

    Between passes it remembers only which listing the live release was made from, and what was refused
    last; both are found again on disk and in S3 after a restart.

    Attributes:
        has_live: set as soon as there is a release to look after, whether or not S3 answers.

    Args:
        may_delete_all: somebody said ``--allow-delete``: no number of deletions is refused.
        owner: who what is published is handed to; None leaves it this process's.
        wake: set when the next pass should begin; only a process that does more than one pass has it.
    """

    def __init__(
        self,
        settings: DagsAgentSettings,
        runtime: Runtime,
        source: Source,
        events: Events,
        *,
        may_delete_all: bool = False,
        owner: Owner | None = None,
        wake: asyncio.Event | None = None,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._source = source
        self._events = events
        self._layout = Layout(settings.target)
        self._policy = Policy(
            max_delete_fraction=settings.max_delete_fraction,
            keep_releases=settings.keep_releases,
            keep=timedelta(hours=settings.keep_hours),
            must_compile=settings.validate == "compile",
            may_delete_all=may_delete_all,
            prepares_ahead=wake is not None,
        )
        self._wake = wake
        self._chores_end_at = 0.0
        self._threads = ThreadPoolExecutor(settings.max_concurrency, thread_name_prefix="files")
        self._arrivals = Arrivals(settings, runtime, source, events)
        self._writer = WriterLease(
            self._layout,
            lease_seconds=settings.writer_lease_seconds,
            clock=runtime.clock,
            stop=runtime.stop,
        )
        make_mode = InPlaceMode if settings.publish == "in_place" else ReleaseMode
        self._mode: Mode = make_mode(
            settings,
            runtime,
            events,
            threads=self._threads,
            fetcher=self._fetcher,
            is_enough=self._is_enough,
        )
        self._owner = owner
        self._is_prepared = False
        self._in_step: tuple[str, str] | None = None
        self._drift: Drift | None = None
        self._last_refusal: Refused | None = None
        # The listing whose files did not pass the gate, and when it is worth another try.
        self._gated: tuple[str, Refused, float] | None = None
        self._behind_since: float | None = None
        self.has_live = asyncio.Event()

    def close(self) -> None:
        """Start no more file operations. Does not wait: a hung mount must not hold the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._writer.close()

    async def verify(self) -> None:
        """Hash what readers see; the next pass repairs what differs.

        Raises:
            TargetFailed: the file system did not answer; nothing is known.
        """
        began = self._runtime.clock.monotonic()
        try:
            drift = await self._look(self._mode.verify)
        except OSError as err:
            failure = explained(err, self._settings.target)
            self._events.target_failed(failure)
            raise failure from err
        if drift is not None:
            seconds = self._runtime.clock.monotonic() - began
            self._events.verified(drift, at=self._runtime.clock.now(), duration_seconds=seconds)
            self._drift = drift or None

    @property
    def has_drift(self) -> bool:
        """Whether the next pass has something to repair."""
        return bool(self._drift)

    async def tick(self, *, is_quiet: bool = False) -> None:
        """Do one pass; a refusal is an answer, not a failure, while what is served is not too old.

        Args:
            is_quiet: S3's notifications woke it, and say that the upload has paused.

        Raises:
            SidecarError: see :meth:`sync`.
        """
        try:
            await self.sync(is_quiet=is_quiet)
        except (Refused, StandsBy) as err:
            if isinstance(err, StandsBy):
                self._events.standing_by(err)
            if await self._look(self._mode.live) is None:
                raise
            self._fail_when_stale(err)
        finally:
            if not self.has_live.is_set():
                with contextlib.suppress(OSError, SidecarError):  # the pass itself says what is wrong
                    await self._notice_live()

    async def sync(self, *, is_quiet: bool = False) -> None:
        """Bring the target in step with the source, or leave it as it is.

        Raises:
            Refused: a guard said no; the live release stays.
            ConfigError: the source or the target is not what the settings say.
            Transient: S3, the file system or another agent was in the way; a retry may help.
        """
        for _ in range(_LISTINGS_PER_PASS):
            try:
                await self._pass(is_quiet=is_quiet)
            except SourceChanged as err:
                self._events.source_changed(err)
                if isinstance(err, Archived):
                    self._arrivals.leave_out(err.versions)
            except Refused as err:
                self._events.refused(err, is_new=str(err) != str(self._last_refusal))
                self._last_refusal = err
                self._runtime.health.note(f"not published: {err}")
                self._is_behind()
                raise
            except OSError as err:
                failure = explained(err, self._settings.target)
                self._events.target_failed(failure)
                raise failure from err
            else:
                self._last_refusal = None
                self._runtime.health.note("")
                return
        raise Transient(
            f"{self._settings.source} changed during each of {_LISTINGS_PER_PASS} listings",
            why="somebody is still uploading",
            remedy="It will be tried again",
        )

    async def _pass(self, *, is_quiet: bool) -> None:
        hold = await self._look(partial(read_hold, self._layout))
        if hold is not None:
            self._events.held(hold)
            await self._notice_live()
            return
        listing = await self._arrivals.listing()
        live = await self._look(self._mode.live)
        if live is not None and self._in_step == (live, listing.seen) and not self._drift:
            self._reached(live, listing)
            if not self._mode.has_chores:
                return
        if self._runtime.dry_run:
            delta, live = await self._look(partial(self._mode.preview, listing, self._policy))
            self._events.would_publish(delta, live=live)
            return
        note = await self._look(self._mode.note)
        whole = await self._arrivals.whole(listing, note, is_quiet=is_quiet)
        if whole is not None:
            await self._publish(whole)
        elif live is None:
            raise Transient(
                "There is nothing to serve yet",
                why="the first upload is not complete",
                remedy="Upload the marker object last, or unset DAGS_AGENT_MARKER",
            )
        else:
            self._fail_when_stale(
                Transient(
                    "What S3 has is not published",
                    why="its files changed, and the marker was not written since",
                    remedy="Write the marker object (any bytes will do), or unset DAGS_AGENT_MARKER",
                )
            )

    async def _publish(self, listing: Listing) -> None:
        if self._gated and self._gated[0] == listing.fingerprint and not self._drift:
            _, refused, again_at = self._gated
            if self._runtime.clock.monotonic() < again_at:
                raise refused  # the same files again: do not download them to refuse them again
        began = self._runtime.clock.monotonic()
        if (
            not self._drift
        ):  # an answer that changes nothing, a refusal too, takes no lease and writes nothing
            live = await self._look(partial(self._mode.is_in_step, listing, self._policy))
            if live is not None:
                self._reached(live, listing)
                return
        deploy = await self._arrivals.deploy_of(listing)
        await self._prepare()

        async def act(fence: Fence) -> None:
            order = Order(
                listing=listing,
                policy=self._policy,
                fence=fence,
                deploy=deploy,
                drift=self._drift,
                owner=self._owner,
            )
            try:
                published = await self._mode.publish(order)
                self._tell(published, listing, began=began)
            except FileNotFoundError:  # who took the lease while we were frozen swept what we were building
                await self._look(fence.refuse_when_lost)
                raise
            finally:
                self._chores_end_at = self._runtime.clock.monotonic() + self._chores_seconds()
                await self._mode.do_chores()

        try:
            await self._writer.while_held(act)
        except Refused as err:
            again_seconds = math.inf if err.is_certain else _UNCERTAIN_REFUSAL_SECONDS
            again_at = self._runtime.clock.monotonic() + again_seconds
            self._gated = (listing.fingerprint, err, again_at) if err.path else None
            raise
        except Fenced as err:
            self._events.fenced(err)
            raise

    def _tell(self, published: Published, listing: Listing, *, began: float) -> None:
        self._drift = None
        if published.delta is not None and published.release_id is not None:
            self._events.published(
                published.release_id,
                published.delta,
                previous=published.previous,
                downloaded_objects=published.downloaded_objects,
                downloaded_bytes=published.downloaded_bytes,
                fetch_seconds=published.fetch_seconds,
                at=self._runtime.clock.now(),
                duration_seconds=self._runtime.clock.monotonic() - began,
            )
        if published.release_id is not None:
            self._reached(published.release_id, listing)

    def _chores_seconds(self) -> float:
        """Return for how long a pass may do chores: the next one begins in time."""
        return self._settings.interval_seconds * _CHORES_SHARE if self._wake is not None else math.inf

    def _is_enough(self) -> bool:
        """Return whether chores are to be left: S3 has something new, we are told to stop, or time is up."""
        is_woken = self._wake is not None and self._wake.is_set()
        return (
            is_woken or self._runtime.stop.requested or self._runtime.clock.monotonic() >= self._chores_end_at
        )

    async def _prepare(self) -> None:
        await self._look(self._mode.prepare)
        if self._owner is not None and not self._is_prepared:
            try:
                await self._look(partial(self._owner.take, self._layout.leases))
            except PermissionError as err:
                self._events.owner_not_given(self._owner, str(err))
                self._owner = None
        self._is_prepared = True

    def _reached(self, live: str, listing: Listing) -> None:
        """The target is what S3 has."""
        self._in_step = (live, listing.seen)
        self.has_live.set()
        self._behind_since = None
        self._events.unchanged(live, listing)

    async def _notice_live(self) -> None:
        """Tell what readers see, and have it verified, though nothing of it was published by this process."""
        live = await self._look(self._mode.live)
        if live is not None:
            self._events.serves(live)
            self.has_live.set()

    def _is_behind(self) -> float:
        """Return for how long S3 has had something that is not published, in seconds."""
        now = self._runtime.clock.monotonic()
        if self._behind_since is None:
            self._behind_since = now
        return now - self._behind_since

    def _fail_when_stale(self, err: SidecarError) -> None:
        limit = self._settings.stale_after_seconds
        if limit and self._is_behind() >= limit:
            self._runtime.health.not_ready(f"what is served is older than what S3 has: {err}")
            raise err

    def _fetcher(self) -> Fetcher:
        runtime = self._runtime
        return Fetcher(
            self._source,
            concurrency=self._settings.max_concurrency,
            threads=self._threads,
            clock=runtime.clock,
            stop=runtime.stop,
            rng=runtime.rng,
        )

    async def _look(self, act: Callable[[], T]) -> T:
        """Look. Unlike the steps of a publish, a look may be left alone: a hung mount meets the deadline."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)
