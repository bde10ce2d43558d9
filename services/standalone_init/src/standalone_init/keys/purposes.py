"""Which secrets all services of a deployment must share, and why."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FERNET_KEY = "fernet_key"
_ENTROPY_BYTES = 48
_FERNET_BYTES = 32  # https://github.com/fernet/spec/blob/master/Spec.md#key-format


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a shared secret is for.

    Attributes:
        section, option: where Airflow has it.
        generate: returns a new value.
        without: what happens to a deployment whose services do not share it.
    """

    section: str
    option: str
    generate: Callable[[], str]
    without: str

    @property
    def variable(self) -> str:
        """The variable by which a service gets it."""
        return f"AIRFLOW__{self.section}__{self.option}".upper()


def _random() -> str:
    return secrets.token_urlsafe(_ENTROPY_BYTES)


PURPOSES: Mapping[str, Purpose] = {
    FERNET_KEY: Purpose(
        section="core",
        option="fernet_key",
        generate=lambda: base64.urlsafe_b64encode(secrets.token_bytes(_FERNET_BYTES)).decode(),
        without="connections and variables cannot be read",
    ),
    "jwt_secret": Purpose(
        section="api_auth",
        option="jwt_secret",
        generate=_random,
        without="each container makes its own, and tasks fail with 'Signature verification failed'",
    ),
    "api_secret_key": Purpose(
        section="api",
        option="secret_key",
        generate=_random,
        without="sessions end with the container that made them, and logs of workers cannot be read",
    ),
}
