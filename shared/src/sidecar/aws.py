"""AWS clients: one place for timeouts, retries and the user agent; one translation of AWS errors.

``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>`` are honoured by the SDK itself, so the same
code talks to AWS, LocalStack and the local cloud.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as BotoConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
)

from sidecar.errors import ConfigError, Permanent, SidecarError, Transient

if TYPE_CHECKING:
    import boto3
    from aiobotocore.session import AioSession

# botocore's defaults (60 s, 5 attempts) can hold a caller for five minutes.
_CONNECT_TIMEOUT_SECONDS = 3.0
_READ_TIMEOUT_SECONDS = 15.0
_ATTEMPTS = 3

_PASSING = (
    *(BotoConnectionError, HTTPClientError, IncompleteReadError),
    *(CredentialRetrievalError, MetadataRetrievalError),  # the task role's endpoint was slow
)
_TRY_AGAIN = (
    *("Throttl", "SlowDown", "TooManyRequests", "RequestLimitExceeded", "ThroughputExceeded"),
    *("ServiceUnavailable", "RequestTimeout", "PriorRequestNotComplete", "InternalFailure", "InternalError"),
)
_REFUSED = ("AccessDenied", "UnauthorizedOperation", "NotAuthorized", "403")
_STALE_CREDENTIALS = ("ExpiredToken", "UnrecognizedClient", "InvalidClientTokenId", "RequestExpired")
_ABSENT = ("NoSuchBucket", "NotFound", "NonExistentQueue", "QueueDoesNotExist", "404")
_SERVER_FAULT = 500


class Aws:
    """Sessions and client settings of one sidecar.

    Sync: ``aws.session.client("ecs", config=aws.config())``, from any thread, built once.
    Async: ``async with aws.aio_session.create_client("s3", config=aws.config()) as s3``.

    Args:
        service, version: for the user agent.
        region: what ``AWS_REGION`` says; ECS sets it, and boto3 alone reads only ``AWS_DEFAULT_REGION``.
    """

    def __init__(self, *, service: str, version: str, region: str | None = None) -> None:
        self._user_agent = f"airflow-ecs-{service}/{version}"
        self._region = region

    @cached_property
    def session(self) -> boto3.session.Session:
        """The boto3 session. Typed by ``types-boto3``: ask it for clients directly."""
        import boto3  # noqa: PLC0415 - a quarter of a second that a command without AWS need not pay

        return boto3.session.Session(region_name=self._region)

    @cached_property
    def aio_session(self) -> AioSession:
        """The aiobotocore session; only for services that depend on ``sidecar[aio]``."""
        from aiobotocore.session import get_session  # noqa: PLC0415 - an extra of one service, slow to import

        session = get_session()
        if self._region:
            session.set_config_variable("region", self._region)
        return session

    def config(
        self,
        *,
        read_timeout_seconds: float = _READ_TIMEOUT_SECONDS,
        attempts: int = _ATTEMPTS,
        connections: int = 10,
    ) -> Config:
        """Return client settings with deadlines.

        Args:
            read_timeout_seconds: how long one attempt may stay silent.
            attempts: in all; 1 for callers with a retry policy of their own.
            connections: size of the pool; as many as calls in flight.
        """
        return Config(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=read_timeout_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=connections,
            user_agent_extra=self._user_agent,
        )

    def read_secret(self, secret_id: str) -> str:
        """Return the current text of a Secrets Manager secret.

        Raises:
            ConfigError: it is absent, empty, or we may not read it.
            Transient: AWS did not answer; a retry may help.
        """
        doing = f"Cannot read secret {secret_id!r}"
        try:
            client = self.session.client("secretsmanager", config=self.config())
            answer = client.get_secret_value(SecretId=secret_id)
        except (ClientError, BotoCoreError) as err:
            raise translate(err, doing) from err
        if "SecretString" not in answer:
            raise ConfigError(doing, why="it holds binary data", remedy="Store it as text")
        return answer["SecretString"]


def explain(error: BaseException) -> SidecarError | None:
    """Return an error that says what to do, when this one can be told in such words; else None."""
    if isinstance(error, SidecarError):
        return error
    return translate(error, "AWS cannot be used") if isinstance(error, (ClientError, BotoCoreError)) else None


def translate(error: ClientError | BotoCoreError, doing: str) -> SidecarError:
    """Turn an SDK error into one that says what to do.

    Args:
        error: what boto3 or aiobotocore raised.
        doing: the operation in plain words, e.g. ``Cannot list s3://bucket/prefix/``.
    """
    if isinstance(error, ClientError):
        return _translate_answer(error, doing)
    if isinstance(error, NoCredentialsError):
        return ConfigError(
            doing,
            why="there are no AWS credentials",
            remedy="Give the ECS task a task role, or set AWS_PROFILE",
        )
    if isinstance(error, NoRegionError):
        return ConfigError(doing, why="no AWS region is set", remedy="Set AWS_REGION")
    if isinstance(error, _PASSING):
        return Transient(doing, why=str(error), remedy="Check the route to AWS and the task role if it lasts")
    return ConfigError(doing, why=str(error))


def _translate_answer(error: ClientError, doing: str) -> SidecarError:
    code = error.response.get("Error", {}).get("Code", "Unknown")
    why = f"{code}: {error.response.get('Error', {}).get('Message', '')}".strip(": ")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if any(mark in code for mark in _REFUSED):
        return ConfigError(doing, why=why, remedy=f"Allow the task role to call {error.operation_name}")
    if any(mark in code for mark in _STALE_CREDENTIALS):
        return Transient(
            doing, why=why, remedy="Credentials will be fetched again; check the task role if it lasts"
        )
    if any(mark in code for mark in _ABSENT):
        return ConfigError(doing, why=why, remedy="Create it, or correct the setting that names it")
    if status >= _SERVER_FAULT or any(mark in code for mark in _TRY_AGAIN):
        return Transient(doing, why=why, remedy="It will be tried again")
    return Permanent(doing, why=why)
