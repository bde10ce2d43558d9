"""A new Fernet key in two phases, so that at no moment a service meets a row that it cannot read.

1. The secret gets ``new,old``: services deployed from now on write with the new key and read with both.
2. When all of them are deployed again, every row is encrypted anew, each is read with the new key alone, and
   only then does the secret lose the old one.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import psycopg

from sidecar.errors import ConfigError
from sidecar.secrets import mask
from standalone_init.airflow_cli import AirflowCli, last_words
from standalone_init.errors import NotVerified, TryAgain
from standalone_init.keys import fernet, rows
from standalone_init.keys.purposes import FERNET_KEY, PURPOSES
from standalone_init.keys.store import Store

_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One secret's rotation.

    Attributes:
        store: Secrets Manager.
        name: of the secret.
        held: the keys that it holds now, the encrypting one first.
    """

    store: Store
    name: str
    held: tuple[str, ...]

    def begin(self) -> str:
        """Put a new key in front of the old one; return what to do next. A begun one is not begun again."""
        if len(self.held) == 1:
            self.store.replace(self.name, f"{PURPOSES[FERNET_KEY].generate()},{self.held[0]}")
        return (
            f"phase 1 of 2: secret {self.name} holds the new key and the old one. Deploy every service again,"
            " so that all have both, then run 'standalone-init secrets rotate-fernet --finish' in a new task"
        )

    def finish(
        self,
        *,
        here: tuple[str, ...],
        airflow: AirflowCli,
        database_url: str,
        connection: psycopg.Connection[Any],
    ) -> str:
        """Encrypt every row with the new key, prove it, and take the old one away; return what to do next.

        Idempotent: after a kill it is simply run again.

        Args:
            here: the keys of this container, the encrypting one first.
            airflow: who encrypts.
            database_url: where.
            connection: reads every row afterwards, and keeps the canary.

        Raises:
            ConfigError: no rotation was begun.
            TryAgain: this container is older than the rotation, or Airflow failed; nothing is lost.
            NotVerified: a row still needs the old key, which therefore stays.
        """
        if len(self.held) == 1:
            raise ConfigError(
                "No rotation of the Fernet key was begun",
                why=f"secret {self.name} holds one key",
                remedy="Run 'standalone-init secrets rotate-fernet' first",
            )
        if here != self.held:
            raise TryAgain(
                "This container does not have both keys",
                why=f"its AIRFLOW__CORE__FERNET_KEY is not what secret {self.name} holds now",
                remedy="Deploy every service again, then run this in a new task",
            )
        _rotate(airflow, database_url)
        new = self.held[0]
        left = sorted({place for place, token in rows.every(connection) if not fernet.reads((new,), token)})
        if left:
            raise NotVerified(
                "Some rows still need the old Fernet key",
                why=f"in {', '.join(left)}: somebody wrote them with a service that has not both keys",
                remedy="Deploy every service again and run this once more; the secret keeps both until then",
            )
        rows.write_canary(connection, fernet.canary(new))
        self.store.replace(self.name, new)
        return f"phase 2 of 2: secret {self.name} holds the new key alone, it reads every row. Deploy again"


def _rotate(airflow: AirflowCli, database_url: str) -> None:
    try:
        subprocess.run(  # noqa: S603 - the operator's own command
            airflow.command("rotate-fernet-key"),
            env={**airflow.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise TryAgain(
            "'airflow rotate-fernet-key' failed, its one transaction was rolled back",
            why=mask(last_words(err)),
            remedy="Read its lines, run again",
        ) from None
