"""Where a bucket answers, and how to reach it: asked of the SDK, which knows every partition and switch.

Virtual-hosted or path style, ``AWS_ENDPOINT_URL[_S3]``, FIPS, dual-stack, China: all of that is in the URL of
the request that the SDK would send. It is taken from there just before it is sent. The session is thrown away
with the models that it read: 12 MB that the listing can use.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import ssl
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.session import get_session
from botocore.utils import get_environ_proxies

from sidecar.aws import Aws, translate

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request,")
# Directory buckets want a session per bucket (CreateSession): left to the SDK.
_DIRECTORY_BUCKET = "--x-s3"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the requests for one bucket go.

    Attributes:
        authority: what the Host header says.
        path: before the key, encoded, without a slash at its end: empty, or ``/bucket``.
        region: that requests are signed for.
        tls: None for plain HTTP.
        unsupported: why our own client cannot be used there, in words for people; empty when it can.
    """

    host: str
    port: int
    authority: str
    path: str
    region: str
    tls: ssl.SSLContext | None
    unsupported: str = ""


class _Captured(Exception):  # noqa: N818 - no error: how the SDK is stopped before it sends
    """The SDK has made its request."""


class _Request(Protocol):
    url: str
    headers: dict[str, bytes | str]


async def resolve(aws: Aws, bucket: str, *, region: str | None = None) -> Address:
    """Return where ``bucket`` answers. Sends nothing to S3; may fetch credentials.

    Args:
        aws: the session.
        bucket: its name.
        region: where S3 said that it is, when that is not the session's.

    Raises:
        ConfigError: no credentials, no region, or a setting that the SDK refuses.
        Transient: the endpoint of the credentials did not answer; a retry may help.
    """
    if bucket.endswith(_DIRECTORY_BUCKET):
        return _unsupported("it is a directory bucket")
    try:
        return await asyncio.to_thread(_resolve, aws, bucket, region)
    except (ClientError, BotoCoreError) as err:
        raise translate(err, f"Cannot reach bucket {bucket!r}") from err
    finally:
        gc.collect()  # the session is full of circles


def _resolve(aws: Aws, bucket: str, region: str | None) -> Address:
    requests: list[_Request] = []

    def capture(request: _Request, **_: object) -> None:
        requests.append(request)
        raise _Captured

    found = aws.session.get_credentials()  # once for both: an endpoint gives others each time
    if found is None:
        raise NoCredentialsError
    keys = found.get_frozen_credentials()
    session = get_session()
    session.set_credentials(keys.access_key or "", keys.secret_key or "", keys.token)
    session.set_config_variable("region", region or aws.session.region_name)
    client = session.create_client("s3", config=aws.config(attempts=1))
    client.meta.events.register("before-send.s3.ListObjectsV2", capture)
    with contextlib.suppress(_Captured):
        client.list_objects_v2(Bucket=bucket)  # type: ignore[attr-defined]  # made from the SDK's models
    client.close()
    return _address(requests[0], session.get_config_variable("ca_bundle"))


def _address(request: _Request, ca_bundle: str | None) -> Address:
    url = urlsplit(request.url)
    header = request.headers.get("Authorization", "")
    scope = _SCOPE.match(header.decode() if isinstance(header, bytes) else header)
    if scope is None:
        return _unsupported("its requests are not signed with Signature Version 4")
    if get_environ_proxies(request.url):
        return _unsupported("a proxy is set")
    port = url.port or _PORTS[url.scheme]
    host = url.hostname or ""
    literal = f"[{host}]" if ":" in host else host
    return Address(
        host=host,
        port=port,
        authority=literal if port == _PORTS[url.scheme] else f"{literal}:{port}",
        path=url.path.rstrip("/"),
        region=scope[1],
        tls=ssl.create_default_context(cafile=ca_bundle or get_cert_path(verify=True))
        if url.scheme == "https"
        else None,
    )


def _unsupported(why: str) -> Address:
    return Address(host="", port=0, authority="", path="", region="", tls=None, unsupported=why)
