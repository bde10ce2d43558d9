"""What an HTTP request asks of AWS, and how AWS would refuse it: the one place that knows the wire protocols.

Every AWS protocol names its action elsewhere and writes its errors differently; the rest of the local cloud
speaks of :class:`Call` and :class:`Refusal` only.
"""

from __future__ import annotations

import base64
import io
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from local_cloud.s3_actions import s3_action

Protocol = Literal["json", "query", "rest-json", "rest-xml", "cbor"]

_SCOPE = re.compile(r"Credential=[^/]*/\d{8}/(?P<region>[^/]*)/(?P<service>[^/]*)/aws4_request")
_SMITHY_PATH = re.compile(r"^/service/[^/]+/operation/(?P<action>\w+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to AWS.

    Attributes:
        service: signing name in lower case, such as ``sqs``; "" when the request is not signed.
        action: such as ``SendMessage``; "" when the path alone tells it (REST services other than S3).
        region: as signed.
        protocol: how the request is written, and so how its errors must be.
        body: the whole body, for all protocols but REST (whose bodies may be large); else empty.
    """

    service: str
    action: str
    region: str
    protocol: Protocol
    body: bytes

    def parameters(self) -> dict[str, Any]:
        """The parameters of a ``json`` or ``query`` request; ``Attribute.1.Name`` becomes ``Attributes``.

        Raises:
            ValueError: the body is not what the protocol says.
        """
        if self.protocol == "json":
            found = json.loads(self.body or b"{}")
            if not isinstance(found, dict):
                raise ValueError("the body is no JSON object")
            return found
        flat: dict[str, Any] = dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        names = {key: value for key, value in flat.items() if re.fullmatch(r"Attribute\.\d+\.Name", key)}
        flat["Attributes"] = {name: flat.get(key[:-4] + "Value") for key, name in names.items()}
        return flat


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An AWS error, whatever the protocol.

    Attributes:
        code: AWS's error code.
        message: AWS's text, where it is known.
        status: HTTP status.
    """

    code: str
    message: str
    status: int = 400


def read_call(environ: dict[str, Any]) -> Call:
    """What ``environ`` asks for. The body is read and put back where that is cheap (all but REST)."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    service = scope["service"].lower() if scope else ""
    region = scope["region"] if scope else "us-east-1"
    path = environ.get("PATH_INFO", "/")
    if not scope and "X-Amz-Credential" in query:  # a presigned URL
        region, service = query["X-Amz-Credential"].split("/")[2:4]
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        action = target.rpartition(".")[2]
        return Call(service=service, action=action, region=region, protocol="json", body=_read_body(environ))
    if smithy := _SMITHY_PATH.match(path):
        return Call(service=service, action=smithy["action"], region=region, protocol="cbor", body=b"")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = _read_body(environ)
        action = dict(parse_qsl(body.decode(errors="replace"))).get("Action", "")
        return Call(service=service, action=action, region=region, protocol="query", body=body)
    if service == "s3":
        is_copy = "HTTP_X_AMZ_COPY_SOURCE" in environ
        action = s3_action(environ["REQUEST_METHOD"], path, query, is_copy=is_copy)
        return Call(service=service, action=action, region=region, protocol="rest-xml", body=b"")
    return Call(service=service, action="", region=region, protocol="rest-json", body=b"")


def answer(body: Mapping[str, Any]) -> Response:
    """A success in the JSON protocol."""
    return _response(200, json.dumps(body).encode(), "application/x-amz-json-1.1", {})


def refuse(call: Call, refusal: Refusal) -> Response:
    """The error as an AWS client of this protocol reads it."""
    fields = {"__type": refusal.code, "message": refusal.message}
    if call.protocol == "cbor":
        headers = {"smithy-protocol": "rpc-v2-cbor"}
        return _response(refusal.status, _cbor_text_map(fields), "application/cbor", headers)
    if call.protocol in {"json", "rest-json"}:
        # The two headers are for clients that know the codes of the older XML protocol, and for REST.
        # https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#x-amzn-query-error
        headers = {"x-amzn-query-error": f"{refusal.code};Sender", "x-amzn-errortype": refusal.code}
        return _response(refusal.status, json.dumps(fields).encode(), "application/x-amz-json-1.0", headers)
    error = f"<Error><Type>Sender</Type><Code>{escape(refusal.code)}</Code>"
    error += f"<Message>{escape(refusal.message)}</Message></Error>"
    if call.protocol == "query":
        error = f"<ErrorResponse>{error}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    return _response(refusal.status, error.encode(), "text/xml", {})


def decoded_blob(value: object) -> bytes:
    """A blob of the JSON protocol.

    Raises:
        ValueError: it is not base64.
    """
    if not isinstance(value, str):
        raise ValueError("a blob must be base64 text")  # noqa: TRY004  # what the caller sent, not a bug
    return base64.b64decode(value, validate=True)


def _read_body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _response(status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> Response:
    response = Response(body, status=status, content_type=content_type)
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    response.headers.update(headers)
    return response


def _cbor_text_map(fields: Mapping[str, str]) -> bytes:
    """A CBOR map of texts (RFC 8949), for at most 23 fields of at most 65,535 bytes."""
    encoded = bytes([0xA0 | len(fields)])
    for text in (part for pair in fields.items() for part in pair):
        data = text.encode()
        encoded += b"\x79" + len(data).to_bytes(2, "big") + data
    return encoded
