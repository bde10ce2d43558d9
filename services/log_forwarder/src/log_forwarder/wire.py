"""Calls of Firehose's API, made with botocore's parts and without its client.

A client is a service model, endpoint rules and a table of regions: 10 MB of memory for two operations,
and it copies a call of 4 MiB three times while it makes JSON of it. What knows accounts and networks stays
botocore's own: credentials, signature, connections, proxies, certificates, configured endpoints, errors.
https://docs.aws.amazon.com/firehose/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import botocore
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from sidecar.aws import Aws

Operation = Literal["DescribeDeliveryStream", "PutRecordBatch"]

_SERVICE = "firehose"
_API = "Firehose_20150804"
_CONTENT_TYPE = "application/x-amz-json-1.1"
_OK = 200


class Wire:
    """Makes calls. Any thread.

    Args:
        aws: sessions, timeouts, user agent.
        connections: how many calls there may be at a time.

    Raises:
        NoRegionError: there is no region to call.
    """

    def __init__(self, aws: Aws, *, connections: int) -> None:
        region = aws.session.region_name
        if not region:
            raise NoRegionError
        self._region = region
        self._session = botocore.session.get_session()
        self._credentials = aws.session.get_credentials()
        self._url = f"{endpoint(self._session, region).rstrip('/')}/"
        settings: Any = aws.config(attempts=1, connections=connections)
        self._agent = f"Botocore/{botocore.__version__} {settings.user_agent_extra}"
        self._http = URLLib3Session(
            verify=self._session.get_config_variable("ca_bundle") or True,
            proxies=get_environ_proxies(self._url),
            timeout=(settings.connect_timeout, settings.read_timeout),  # type: ignore[arg-type]  # as botocore itself
            max_pool_connections=connections,
        )

    def call(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """Make one call, once.

        Raises:
            ClientError: the service refused it.
            BotoCoreError: there are no credentials, no connection, or no answer in time.
            ResponseParserError: the answer makes no sense.
        """
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "User-Agent": self._agent,
            "X-Amz-Target": f"{_API}.{operation}",
        }
        request = AWSRequest(method="POST", url=self._url, data=body, headers=headers)
        if self._credentials is None:
            raise NoCredentialsError
        SigV4Auth(self._credentials.get_frozen_credentials(), _SERVICE, self._region).add_auth(request)
        answer = self._http.send(request.prepare())
        if answer.status_code != _OK:
            raise _refusal(answer.status_code, answer.headers, answer.content, operation)
        try:
            document = json.loads(answer.content)
        except ValueError as err:
            raise ResponseParserError(str(err)) from err
        if not isinstance(document, dict):
            raise ResponseParserError("it is no object")
        return document


def put_record_batch(stream: str, records: Iterable[bytes]) -> bytes:
    """Return the body of a call, each record copied twice: into base64, and into the body."""

    def parts() -> Iterator[bytes]:
        yield b'{"DeliveryStreamName":%b,"Records":[' % json.dumps(stream).encode()
        for number, record in enumerate(records):
            yield b',{"Data":"' if number else b'{"Data":"'
            yield binascii.b2a_base64(record, newline=False)
            yield b'"}'
        yield b"]}"

    return b"".join(parts())


def _refusal(status: int, headers: Any, content: bytes, operation: str) -> ClientError:
    """Read an error as the protocol says: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html ."""
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    document: dict[str, Any] = said if isinstance(said, dict) else {}
    kind = str(document.get("__type") or headers.get("x-amzn-errortype") or status)
    code = kind.rpartition("#")[2].partition(":")[0]
    message = str(document.get("message") or document.get("Message") or "")
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)


def endpoint(session: botocore.session.Session, region: str) -> str:
    """Return the URL that the environment or the profile configures, else the region's own."""
    configured: str | None = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name=_SERVICE
    ).provide()
    if configured and not session.get_config_variable("ignore_configured_endpoint_urls"):
        return configured
    is_fips = session.get_config_variable("use_fips_endpoint")
    is_dual = session.get_config_variable("use_dualstack_endpoint")
    partitions: Any = session.get_component("data_loader").load_data("partitions")
    outputs = next(
        (
            partition["outputs"]
            for partition in partitions["partitions"]
            if region in partition["regions"] or re.match(partition["regionRegex"], region)
        ),
        partitions["partitions"][0]["outputs"],
    )
    suffix = outputs["dualStackDnsSuffix" if is_dual else "dnsSuffix"]
    return f"https://{_SERVICE}{'-fips' if is_fips else ''}.{region}.{suffix}"
