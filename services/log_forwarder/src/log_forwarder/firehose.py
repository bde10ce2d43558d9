"""Amazon Data Firehose, as far as a forwarder needs it: look at the stream, put records.

Retries are the sender's: botocore would send a whole call again where only some records failed.
https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from log_forwarder.batching import Record
from sidecar.aws import Aws, translate
from sidecar.errors import SidecarError, Transient

if TYPE_CHECKING:
    from types_boto3_firehose.client import FirehoseClient
    from types_boto3_firehose.type_defs import PutRecordBatchOutputTypeDef

_TRY_AGAIN = "It will be tried again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the records of one call.

    Attributes:
        accepted: they are Firehose's now.
        failed: they are not, or it is not known; in the order they were given.
        error: why, when some failed.
    """

    accepted: tuple[Record, ...]
    failed: tuple[Record, ...]
    error: SidecarError | None


class Firehose:
    """One delivery stream. Used by one thread at a time.

    Raises:
        ConfigError: there is no region to call.
    """

    def __init__(self, aws: Aws, stream: str) -> None:
        self._stream = stream
        self._doing = f"Cannot put records into Firehose stream {stream!r}"
        try:
            self._client: FirehoseClient = aws.session.client(
                "firehose", config=aws.config(attempts=1, connections=1)
            )
        except BotoCoreError as err:
            raise translate(err, self._doing) from err

    def look(self) -> str:
        """Return the stream's status, e.g. ``ACTIVE``.

        Raises:
            ConfigError: it does not exist, or we may not see it.
            Transient: no answer; a retry may help.
        """
        try:
            answer = self._client.describe_delivery_stream(DeliveryStreamName=self._stream)
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot use Firehose stream {self._stream!r}") from err
        return answer["DeliveryStreamDescription"]["DeliveryStreamStatus"]

    def put(self, records: Sequence[Record]) -> Outcome:
        """Send records in one call. Never raises for what AWS or the network does.

        After a timeout the records may have arrived all the same: then sending them again repeats them.
        """
        given = tuple(records)
        try:
            answer = self._client.put_record_batch(
                DeliveryStreamName=self._stream, Records=[{"Data": record.data} for record in given]
            )
            return self._read(answer, given)
        except (ClientError, BotoCoreError) as err:
            error = translate(err, self._doing)
        except ResponseParserError as err:
            error = Transient(self._doing, why=f"the answer makes no sense: {err}", remedy=_TRY_AGAIN)
        return Outcome(accepted=(), failed=given, error=error)

    def _read(self, answer: PutRecordBatchOutputTypeDef, given: tuple[Record, ...]) -> Outcome:
        """Split the records by what the answer says about each, in request order."""
        verdicts = answer.get("RequestResponses", [])
        if len(verdicts) != len(given):
            error = Transient(
                self._doing,
                why=f"the answer speaks of {len(verdicts)} records, {len(given)} were sent",
                remedy=_TRY_AGAIN,
            )
            return Outcome(accepted=(), failed=given, error=error)
        pairs = list(zip(given, verdicts, strict=True))
        codes = sorted({verdict["ErrorCode"] for verdict in verdicts if "ErrorCode" in verdict})
        return Outcome(
            accepted=tuple(record for record, verdict in pairs if "ErrorCode" not in verdict),
            failed=tuple(record for record, verdict in pairs if "ErrorCode" in verdict),
            error=Transient(self._doing, why=f"some were refused: {', '.join(codes)}", remedy=_TRY_AGAIN)
            if codes
            else None,
        )
