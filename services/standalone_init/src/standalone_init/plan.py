"""What is missing between what was observed and what is wanted: ordered, idempotent steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from standalone_init.errors import FernetMismatch
from standalone_init.keys.verdict import Verdict
from standalone_init.objects.difference import Change
from standalone_init.refusal import refusal
from standalone_init.snapshots.model import Source, Upgrade
from standalone_init.state import DatabaseState, Image, StateClass
from standalone_init.writers.model import Memory, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory that must exist.

    Attributes:
        path: absolute.
        mode: permission bits; None leaves them to the umask.
    """

    path: str
    mode: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Who must be able to log in under SimpleAuthManager.

    Attributes:
        username: whose password the settings may give.
        users: all users that Airflow's configuration names; each gets a password.
        passwords_file: where Airflow reads them.
    """

    username: str
    users: tuple[str, ...]
    passwords_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The goal, from settings, files and Airflow's configuration.

    Attributes:
        has_objects: whether an objects file declares what must be in the database.
        writers: ECS services that are stopped during an upgrade, in this order.
        snapshot: what is snapshot before an upgrade.
    """

    directories: tuple[Directory, ...] = ()
    admin: Admin | None = None
    has_objects: bool = False
    writers: tuple[Service, ...] = ()
    snapshot: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at everything a plan depends on.

    Attributes:
        image: what this image's Airflow knows.
        database: the state of its database.
        directory_modes: permission bits of the wanted directories that exist.
        users_with_password: as the passwords file has them; none when it is absent.
        absent_secrets: purposes of the shared secrets that are not there yet.
        fernet: what is known of this environment's Fernet key and the database's rows.
        needs_canary: whether the key is known and nothing proves it later.
        object_changes: between the objects that are there and the declared ones; None when that cannot be
            known before the migration.
        remembered: services that were stopped for an upgrade and not started again yet.
        are_writers_stopped: whether all wanted writers are, since an earlier run.
    """

    image: Image
    database: DatabaseState
    directory_modes: Mapping[str, int] = field(default_factory=dict)
    users_with_password: frozenset[str] = frozenset()
    absent_secrets: tuple[str, ...] = ()
    fernet: Verdict = Verdict.UNPROVEN
    needs_canary: bool = False
    object_changes: tuple[Change, ...] | None = ()
    remembered: tuple[Memory, ...] = ()
    are_writers_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrate:
    """Bring the database to the image's heads with ``airflow db migrate``."""

    state: DatabaseState
    name: str = "migrate"

    def __str__(self) -> str:
        """For people."""
        at = ", ".join(sorted(self.state.revisions)) or "nothing"
        return f"migrate the database from {at} to {', '.join(sorted(self.state.heads))} ({self.state})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """Make one directory, or correct its mode."""

    directory: Directory
    name: str = "make_directory"

    def __str__(self) -> str:
        """For people."""
        mode = "" if self.directory.mode is None else f" with mode {self.directory.mode:04o}"
        return f"make directory {self.directory.path}{mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePasswords:
    """Give users a password in SimpleAuthManager's file; those already in it keep theirs."""

    admin: Admin
    users: tuple[str, ...]
    name: str = "write_passwords"

    def __str__(self) -> str:
        """For people."""
        return f"give {', '.join(self.users)} a password in {self.admin.passwords_file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncObjects:
    """Bring users, roles, pools, connections and variables to what the objects file declares."""

    changes: tuple[Change, ...] | None
    name: str = "sync_objects"

    def __str__(self) -> str:
        """For people; secrets are named, not shown."""
        if self.changes is None:
            return "bring Airflow's objects to what the objects file declares"
        return f"objects: {'; '.join(map(str, self.changes))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureSecret:
    """Make one shared secret, unless somebody else just did."""

    purpose: str
    name: str = "ensure_secret"

    def __str__(self) -> str:
        """For people."""
        return f"make the shared secret {self.purpose}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCanary:
    """Leave what proves the Fernet key in the database, so that a wrong one is noticed before a write."""

    name: str = "write_canary"

    def __str__(self) -> str:
        """For people."""
        return "leave a canary that proves the Fernet key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWriters:
    """Remember how many tasks each service has, then stop them all and wait until the last one ended."""

    services: tuple[Service, ...]
    position: str
    name: str = "stop_writers"

    def __str__(self) -> str:
        """For people."""
        return f"stop {', '.join(map(str, self.services))} and wait until their tasks ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """Keep the way back, or go on with what an earlier try of this upgrade asked for."""

    source: Source
    upgrade: Upgrade
    were_writers_stopped: bool
    are_writers_stopped: bool
    name: str = "take_snapshot"

    def __str__(self) -> str:
        """For people."""
        return f"snapshot {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWriters:
    """Give the stopped services their counts back."""

    services: tuple[Service, ...]
    name: str = "start_writers"

    def __str__(self) -> str:
        """For people."""
        return f"start {', '.join(map(str, reversed(self.services)))} as they were"


Step = (
    EnsureSecret
    | StopWriters
    | TakeSnapshot
    | Migrate
    | MakeDirectory
    | WritePasswords
    | WriteCanary
    | SyncObjects
    | StartWriters
)

_NEEDS_MIGRATION = (StateClass.EMPTY, StateClass.BEHIND, StateClass.PARTIAL)


def plan(observation: Observation, wanted: Wanted) -> Sequence[Step]:
    """Return the steps to the goal, in order; none when it is reached.

    Promises, tested as such: a refused state has no plan at all; a step that is already true is not in it;
    after any prefix of the steps, planning anew gives what is left.

    Raises:
        DatabaseAhead, DatabaseUnstamped, DatabaseForeign: nothing may be touched.
        FernetMismatch: nothing may be written with this environment's key.
    """
    refused = refusal(observation.database, observation.image)
    if refused is not None:
        raise refused
    if observation.fernet is Verdict.MISMATCH:
        raise FernetMismatch(
            "The Fernet key of this environment is not the one of the database",
            why="the canary, or an encrypted row, cannot be decrypted with it",
            remedy="Give this task the key that the other services have. A new key is only ever taken by"
            " 'standalone-init secrets rotate-fernet'. Nothing was changed",
        )
    steps: list[Step] = [EnsureSecret(purpose=purpose) for purpose in observation.absent_secrets]
    stopped = {memory.service: None for memory in observation.remembered}
    if observation.database.name in _NEEDS_MIGRATION:
        if observation.database.name is not StateClass.EMPTY:
            steps.extend(_before_an_upgrade(observation, wanted))
            stopped |= dict.fromkeys(wanted.writers)
        steps.append(Migrate(state=observation.database))
    steps.extend(
        MakeDirectory(directory=directory)
        for directory in wanted.directories
        if not _is_there(directory, observation.directory_modes)
    )
    if wanted.admin is not None:
        missing = tuple(user for user in wanted.admin.users if user not in observation.users_with_password)
        if missing:
            steps.append(WritePasswords(admin=wanted.admin, users=missing))
    if observation.needs_canary:
        steps.append(WriteCanary())
    if wanted.has_objects and (observation.object_changes is None or observation.object_changes):
        steps.append(SyncObjects(changes=observation.object_changes))
    if stopped:
        steps.append(StartWriters(services=tuple(stopped)))
    return steps


def _before_an_upgrade(observation: Observation, wanted: Wanted) -> Iterator[Step]:
    state = observation.database
    if wanted.writers:
        yield StopWriters(services=wanted.writers, position=state.position)
    if wanted.snapshot is not None:
        yield TakeSnapshot(
            source=wanted.snapshot,
            upgrade=Upgrade(from_revisions=state.revisions, to_revisions=state.heads),
            were_writers_stopped=observation.are_writers_stopped,
            are_writers_stopped=bool(wanted.writers),
        )


def _is_there(directory: Directory, modes: Mapping[str, int]) -> bool:
    mode = modes.get(directory.path)
    return mode is not None and directory.mode in (None, mode)
