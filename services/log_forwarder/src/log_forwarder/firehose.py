"""Amazon Data Firehose, as far as a forwarder needs it: look at the stream, put records.

Retries are the sender's: an SDK would send a whole call again where only some records failed.
https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from log_forwarder.batching import Record
from log_forwarder.wire import Wire, put_record_batch
from sidecar.aws import Aws, translate
from sidecar.errors import ConfigError, SidecarError, Transient

_TRY_AGAIN = "It will be tried again"
_SERVER_FAULT = 500
# The API names ServiceUnavailableException and InternalFailure for single records, and leaves the list open.
_OF_THE_RECORD = ("InvalidArgument", "Validation", "Serialization", "TooLarge")
# What a person must mend, and what is said about it; nothing is lost meanwhile, sending goes on by itself.
_HOLD = {
    "InvalidKMSResourceException": "Enable the stream's KMS key and allow Firehose to use it",
    "InvalidSourceException": "Use a stream whose source is Direct PUT",
    "InvalidSignatureException": "Check the clock of this host and the credentials",
    "SignatureDoesNotMatch": "Check the clock of this host and the credentials",
    "RequestTimeTooSkewed": "Check the clock of this host",
    "IncompleteSignature": "Check the credentials",
    "MissingAuthenticationToken": "Give the ECS task a task role",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the records of one call.

    Attributes:
        accepted: they are Firehose's now.
        failed: they are not, or it is not known; in the order they were given.
        error: why, when some failed.
        refused: those of the failed that were refused for themselves, with a code that no retry mends.
        is_uncertain: the failed ones may have arrived all the same: sending them again may repeat them.
    """

    accepted: tuple[Record, ...]
    failed: tuple[Record, ...]
    error: SidecarError | None
    is_uncertain: bool = False
    refused: tuple[Record, ...] = ()


class Firehose:
    """One delivery stream. Any thread.

    Args:
        aws: sessions.
        stream: the stream's name.
        connections: how many calls there may be at a time.

    Raises:
        ConfigError: there is no region to call.
    """

    def __init__(self, aws: Aws, stream: str, *, connections: int = 1) -> None:
        self._stream = stream
        self._doing = f"Cannot put records into Firehose stream {stream!r}"
        try:
            self._wire = Wire(aws, connections=connections)
        except BotoCoreError as err:
            raise translate(err, self._doing) from err

    def look(self) -> str:
        """Return the stream's status, e.g. ``ACTIVE``.

        Raises:
            ConfigError: it does not exist, or we may not see it.
            Transient: no answer; a retry may help.
        """
        try:
            asked = json.dumps({"DeliveryStreamName": self._stream}).encode()
            answer = self._wire.call("DescribeDeliveryStream", asked)
        except ResponseParserError as err:
            raise Transient(
                f"Cannot use Firehose stream {self._stream!r}", why=f"the answer makes no sense: {err}"
            ) from err
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot use Firehose stream {self._stream!r}") from err
        return str(answer.get("DeliveryStreamDescription", {}).get("DeliveryStreamStatus", "unknown"))

    def put(self, records: Sequence[Record]) -> Outcome:
        """Send records in one call. Never raises for what AWS or the network does.

        After a timeout the records may have arrived all the same: then sending them again repeats them.
        """
        given = tuple(records)
        try:
            body = put_record_batch(self._stream, (record.data for record in given))
            return self._read(self._wire.call("PutRecordBatch", body), given)
        except ClientError as err:
            status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = err.response.get("Error", {}).get("Code", "")
            is_uncertain = status >= _SERVER_FAULT and code != "ServiceUnavailableException"
            error = self._explain(err, code)
        except BotoCoreError as err:
            is_uncertain = not isinstance(err, (ConnectTimeoutError, EndpointConnectionError))
            error = translate(err, self._doing)
        except ResponseParserError as err:
            is_uncertain = True
            error = Transient(self._doing, why=f"the answer makes no sense: {err}", remedy=_TRY_AGAIN)
        return Outcome(accepted=(), failed=given, error=error, is_uncertain=is_uncertain)

    def _explain(self, err: ClientError, code: str) -> SidecarError:
        remedy = next((remedy for known, remedy in _HOLD.items() if known in code), None)
        if remedy is None:
            return translate(err, self._doing)
        message = err.response.get("Error", {}).get("Message", "")
        return ConfigError(self._doing, why=f"{code}: {message}".strip(": "), remedy=remedy)

    def _read(self, answer: dict[str, Any], given: tuple[Record, ...]) -> Outcome:
        """Split the records by what the answer says about each, in request order."""
        verdicts = answer.get("RequestResponses", [])
        if len(verdicts) != len(given):
            error = Transient(
                self._doing,
                why=f"the answer speaks of {len(verdicts)} records, {len(given)} were sent",
                remedy=_TRY_AGAIN,
            )
            return Outcome(accepted=(), failed=given, error=error, is_uncertain=True)
        pairs = list(zip(given, verdicts, strict=True))
        codes = sorted({verdict["ErrorCode"] for verdict in verdicts if verdict.get("ErrorCode")})
        return Outcome(
            accepted=tuple(record for record, verdict in pairs if not verdict.get("ErrorCode")),
            failed=tuple(record for record, verdict in pairs if verdict.get("ErrorCode")),
            refused=tuple(record for record, verdict in pairs if _is_final(verdict.get("ErrorCode", ""))),
            error=Transient(self._doing, why=f"some were refused: {', '.join(codes)}", remedy=_TRY_AGAIN)
            if codes
            else None,
        )


def _is_final(code: str) -> bool:
    """Say whether a record's code means the record itself: not the service, its quota, a key or a role."""
    return any(mark in code for mark in _OF_THE_RECORD)
