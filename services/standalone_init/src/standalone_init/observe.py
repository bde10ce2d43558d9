"""One look at everything a plan depends on: image, database, directories, passwords file. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from sidecar.app import Runtime
from sidecar.errors import ConfigError
from standalone_init.airflow_cli import AirflowCli
from standalone_init.airflow_config import AirflowConfig
from standalone_init.database import AirflowDatabase
from standalone_init.keys import fernet, rows
from standalone_init.keys.keyring import Keyring
from standalone_init.keys.purposes import FERNET_KEY
from standalone_init.keys.verdict import Verdict
from standalone_init.lock import between_migrations
from standalone_init.objects.difference import Change
from standalone_init.objects.references import References
from standalone_init.objects.sync import Declared, Sync
from standalone_init.plan import Observation, Wanted
from standalone_init.reading import read
from standalone_init.settings import StandaloneInitSettings
from standalone_init.state import DatabaseState, Image, StateClass, classify
from standalone_init.steps import directories, passwords
from standalone_init.wanted import wanted
from standalone_init.writers.ecs import EcsWriters
from standalone_init.writers.memory import recall
from standalone_init.writers.model import Memory, recalled
from standalone_init.writers.writers import look


class Observer:
    """Looks, as often as it is asked. Image and goal, which do not change meanwhile, are read once."""

    def __init__(
        self,
        *,
        settings: StandaloneInitSettings,
        runtime: Runtime,
        airflow: AirflowCli,
        database: AirflowDatabase,
        keyring: Keyring,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._airflow = airflow
        self._database = database
        self._keyring = keyring

    @cached_property
    def wanted(self) -> Wanted:
        """The goal."""
        return wanted(self._settings, self._config)

    @cached_property
    def image(self) -> Image:
        """What this image's Airflow knows."""
        return self._airflow.image(
            auth_manager=self._config.auth_manager,
            external_db_managers=self._config.external_db_managers,
        )

    def database_state(self) -> DatabaseState:
        """Read and name the database's state.

        Raises:
            MigrationRunning: it is being changed just now; a retry after that helps.
        """
        image = self.image
        with self._database.reader() as connection, between_migrations(connection):
            return classify(read(connection), image)

    def model(self) -> Mapping[str, frozenset[str]]:
        """Return the columns that the image's models have: the core's, and those of managers that count.

        Raises:
            ConfigError: Airflow or a plugin cannot be imported.
        """
        with self._database.reader() as connection:
            stamped = read(connection).manager_revisions
        return self._airflow.model(
            [
                manager.name
                for manager in self.image.managers
                if manager.is_required or manager.version_table in stamped
            ]
        )

    def observe(self) -> Observation:
        """Look at everything."""
        goal = self.wanted
        state = self.database_state()
        absent = self._keyring.absent()
        verdict, needs_canary = self._fernet(state, will_be_made=FERNET_KEY in absent)
        remembered, are_writers_stopped = self._writers(goal)
        with_password = passwords.users(Path(goal.admin.passwords_file)) if goal.admin else frozenset[str]()
        return Observation(
            image=self.image,
            database=state,
            directory_modes=directories.modes(goal.directories),
            users_with_password=with_password,
            absent_secrets=absent,
            fernet=verdict,
            needs_canary=needs_canary,
            object_changes=self._object_changes(state) if goal.has_objects else (),
            remembered=remembered,
            are_writers_stopped=are_writers_stopped,
        )

    def _writers(self, goal: Wanted) -> tuple[tuple[Memory, ...], bool]:
        """Return what is remembered as stopped, and whether all writers are."""
        with self._database.reader() as connection:
            written = recall(connection)
        seen = look(EcsWriters(self._runtime.aws), goal.writers) if goal.writers else {}
        remembered = recalled(written, seen.values())
        names = {str(memory.service) for memory in remembered}
        stopped = [str(one.service) in names and one.desired == 0 for one in seen.values()]
        return remembered, bool(stopped) and all(stopped)

    def _fernet(self, state: DatabaseState, *, will_be_made: bool) -> tuple[Verdict, bool]:
        """Judge this environment's key by what the database holds; and say whether to leave a canary."""
        keys = self._keyring.fernet_keys()
        will_have_key = bool(keys) or will_be_made
        if state.name not in (StateClass.CURRENT, StateClass.BEHIND, StateClass.PARTIAL):
            return Verdict.UNPROVEN, will_have_key
        with self._database.reader() as connection:
            canary = rows.canary(connection)
            tokens = [canary] if canary else list(rows.sample(connection))
        return fernet.judge(keys, tokens), will_have_key and canary is None

    def sync(self) -> Sync:
        """Return who compares and changes objects; the whole file and all it refers to was judged before.

        Raises:
            ConfigError: the file is wrong, or refers to what cannot be had.
        """
        return Sync(
            self._airflow,
            self._declared,
            database_url=self._database.url(),
            prune=self._settings.objects_prune,
        )

    @cached_property
    def _declared(self) -> Declared:
        if self._settings.objects_file is None:
            raise ConfigError("There is no objects file", remedy="Set STANDALONE_INIT_OBJECTS_FILE")
        return Declared(
            self._settings.objects_file,
            References(self._runtime.aws, self._runtime.environ),
            uses_fab=self._config.uses_fab,
        )

    def _object_changes(self, state: DatabaseState) -> tuple[Change, ...] | None:
        sync = self.sync()
        if state.name is not StateClass.CURRENT:
            return None
        with self._database.reader() as connection:
            return tuple(sync.plan(connection))

    @cached_property
    def _config(self) -> AirflowConfig:
        return AirflowConfig(self._runtime.environ)
