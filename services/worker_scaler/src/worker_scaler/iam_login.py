"""IAM database authentication: a signed token instead of a password, made anew for each login.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import translate
from sidecar.errors import ConfigError
from sidecar.postgres import to_libpq
from sidecar.secrets import Secret

if TYPE_CHECKING:
    from sidecar.aws import Aws

_DEFAULT_PORT = 5432


class IamLogin(Secret):
    """Yields the given URL with a fresh token as its password, and with TLS, which RDS asks for then.

    A token is good for 15 minutes, and for opening a connection only: an open one outlives it.

    Args:
        url: names user, host, port and database; a password in it is not used.
        aws: signs the token with the task role.
    """

    def __init__(self, url: Secret, *, aws: Aws) -> None:
        super().__init__(read=aws.read_secret)
        self._url = url
        self._aws = aws

    @property
    def source(self) -> str:
        """Where the login comes from, for error texts."""
        return f"{self._url.source} (IAM database authentication: the role needs rds-db:connect)"

    def value(self) -> str:
        """Return the URL with a new token.

        Raises:
            ConfigError: the URL names no user or host, or there are no AWS credentials.
        """
        parts = urlsplit(to_libpq(self._url.value()))
        if not parts.username or not parts.hostname:
            raise ConfigError(
                "IAM database authentication cannot be used",
                why="the database URL names no user or no host",
                remedy="Give postgresql://user@host:5432/airflow?sslmode=verify-full",
            )
        token = self._token(parts.hostname, parts.port or _DEFAULT_PORT, unquote(parts.username))
        query = parts.query if "sslmode=" in parts.query else f"sslmode=require&{parts.query}"
        # As a parameter, not in the login: what stands there is remembered for masking, for ever, and these
        # are many and short-lived.
        return (
            f"postgresql://{parts.username}@{parts.hostname}:{parts.port or _DEFAULT_PORT}{parts.path}"
            f"?{query.rstrip('&')}&password={quote(token, safe='')}"
        )

    def refresh(self) -> bool:
        """Say whether the address changed; the token is new anyway."""
        return self._url.refresh()

    def _token(self, host: str, port: int, user: str) -> str:
        try:
            client = self._aws.session.client("rds", config=self._aws.config())
            return client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
        except (ClientError, BotoCoreError) as err:
            raise translate(err, "Cannot sign in to the database by IAM") from err
