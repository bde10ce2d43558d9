"""Fetches what references point to: Secrets Manager, Parameter Store, the environment; shows none of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import Aws, translate
from sidecar.errors import ConfigError, SidecarError
from sidecar.secrets import remember
from standalone_init.objects.document import Reference


class References:
    """Resolves each place once.

    Args:
        aws: for Secrets Manager and Parameter Store.
        environ: for ``{env: NAME}``.
    """

    def __init__(self, aws: Aws, environ: Mapping[str, str]) -> None:
        self._aws = aws
        self._environ = environ
        self._texts: dict[str, str] = {}

    def fetch(self, wanted: Iterable[Reference]) -> None:
        """Fetch them all, so that what cannot be had is known before the first write.

        Raises:
            ConfigError: some are absent, denied or not what they should be; all are named.
        """
        problems = []
        for reference in dict.fromkeys(wanted):
            try:
                self.resolve(reference)
            except SidecarError as err:
                problems.append(f"{reference}: {err.why or err.what}")
        if problems:
            raise ConfigError(
                "The objects file refers to what cannot be had",
                problems=problems,
                remedy="Create them, or let this task's role read them (and use their KMS key)",
            )

    def resolve(self, reference: Reference) -> str:
        """Return the value; remembered as a secret, so that no line of output can hold it.

        Raises:
            SidecarError: it cannot be had.
        """
        place = f"{reference.secret or ''}|{reference.parameter or ''}|{reference.env or ''}"
        if place not in self._texts:
            self._texts[place] = self._read(reference)
        value = self._texts[place]
        if reference.key is not None:
            value = _field(value, reference.key)
        remember(value)
        return value

    def _read(self, reference: Reference) -> str:
        if reference.secret is not None:
            return self._aws.read_secret(reference.secret)
        if reference.parameter is not None:
            return self._parameter(reference.parameter)
        name = reference.env or ""
        if not self._environ.get(name):
            raise ConfigError("A variable is not set", why="it is not set, or empty")
        return self._environ[name]

    def _parameter(self, name: str) -> str:
        try:
            ssm = self._aws.session.client("ssm", config=self._aws.config())
            return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot read parameter {name!r}") from err


def _field(text: str, key: str) -> str:
    try:
        value = json.loads(text)[key]
    except (ValueError, TypeError, KeyError):
        raise ConfigError("A secret has no such field", why=f"it is not JSON with a field {key!r}") from None
    return value if isinstance(value, str) else json.dumps(value)
