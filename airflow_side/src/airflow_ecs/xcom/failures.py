"""Which typed error an answer of S3 or KMS is. No I/O.

The codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html (S3 hands those of KMS on as ``KMS.…``).
"""

from __future__ import annotations

from airflow_ecs.xcom.errors import (
    XComAccessDenied,
    XComKeyUnavailable,
    XComObjectArchived,
    XComObjectCorrupt,
    XComObjectMissing,
    XComStoreError,
    XComUnreachable,
)

_MISSING = {"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "NotFound", "MethodNotAllowed", "405"}
_KEY = {
    "DisabledException",
    "KMSInvalidStateException",
    "KeyUnavailableException",
    "InvalidKeyUsageException",
    "IncorrectKeyException",
    "InvalidGrantTokenException",
}
_BUSY = {
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "ThrottlingException",
    "Throttling",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden", "AllAccessDisabled"}
_SERVER_ERROR = 500
_KEY_HINT = (
    " The KMS key cannot be used: enable it, or cancel its deletion. What is encrypted under it is lost"
    " with it"
)
_CIPHERTEXT_HINT = (
    " The data key in the object does not belong to this KMS key and to this DAG, run, task and key: the"
    " object"
    " was changed, or moved from elsewhere"
)
_ARCHIVED_HINT = (
    " A lifecycle rule moved it to an archive class: restore it, and exempt the XCom prefix from the rule"
)
_BUSY_HINT = " Try again; if it stays, look at the service's quotas and health"


def of_answer(code: str, status: int, message: str, *, doing: str, where: str) -> XComStoreError:
    """Return the error that an answer of S3 or KMS is.

    Args:
        code: as the answer has it.
        status: of HTTP.
        message: as the answer has it; AWS writes no secrets into it.
        doing: what was being done, such as ``reading``.
        where: bucket, key and version, or the KMS key.
    """
    kind, hint = _judged(code, status, message)
    return kind(f"{doing} {where} failed: {code} ({message.strip() or 'no message'}).{hint}")


def _judged(code: str, status: int, message: str) -> tuple[type[XComStoreError], str]:
    bare = code.removeprefix("KMS.")
    judgements = (
        (
            bare in _KEY or (bare == "NotFoundException" and "key" in message.lower()),
            (XComKeyUnavailable, _KEY_HINT),
        ),
        (bare == "InvalidCiphertextException", (XComObjectCorrupt, _CIPHERTEXT_HINT)),
        (bare in _DENIED, (XComAccessDenied, _denied_hint(message))),
        (code in _MISSING, (XComObjectMissing, _missing_hint(code))),
        (code == "InvalidObjectState", (XComObjectArchived, _ARCHIVED_HINT)),
        (bare in _BUSY or "Throttl" in code or status >= _SERVER_ERROR, (XComUnreachable, _BUSY_HINT)),
    )
    return next((judged for holds, judged in judgements if holds), (XComStoreError, ""))


def unreachable(err: Exception, *, doing: str, where: str) -> XComUnreachable:
    """Return the error for no answer at all."""
    return XComUnreachable(
        f"{doing} {where} failed: {type(err).__name__}: {err}. Check the VPC endpoint or NAT, the"
        " security group,"
        " the region and the task role; a retry helps when it was a moment"
    )


def _missing_hint(code: str) -> str:
    if code in {"MethodNotAllowed", "405"}:
        return " That version is a delete marker"
    if code == "NoSuchBucket":
        return " The bucket is not there: was it renamed, or is this another account's environment?"
    return (
        " Somebody deleted it, or a lifecycle rule of the bucket that is shorter than the run (also one on"
        " noncurrent"
        " versions). Run the task that wrote it again"
    )


def _denied_hint(message: str) -> str:
    if "kms" in message.lower():
        return (
            " The task role (or the key's policy) lacks kms:Decrypt for reading or kms:GenerateDataKey for"
            " writing,"
            " on the key of the bucket"
        )
    return (
        " The task role lacks s3:GetObject, s3:GetObjectVersion, s3:PutObject or s3:DeleteObjectVersion"
        " on the"
        " prefix, or the bucket's or the key's policy denies it. Without s3:ListBucket a missing object"
        " is told as"
        " denied, too"
    )
