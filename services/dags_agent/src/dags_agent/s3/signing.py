"""AWS Signature Version 4 for GET requests without a body.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()
_UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """One set of credentials; never printed."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)


class Signer:
    """Signs requests to one host; keeps the derived key, which changes with the day and the secret."""

    def __init__(self, *, host: str, region: str) -> None:
        self._host = host
        self._region = region
        self._derived: tuple[str, str, bytes] = ("", "", b"")

    def sign(self, path: str, query: str, headers: Mapping[str, str], keys: Keys, now: datetime) -> list[str]:
        """Return the header lines of a signed GET: the given ``x-amz-…`` ones, and those that signing adds.

        Args:
            path: encoded once, as it is sent.
            query: canonical, see :func:`canonical_query`.
            headers: lower-case ``x-amz-…`` names.
            keys: whose signature.
            now: UTC, within 15 minutes of the server's clock.
        """
        time = now.strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": self._host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": time, **headers}
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        names = sorted(signed)
        lines = [f"{name}:{signed[name]}" for name in names]
        listed = ";".join(names)
        request = "\n".join(("GET", path, query, *lines, "", listed, _NO_BODY))
        scope = f"{time[:8]}/{self._region}/s3/aws4_request"
        to_sign = f"{_ALGORITHM}\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(time[:8], keys.secret_key), to_sign.encode(), "sha256").hex()
        lines.append(
            f"authorization:{_ALGORITHM} Credential={keys.access_key}/{scope},"
            f"SignedHeaders={listed},Signature={signature}"
        )
        return lines

    def _key(self, day: str, secret: str) -> bytes:
        known_day, known_secret, key = self._derived
        if (known_day, known_secret) != (day, secret):
            key = f"AWS4{secret}".encode()
            for text in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, text.encode(), "sha256")
            self._derived = (day, secret, key)
        return key


def encoded_path(path: str) -> str:
    """Encode a path as SigV4 and S3 want it: every byte but unreserved ones and the slash."""
    return quote(path, safe="/" + _UNRESERVED)


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Encode a query in canonical order, fit to be signed and to be sent."""
    return "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for name, value in sorted(parameters.items())
    )
