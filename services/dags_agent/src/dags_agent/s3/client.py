"""Signed GETs to one bucket, asked again where that helps: a broken line, throttling, a wrong clock."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from botocore.exceptions import ClientError

from dags_agent.s3.address import Address, resolve
from dags_agent.s3.credentials import Credentials
from dags_agent.s3.http import Answer, Broken, Connections
from dags_agent.s3.page import Complaint, PageUnreadable, read_complaint
from dags_agent.s3.signing import Keys, Signer, canonical_query, encoded_path
from sidecar.aws import Aws, translate
from sidecar.clock import Clock, Stop
from sidecar.errors import ConfigError, SidecarError, Transient
from sidecar.loop import backoff_seconds

_CONNECT_SECONDS = 3.0
_SILENCE_SECONDS = 15.0
_ATTEMPTS = 3
_BACKOFF_BASE_SECONDS = 0.1
_BACKOFF_CAP_SECONDS = 5.0
_COMPLAINT_BYTES = 1 << 16
_ENDED = ("ExpiredToken", "TokenRefreshRequired", "InvalidToken", "RequestExpired")
_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect")
_PASSING = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "InternalError")
_REDIRECTS = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What waiting between attempts needs: a clock, the order to stop, and chance for the jitter."""

    clock: Clock
    stop: Stop
    rng: random.Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One GET.

    Attributes:
        operation: as IAM names it, for the remedy of a refusal.
        doing: in plain words, e.g. ``Cannot list s3://bucket/prefix/``.
        key: of the object; None asks the bucket.
        query: parameters, decoded.
        headers: lower-case names; those beginning with ``x-amz-`` are signed.
    """

    operation: str
    doing: str
    key: str | None
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Client:
    """Asks one bucket. Close it at the end.

    Args:
        aws: for credentials, and for the address when S3 says that it is another.
        bucket: its name.
        address: where the SDK would ask.
        patience: see there.
    """

    def __init__(self, aws: Aws, bucket: str, address: Address, patience: Patience) -> None:
        self._aws = aws
        self._bucket = bucket
        self._patience = patience
        self._credentials = Credentials(aws)
        self._user_agent = str(getattr(aws.config(), "user_agent_extra", ""))
        self._skew = timedelta(0)
        self._moving = asyncio.Lock()
        self._settle(address)

    def _settle(self, address: Address) -> None:
        self._address = address
        self._signer = Signer(host=address.authority, region=address.region)
        self._connections = Connections(
            address.host,
            address.port,
            address.tls,
            connect_seconds=_CONNECT_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def get(self, question: Question, *, expected: tuple[int, ...] = (HTTPStatus.OK,)) -> Answer:
        """Return the answer, its body not yet read; the caller closes it.

        Raises:
            ClientError: S3 said no, in botocore's words: which code is no failure is the caller's to say.
            ConfigError: its certificate is not trusted, or the bucket cannot be found where it is.
            Transient: S3 did not answer, or throttled every attempt; a retry may help.
        """
        corrected: set[str] = set()
        attempt = 1
        while True:
            failure = await self._ask(question, expected, corrected)
            if isinstance(failure, Answer):
                return failure
            if failure is None:
                continue  # what was wrong is corrected; that can happen once for each cause
            if attempt == _ATTEMPTS or not _may_pass(failure):
                raise failure
            pause = backoff_seconds(
                attempt,
                base_seconds=_BACKOFF_BASE_SECONDS,
                cap_seconds=_BACKOFF_CAP_SECONDS,
                rng=self._patience.rng,
            )
            await self._patience.clock.wait(pause, self._patience.stop.event)
            attempt += 1

    async def _ask(
        self, question: Question, expected: tuple[int, ...], corrected: set[str]
    ) -> Answer | SidecarError | ClientError | None:
        """Return the answer, or why there is none; None when asking again will do."""
        keys, address = await self._credentials.keys(), self._address
        try:
            answer = await self._connections.get(self._head(question, keys))
        except (OSError, Broken) as err:
            return _unreachable(question, address, err)
        if answer.status in expected:
            return answer
        try:
            complaint = read_complaint(await answer.read_all(_COMPLAINT_BYTES))
        except (OSError, PageUnreadable):
            complaint = read_complaint(b"")
        finally:
            answer.close()
        cause = await self._correct(answer, complaint, keys, address, corrected)
        if cause and cause not in corrected:
            corrected.add(cause)
            return None
        return _refusal(question, answer.status, complaint)

    def _head(self, question: Question, keys: Keys) -> bytes:
        address = self._address
        path = address.path if question.key is None else f"{address.path}/{encoded_path(question.key)}"
        query = canonical_query(question.query)
        to_sign = {name: value for name, value in question.headers.items() if name.startswith("x-amz-")}
        now = self._patience.clock.now() + self._skew
        lines = self._signer.sign(path or "/", query, to_sign, keys, now)
        lines += [
            f"{name}:{value}" for name, value in question.headers.items() if not name.startswith("x-amz-")
        ]
        target = f"{path or '/'}?{query}" if query else path
        head = "\r\n".join((f"GET {target} HTTP/1.1", f"user-agent:{self._user_agent}", *lines, "", ""))
        return head.encode()

    async def _correct(
        self, answer: Answer, complaint: Complaint, keys: Keys, address: Address, corrected: set[str]
    ) -> str:
        """Mend what made S3 refuse, where that is known; return its name, empty where it is not."""
        if complaint.code == "RequestTimeTooSkewed" and "clock" not in corrected:
            told = _date(answer.headers.get("date", ""))
            if told is not None:
                self._skew = told - self._patience.clock.now()
                return "clock"
        if complaint.code in _ENDED and "credentials" not in corrected:
            await self._credentials.renew(keys)
            return "credentials"
        region = answer.headers.get("x-amz-bucket-region") or complaint.region
        is_elsewhere = complaint.code in _ELSEWHERE or answer.status in _REDIRECTS
        if is_elsewhere and region and region != address.region and "region" not in corrected:
            await self._move(region)
            return "region"
        return ""

    async def _move(self, region: str) -> None:
        async with self._moving:
            if self._address.region == region:
                return
            address = await resolve(self._aws, self._bucket, region=region)
            old = self._connections
            self._settle(address)
            await old.close()


def _date(text: str) -> datetime | None:
    """Return the time in a Date header; None when there is none that can be understood."""
    try:
        told = parsedate_to_datetime(text)
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _may_pass(failure: SidecarError | ClientError) -> bool:
    if isinstance(failure, ClientError):
        status = failure.response["ResponseMetadata"]["HTTPStatusCode"]
        code = failure.response["Error"]["Code"]
        return (
            status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or status == HTTPStatus.TOO_MANY_REQUESTS
            or code in _PASSING
        )
    return isinstance(failure, Transient)


def _unreachable(question: Question, address: Address, err: OSError) -> SidecarError:
    where = f"{address.host}:{address.port}"
    if isinstance(err, ssl.SSLCertVerificationError):
        return ConfigError(
            question.doing,
            why=f"the certificate of {where} is not trusted: {err.verify_message}",
            remedy="Set AWS_CA_BUNDLE to the CA's file if this endpoint is yours; otherwise it is not S3",
        )
    why = f"{where}: {str(err) or 'it did not answer in time'}"
    return Transient(question.doing, why=why, remedy="Check the route to S3 if it lasts")


def _refusal(question: Question, status: int, complaint: Complaint) -> ClientError:
    code = complaint.code or str(int(status))
    return ClientError(
        {
            "Error": {"Code": code, "Message": complaint.message or _phrase(status)},
            "ResponseMetadata": {  # type: ignore[typeddict-item]  # stubs: the fields of botocore's answers
                "HTTPStatusCode": status
            },
        },
        question.operation,
    )


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def explained(failure: ClientError, question: Question) -> SidecarError:
    """Return a refusal in words that say what to do."""
    status = failure.response["ResponseMetadata"]["HTTPStatusCode"]
    if status in _REDIRECTS or failure.response["Error"]["Code"] in _ELSEWHERE:
        return ConfigError(
            question.doing,
            why=f"the bucket is in another region ({failure.response['Error']['Code']})",
            remedy="Set AWS_REGION to the bucket's",
        )
    return translate(failure, question.doing)
