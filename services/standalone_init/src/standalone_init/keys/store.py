"""Secrets Manager: a value is made once, by whoever comes first, and everybody has that one."""

from __future__ import annotations

import uuid

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import Aws, translate
from sidecar.secrets import remember

_NAMESPACE = uuid.UUID("6f1d3a54-3c6e-4d0b-9a55-0f6d8f7f6a10")


class Store:
    """Put-if-absent and replace.

    Args:
        aws: of this process.
    """

    def __init__(self, aws: Aws) -> None:
        self._client = aws.session.client("secretsmanager", config=aws.config())
        self._read = aws.read_secret

    def ensure(self, name: str, value: str, *, purpose: str) -> tuple[str, bool]:
        """Return what the secret holds, and whether that is the value given here.

        Two that race cannot both win: both use the same request token, so the second is refused, and reads.
        Idempotent.

        Args:
            name: of the secret.
            value: it gets when it is absent or empty.
            purpose: what it is for; with the name, the request token.

        Raises:
            ConfigError: we may not create, write or read it.
            Transient: AWS did not answer; a retry may help.
        """
        remember(value)
        token = str(uuid.uuid5(_NAMESPACE, f"{purpose}/{name}"))
        try:
            if self._exists(name):
                self._fill(name, value, token)
            else:
                self._create(name, value, token, purpose)
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot make secret {name!r}") from err
        held = self._read(name)
        remember(held)
        return held, held == value

    def has_value(self, name: str) -> bool:
        """Say whether it is there and has a current version.

        Raises:
            ConfigError: we may not look.
            Transient: AWS did not answer; a retry may help.
        """
        try:
            answer = self._client.describe_secret(SecretId=name)
        except ClientError as err:
            if _code(err) == "ResourceNotFoundException":
                return False
            raise translate(err, f"Cannot look at secret {name!r}") from err
        except BotoCoreError as err:
            raise translate(err, f"Cannot look at secret {name!r}") from err
        return any("AWSCURRENT" in stages for stages in answer.get("VersionIdsToStages", {}).values())

    def replace(self, name: str, value: str) -> None:
        """Give it a new value.

        Raises:
            ConfigError: we may not.
            Transient: AWS did not answer; a retry may help.
        """
        remember(value)
        try:
            self._client.put_secret_value(SecretId=name, SecretString=value)
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot write secret {name!r}") from err

    def _exists(self, name: str) -> bool:
        try:
            self._client.describe_secret(SecretId=name)
        except ClientError as err:
            if _code(err) == "ResourceNotFoundException":
                return False
            raise
        return True

    def _fill(self, name: str, value: str, token: str) -> None:
        """Write the first version of one that infrastructure code made empty; leave any other alone."""
        if self.has_value(name):
            return
        try:
            self._client.put_secret_value(SecretId=name, SecretString=value, ClientRequestToken=token)
        except ClientError as err:
            if _code(err) != "ResourceExistsException":  # somebody else was first, with another value
                raise

    def _create(self, name: str, value: str, token: str, purpose: str) -> None:
        try:
            self._client.create_secret(
                Name=name,
                SecretString=value,
                ClientRequestToken=token,
                Description=f"Airflow on ECS: {purpose}",
            )
        except ClientError as err:
            if _code(err) not in ("ResourceExistsException", "InvalidRequestException"):
                raise


def _code(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Code", ""))
