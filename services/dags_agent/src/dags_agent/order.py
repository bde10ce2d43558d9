"""What a pass asks a mode to publish, and what the mode did. Values between :mod:`cycle` and the modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dags_agent.listing import Listing
from dags_agent.note import ReleaseNote
from dags_agent.ownership import Owner
from dags_agent.plan import Delta
from dags_agent.policy import Policy
from dags_agent.verify import Drift
from dags_agent.writer import Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One publish.

    Attributes:
        deploy: what the deployer calls it; empty when nobody said.
        drift: what is known to differ in the live tree, to be repaired on the way.
        owner: who new files are handed to; None leaves them this process's.
        fence: says until the last moment whether we are the writer.
    """

    listing: Listing
    policy: Policy
    fence: Fence
    deploy: str = ""
    drift: Drift | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publish did to the target.

    Attributes:
        release_id: that is live now.
        delta: against what was live; None when nothing was published.
        previous: the release that was live.
    """

    release_id: str | None
    delta: Delta | None = None
    previous: str | None = None
    downloaded_objects: int = 0
    downloaded_bytes: int = 0
    fetch_seconds: float = 0.0


class Mode(Protocol):
    """A way to show a listing to readers: as whole releases, or in place."""

    def prepare(self) -> None:
        """Make the agent's directories. Idempotent. Raises ConfigError."""

    def live(self) -> str | None:
        """Return the id of what readers see; None before the first.

        Raises:
            ConfigError: the target is somebody else's.
        """

    def note(self) -> ReleaseNote | None:
        """Return the note of what readers see."""

    def preview(self, listing: Listing, policy: Policy) -> tuple[Delta, str | None]:
        """Return what a publish would change, and what is live; changes nothing. Raises Refused."""

    def is_in_step(self, listing: Listing, policy: Policy) -> str | None:
        """Return what is live when it is what the listing says and nothing is to be tidied; changes nothing.

        Raises:
            Refused: a guard said no.
        """

    def verify(self) -> Drift | None:
        """Hash what readers see; None when that could not be done now. Raises OSError."""

    @property
    def has_chores(self) -> bool:
        """Whether some chores were left undone because it was enough."""

    async def do_chores(self) -> None:
        """Do what no reader waits for, until it is enough; right after a publish, as the writer still.

        Fails nobody: what cannot be done is told.
        """

    async def publish(self, order: Order) -> Published:
        """Bring the target in step with the listing, or leave it as it is.

        Raises:
            Refused: a guard said no.
            Fenced: somebody else published meanwhile.
            SidecarError: an object cannot be had.
            OSError: the file system refused.
        """
