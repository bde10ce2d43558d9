"""AWS Systems Manager Parameter Store, asked for up to ten names at once; each failure is one kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from airflow_ecs.parameter_cache.errors import (
    ParameterDenied,
    ParameterError,
    ParameterThrottled,
    ParameterUndecryptable,
    ParameterUnreachable,
)

# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
BATCH_MAX = 10
_KEY_WORDS = ("kms:", "ciphertext", "kms key")
_SERVER_ERROR = 500


class Source(Protocol):
    """Where parameters come from."""

    def ask(self, names: Sequence[str]) -> dict[str, str]:
        """Return those of these names that exist, decrypted; raises ParameterError."""


class ParameterStore:
    """Parameter Store through a boto3 client.

    Args:
        client: SSM.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def ask(self, names: Sequence[str]) -> dict[str, str]:
        """Return those of these names that exist, ten with each call."""
        found: dict[str, str] = {}
        for batch in _batches(names):
            found.update(self._batch(batch))
        return found

    def _batch(self, names: Sequence[str]) -> dict[str, str]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # heavy; the image has it

        try:
            answer = self._client.get_parameters(Names=list(names), WithDecryption=True)
        except ClientError as err:
            raise _judged(err, names) from err
        except (BotoCoreError, OSError) as err:
            raise ParameterUnreachable(
                f"Parameter Store did not answer for {_listed(names)}: {type(err).__name__}: {err}. Check"
                " the VPC"
                " endpoint (ssm) or NAT, the security group and the region"
            ) from err
        return {each["Name"]: each["Value"] for each in answer["Parameters"]}


def _judged(err: Any, names: Sequence[str]) -> ParameterError:
    error = err.response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    told = f"Parameter Store refused {_listed(names)}: {code} ({message or 'no message'})."
    if code == "InvalidKeyId" or (code == "AccessDeniedException" and _names_a_key(message)):
        return ParameterUndecryptable(
            f"{told} Give the task role kms:Decrypt on the parameter's key, or enable the key"
        )
    if code == "AccessDeniedException":
        return ParameterDenied(f"{told} Give the task role ssm:GetParameters on the parameter's path")
    if "Throttl" in code or code in {"TooManyUpdates", "RequestLimitExceeded"}:
        return ParameterThrottled(
            f"{told} Raise AIRFLOW_ECS_PARAMETERS_TTL_SECONDS, or switch higher throughput on in"
            " Parameter Store"
        )
    if status >= _SERVER_ERROR:
        return ParameterUnreachable(f"{told} Try again; if it stays, look at the service's health")
    return ParameterError(told)


def _names_a_key(message: str) -> bool:
    return any(word in message.lower() for word in _KEY_WORDS)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _batches(names: Iterable[str]) -> Iterator[Sequence[str]]:
    wanted = list(dict.fromkeys(names))
    for start in range(0, len(wanted), BATCH_MAX):
        yield wanted[start : start + BATCH_MAX]
