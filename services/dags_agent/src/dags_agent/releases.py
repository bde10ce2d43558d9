"""``PUBLISH=release``: whole releases beside each other, and a pointer that moves in one step."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace

from dags_agent.disk import observe, read_manifest
from dags_agent.events import Events
from dags_agent.fetch import Fetcher
from dags_agent.layout import Layout
from dags_agent.leases import leased_releases, sweep_leases
from dags_agent.listing import Listing
from dags_agent.note import ReleaseNote, read_note
from dags_agent.order import Order, Published
from dags_agent.plan import Delta, compare, make_plan, resolve
from dags_agent.policy import Policy
from dags_agent.publish import Publisher
from dags_agent.settings import DagsAgentSettings
from dags_agent.steps import Chore, MakeDirectories, Prepare, Retire, Step, Sweep, Switch
from dags_agent.target import Target
from dags_agent.threads import in_thread
from dags_agent.verify import Drift, Verifier
from sidecar.app import Runtime


class ReleaseMode:
    """The target as releases (see :class:`dags_agent.order.Mode`)."""

    def __init__(
        self,
        settings: DagsAgentSettings,
        runtime: Runtime,
        events: Events,
        *,
        threads: Executor,
        fetcher: Callable[[], Fetcher],
        is_enough: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._events = events
        self._threads = threads
        self._fetcher = fetcher
        self._layout = Layout(settings.target)
        self._trusted: str | None = None
        self._observed: Target | None = None
        self._ahead: str | None = None
        self._chores: tuple[Chore, ...] = ()
        self._publisher_of_chores: Publisher | None = None
        self._has_trash = False
        self._is_enough = is_enough
        self._verifier = verifier_of(settings, runtime)

    def prepare(self) -> None:
        """Make the agent's directories. Idempotent. Raises ConfigError."""
        self._layout.prepare()

    def live(self) -> str | None:
        """Return the id of what readers see; raises ConfigError when that is not ours."""
        return self._layout.live()

    def note(self) -> ReleaseNote | None:
        """Return the note of what readers see."""
        return read_note(self._layout.current)

    def preview(self, listing: Listing, policy: Policy) -> tuple[Delta, str | None]:
        """Return what a publish would change, and what is live; changes nothing. Raises Refused."""
        target = self._observe()
        listing = resolve(listing, target)
        make_plan(listing, target, policy, now=self._runtime.clock.now())
        return compare(listing, target), target.live

    def is_in_step(self, listing: Listing, policy: Policy) -> str | None:
        """Return what is live when there is nothing to do. Raises Refused."""
        target = self._observe()
        self._events.looked(target)
        self._observed = target
        listing = resolve(listing, target)
        if make_plan(listing, target, policy, now=self._runtime.clock.now()):
            return None
        self._events.skipped(listing.skipped)
        self._trusted = target.live
        return target.live

    def verify(self) -> Drift | None:
        """Hash the live release; None when there is none, or it went away meanwhile. Raises OSError."""
        live = self._layout.live()
        if live is None:
            return None
        return self._verifier.verify(self._layout.release(live), read_manifest(self._layout, live))

    async def publish(self, order: Order) -> Published:
        """Build a release beside the live one, and move the pointer (see :class:`dags_agent.order.Mode`)."""
        target = _with_drift(await in_thread(self._threads, self._observe_again), order.drift)
        listing = resolve(order.listing, target)
        self._events.skipped(listing.skipped)
        steps = make_plan(listing, target, order.policy, now=self._runtime.clock.now(), deploy=order.deploy)
        self._chores = tuple(step for step in steps if isinstance(step, Chore))
        steps = tuple(step for step in steps if not isinstance(step, Chore))
        publisher = self._publisher(order)
        self._publisher_of_chores = publisher
        try:
            await self._execute(steps, publisher)
        except BaseException:
            self._chores = (Sweep(),)  # what was being built, too; the disk may be full because of it
            raise
        retired = publisher.retirement.retired
        self._events.retired(retired)
        if any(isinstance(step, Retire) for step in steps):
            await in_thread(self._threads, lambda: sweep_leases(self._layout, now=self._runtime.clock.now()))
        switch = next((step for step in steps if isinstance(step, Switch)), None)
        kept = {*target.releases, *([switch.release_id] if switch else [])}
        self._events.kept(len(kept) - retired, leased=len(target.leased))
        self._trusted = switch.release_id if switch else target.live
        if switch is None:
            return Published(release_id=target.live)
        return Published(
            release_id=switch.release_id,
            delta=compare(listing, target),
            previous=target.live,
            downloaded_objects=publisher.downloaded_objects,
            downloaded_bytes=publisher.downloaded_bytes,
            fetch_seconds=publisher.fetch_seconds,
        )

    def _observe_again(self) -> Target:
        """Return what was just observed, unless somebody published before we became the writer."""
        observed, self._observed = self._observed, None
        if observed is not None and observed.live == self._layout.live():
            return observed
        target = self._observe()
        self._events.looked(target)
        return target

    def _observe(self) -> Target:
        target = observe(self._layout, trusted=self._trusted)
        leased = leased_releases(self._layout, now=self._runtime.clock.now())
        return replace(target, leased=leased, ahead=self._ahead)

    @property
    def has_chores(self) -> bool:
        """Whether the trash was left because it was enough."""
        return self._has_trash

    async def do_chores(self) -> None:
        """Make the next release's links and empty the trash (see :class:`dags_agent.order.Mode`)."""
        publisher, self._publisher_of_chores = self._publisher_of_chores, None
        if publisher is None:
            return
        try:
            for step in self._chores:
                await publisher.apply(step)
                if isinstance(step, Prepare):
                    self._ahead = step.live
        finally:
            self._events.not_removed(publisher.retirement.not_removed)
            self._events.swept(publisher.retirement.leftovers_removed)
            self._has_trash = not publisher.has_time

    async def _execute(self, steps: tuple[Step, ...], publisher: Publisher) -> None:
        built = next((step.release_id for step in steps if isinstance(step, MakeDirectories)), None)
        try:
            for step in steps:
                await publisher.apply(step)
        except BaseException:
            if built:
                await publisher.abandon(built)
            raise

    def _publisher(self, order: Order) -> Publisher:
        return Publisher(
            self._layout,
            self._fetcher(),
            source=self._settings.source,
            threads=self._threads,
            clock=self._runtime.clock,
            owner=order.owner,
            fence=order.fence,
            gate_timeout_seconds=self._settings.validate_timeout_seconds,
            is_enough=self._is_enough,
        )


def _with_drift(target: Target, drift: Drift | None) -> Target:
    if drift is None or drift.release_id != target.live:
        return target
    return replace(target, damaged=target.damaged | drift.damaged, foreign=target.foreign | drift.foreign)


def verifier_of(settings: DagsAgentSettings, runtime: Runtime) -> Verifier:
    """Return a verifier as fast as these settings allow."""
    return Verifier(
        bytes_per_second=settings.verify_mib_per_second * (1 << 20), clock=runtime.clock, stop=runtime.stop
    )
