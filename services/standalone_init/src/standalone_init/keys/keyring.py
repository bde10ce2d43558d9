"""The shared secrets of a deployment: where they lie, whether they are there, what Airflow gets of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from sidecar.app import Finding
from sidecar.errors import ConfigError, SidecarError
from sidecar.secrets import remember
from standalone_init.airflow_config import AirflowConfig
from standalone_init.errors import FernetMismatch
from standalone_init.keys import fernet
from standalone_init.keys.purposes import FERNET_KEY, PURPOSES
from standalone_init.keys.store import Store


class Keyring:
    """The secrets that the settings name.

    Args:
        names: purpose to the name of its Secrets Manager secret.
        config: Airflow's configuration in this container.
        store: opens Secrets Manager; not called when no secret is named.
        read: returns a secret's value.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        config: AirflowConfig,
        *,
        store: Callable[[], Store],
        read: Callable[[str], str],
    ) -> None:
        self._names = names
        self._config = config
        self._open = store
        self._read = read

    @cached_property
    def _store(self) -> Store:
        return self._open()

    def absent(self) -> tuple[str, ...]:
        """Return the purposes whose secret is not there, or is there without a value."""
        return tuple(purpose for purpose, name in self._names.items() if not self._store.has_value(name))

    def ensure(self, purpose: str) -> bool:
        """Make the secret unless it is there; return whether this call made it. Idempotent, race-safe.

        Raises:
            ConfigError: we may not, or what is there is no such secret.
        """
        name = self._names[purpose]
        held, is_ours = self._store.ensure(name, PURPOSES[purpose].generate(), purpose=purpose)
        self._check_form(purpose, held)
        return is_ours

    def fernet_keys(self) -> tuple[str, ...]:
        """Return the keys of this environment, the encrypting one first; none when it has none yet.

        Raises:
            ConfigError: what is there is no Fernet key.
            FernetMismatch: this container has another key than the secret: never taken for a rotation.
        """
        here = self._keys(self._config.option("core", "fernet_key"), "AIRFLOW__CORE__FERNET_KEY")
        if FERNET_KEY not in self._names or not self._store.has_value(self._names[FERNET_KEY]):
            return here
        name = self._names[FERNET_KEY]
        there = self._keys(self._read(name), f"secret {name}")
        if here and not set(here) & set(there):
            raise FernetMismatch(
                "This container's Fernet key is not the one in the secret",
                why=f"AIRFLOW__CORE__FERNET_KEY and secret {name!r} have no key in common",
                remedy="Let every service take its key from that secret; to change the key, run"
                " 'standalone-init secrets rotate-fernet'",
            )
        return here or there

    def environment(self) -> dict[str, str]:
        """Return the variables that this container lacks and the secrets have, for Airflow's processes.

        Raises:
            ConfigError: a secret cannot be read.
        """
        given: dict[str, str] = {}
        for purpose, name in self._names.items():
            of = PURPOSES[purpose]
            if not self._config.option(of.section, of.option) and self._store.has_value(name):
                given[of.variable] = self._read(name)
                remember(given[of.variable])
        return given

    def findings(self) -> Iterator[Finding]:
        """Say of each purpose whether the secret can be read and this container has the same."""
        for purpose, of in PURPOSES.items():
            here = self._config.option(of.section, of.option)
            if purpose in self._names:
                yield self._finding(purpose, here)
            elif not here:
                yield Finding(
                    what=purpose,
                    verdict="warning",
                    why=f"{of.variable} is not set here: without a shared one {of.without}",
                    remedy=f"Name one for {purpose!r} in STANDALONE_INIT_SECRETS, give it to all services",
                )

    def _finding(self, purpose: str, here: str) -> Finding:
        name, of = self._names[purpose], PURPOSES[purpose]
        try:
            if not self._store.has_value(name):
                return Finding(
                    what=purpose,
                    verdict="warning",
                    why=f"secret {name!r} is absent or empty",
                    remedy="Run standalone-init secrets ensure",
                )
            there = self._read(name)
            self._check_form(purpose, there)
        except SidecarError as err:
            return Finding(what=purpose, verdict="problem", why=err.why or err.what, remedy=err.remedy)
        if here and here != there:
            return Finding(
                what=purpose,
                verdict="problem",
                why=f"{of.variable} of this container is not what secret {name!r} holds",
                remedy="Deploy the services again, so that all start with the secret's present value",
            )
        return Finding(what=purpose, verdict="ok", why=f"secret {name!r}")

    def _check_form(self, purpose: str, value: str) -> None:
        if purpose == FERNET_KEY:
            self._keys(value, f"secret {self._names[purpose]}")

    @staticmethod
    def _keys(text: str, where: str) -> tuple[str, ...]:
        try:
            found = fernet.keys(text)
        except ValueError as err:
            raise ConfigError(
                "The Fernet key is none",
                why=f"{where}: {err}",
                remedy="Restore the key that the database was encrypted with",
            ) from None
        for key in found:
            remember(key)
        return found
