"""Check a request's signature with botocore's own signer: independent of the client that is tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,\s*"
    r"SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})"
)


def region_of(headers: Mapping[str, str]) -> str:
    """Return the region that a request is signed for; empty when it is not signed."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    return match[3] if match else ""


def access_key_of(headers: Mapping[str, str]) -> str:
    """Return whose signature it is; empty when it is not signed."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    return match[1] if match else ""


def signed_at(headers: Mapping[str, str]) -> datetime:
    """Return when the client says that it is."""
    return datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def is_genuine(target: str, headers: Mapping[str, str], secret: str) -> bool:
    """Return whether the signature is the one that botocore would make of the same request."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return False
    access_key, _, region, names, signature = match.groups()
    signer = S3SigV4Auth(Credentials(access_key, secret), "s3", region)
    request = AWSRequest(method="GET", url=f"http://{headers['host']}{target}")
    for name in names.split(";"):
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    return bool(signer.signature(to_sign, request) == signature)
