"""PutRecord and PutRecordBatch as AWS does them; streams are made, described and deleted by moto.

moto delivers one record of a batch, expands no prefix, compresses nothing and enforces no limit. Here a
call's records become one object at once: buffering hints are an upper bound on AWS, and a test wants to look.
"""

from __future__ import annotations

import gzip
import secrets
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from moto.core.exceptions import ServiceException
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.firehose.models import DeliveryStream, firehose_backends
from moto.s3.models import s3_backends
from moto.utilities.utils import get_partition

from local_cloud.call import Call, Refusal, decoded_blob
from local_cloud.prefix import expand_prefix, object_name

# https://docs.aws.amazon.com/firehose/latest/dev/limits.html
MAX_BATCH_RECORDS = 500
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 1_024_000

_EXTENSIONS = {"UNCOMPRESSED": "", "GZIP": ".gz"}
ACTIONS = frozenset({"PutRecord", "PutRecordBatch"})


class Refused(Exception):  # noqa: N818  # it carries what AWS answers, which is the whole story
    """The call is answered with ``refusal``."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _utc_now() -> datetime:
    return utcnow().replace(tzinfo=UTC)


def put(
    call: Call, *, failing: Callable[[int], Collection[int]], now: Callable[[], datetime] = _utc_now
) -> dict[str, Any]:
    """Deliver the records of a PutRecord or PutRecordBatch call and say what became of each.

    Args:
        call: its action is one of :data:`ACTIONS`.
        failing: given the number of records, the indexes of those to be turned away ("Slow down.").
        now: aware; asked once.

    Raises:
        Refused: nothing was delivered.
    """
    try:
        parameters = call.parameters()
        records = parameters["Records"] if call.action == "PutRecordBatch" else [parameters["Record"]]
        contents = [decoded_blob(record["Data"]) for record in records]
        name = str(parameters["DeliveryStreamName"])
    except (ValueError, KeyError, TypeError) as err:
        raise Refused(Refusal(code="SerializationException", message=f"{type(err).__name__}: {err}")) from err
    _check_limits(contents, is_batch=call.action == "PutRecordBatch")
    stream = firehose_backends[DEFAULT_ACCOUNT_ID][call.region].delivery_streams.get(name)
    if stream is None:
        message = f"Firehose {name} under account {DEFAULT_ACCOUNT_ID} not found."
        raise Refused(Refusal(code="ResourceNotFoundException", message=message))
    turned_away = set(failing(len(contents)))
    accepted = [content for index, content in enumerate(contents) if index not in turned_away]
    if accepted:
        _deliver(stream, b"".join(accepted), region=call.region, now=now())
    if call.action == "PutRecord":
        if turned_away:
            raise Refused(Refusal(code="ServiceUnavailableException", message="Slow down.", status=500))
        return {"RecordId": _record_id(), "Encrypted": False}
    return {
        "FailedPutCount": len(turned_away),
        "Encrypted": False,
        "RequestResponses": [
            {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
            if index in turned_away
            else {"RecordId": _record_id()}
            for index in range(len(contents))
        ],
    }


def _check_limits(contents: list[bytes], *, is_batch: bool) -> None:
    """Refuse as AWS does, in its own words: https://github.com/osquery/osquery/issues/3568 saw them."""
    if is_batch and not 1 <= len(contents) <= MAX_BATCH_RECORDS:
        bound = f"less than or equal to {MAX_BATCH_RECORDS}" if contents else "greater than or equal to 1"
        raise Refused(
            Refusal(
                code="ValidationException",
                message="1 validation error detected: Value at 'records' failed to satisfy constraint: "
                f"Member must have length {bound}",
            )
        )
    for index, content in enumerate(contents, start=1):
        if len(content) > MAX_RECORD_BYTES:
            where = f"records.{index}.member.data" if is_batch else "record.data"
            size = len(content)
            raise Refused(
                Refusal(
                    code="ValidationException",
                    message="1 validation error detected: "
                    f"Value 'java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]' "
                    f"at '{where}' failed to satisfy constraint: "
                    f"Member must have length less than or equal to {MAX_RECORD_BYTES}",
                )
            )
    if sum(map(len, contents)) > MAX_BATCH_BYTES:
        raise Refused(Refusal(code="InvalidArgumentException", message="Records size exceeds 4 MB limit"))


def _deliver(stream: DeliveryStream, content: bytes, *, region: str, now: datetime) -> None:
    """Write one object to the stream's bucket.

    Raises:
        Refused: the destination cannot be served here. AWS would accept and retry for a day; a local cloud
            that swallowed the records would only hide the mistake.
    """
    destination: dict[str, Any] = (
        stream.destinations[0].get("ExtendedS3") or stream.destinations[0].get("S3") or {}
    )
    name = stream.delivery_stream_name
    if not destination:
        raise Refused(_undeliverable(name, "it has no S3 destination, the only kind there is here"))
    compression = destination.get("CompressionFormat", "UNCOMPRESSED")
    if compression not in _EXTENSIONS:
        raise Refused(
            _undeliverable(name, f"compression {compression} is not supported, only {[*_EXTENSIONS]}")
        )
    if compression == "GZIP":
        content = gzip.compress(content)
    at = now.astimezone(ZoneInfo(destination.get("CustomTimeZone") or "UTC"))
    extension = destination.get("FileExtension") or _EXTENSIONS[compression]
    key_arn = (
        destination.get("EncryptionConfiguration", {}).get("KMSEncryptionConfig", {}).get("AWSKMSKeyARN")
    )
    bucket = destination["BucketARN"].rpartition(":")[2]
    try:
        prefix = expand_prefix(
            destination.get("Prefix") or "", at=at, random_string=secrets.token_hex(6)[:11]
        )
        s3_backends[DEFAULT_ACCOUNT_ID][get_partition(region)].put_object(
            bucket,
            prefix
            + object_name(name, stream.version_id, at=at, unique=str(uuid.uuid4()), extension=extension),
            content,
            encryption="aws:kms" if key_arn else None,
            kms_key_id=key_arn,
        )
    except (ValueError, ServiceException) as err:
        raise Refused(_undeliverable(name, f"bucket {bucket}: {err}")) from err


def _undeliverable(stream: str, why: str) -> Refusal:
    message = f"The local cloud cannot deliver for stream {stream}: {why}."
    return Refusal(code="ServiceUnavailableException", message=message, status=500)


def _record_id() -> str:
    return secrets.token_urlsafe(120)
