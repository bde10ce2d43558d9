"""The HTTP side of the stub: one asyncio protocol per connection, requests answered in order."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from benchmarks.dags_agent.s3_stub import verify
from benchmarks.dags_agent.s3_stub.faults import Fault, read_faults
from benchmarks.dags_agent.s3_stub.store import Bucket, Stored, store

_PHRASES = {200: "OK", 206: "Partial Content", 204: "No Content"}
_SKEW_MAX = timedelta(minutes=15)


@dataclass(slots=True)
class Place:
    """A bucket, and how the stub behaves to those who ask for it."""

    bucket: Bucket = field(default_factory=Bucket)
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    latency_seconds: float = 0.0
    region: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    skew_seconds: float = 0.0
    seen_headers: list[dict[str, str]] = field(default_factory=list)
    is_recorded: bool = False


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, understood."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Reply:
    """What is sent, and what goes wrong with it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_chunked: bool = False
    fault: Fault | None = None


class Stub:
    """All buckets, and what was asked of them."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.connections = 0

    def place(self, bucket: str) -> Place:
        """Return a bucket's place, made on first use."""
        return self.places.setdefault(bucket, Place())

    def answer(self, request: Request) -> tuple[Reply, float]:
        """Return the reply and after how many seconds it is sent."""
        if request.path.startswith("/_control/"):
            return self._control(request), 0.0
        name, _, key = request.path.removeprefix("/").partition("/")
        place = self.places.get(name)
        if place is None:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist"), 0.0
        operation = _operation(request.method, key, request.query)
        place.counts[operation] += 1
        if place.is_recorded:
            place.seen_headers.append(request.headers)
        reply = self._refuse(place, request, name) or self._reply(place, request, key, operation)
        if reply.status >= 400:
            place.counts[f"{operation}:{reply.status}"] += 1
        return reply, place.latency_seconds

    def _refuse(self, place: Place, request: Request, name: str) -> Reply | None:
        headers = request.headers
        if place.region and (region := verify.region_of(headers)) != place.region:
            message = f"the region {region!r} is wrong; expecting {place.region!r}"
            extra = f"<Region>{place.region}</Region><BucketName>{name}</BucketName>"
            return _error(
                400, "AuthorizationHeaderMalformed", message, {"x-amz-bucket-region": place.region}, extra
            )
        if place.skew_seconds:
            now = datetime.now(UTC) + timedelta(seconds=place.skew_seconds)
            if abs(verify.signed_at(headers) - now) > _SKEW_MAX:
                date = {"date": format_datetime(now, usegmt=True)}
                return _error(403, "RequestTimeTooSkewed", "The difference is too large.", date)
        if place.secrets:
            secret = place.secrets.get(verify.access_key_of(headers), "")
            if secret == "expired":
                return _error(400, "ExpiredToken", "The provided token has expired.")
            if not secret or not verify.is_genuine(request.target, headers, secret):
                return _error(403, "SignatureDoesNotMatch", "The request signature does not match.")
        return None

    def _reply(self, place: Place, request: Request, key: str, operation: str) -> Reply:
        page = str(place.counts["list"] - 1)
        fault = next(
            (f for f in place.faults if f.meets(operation, page if operation == "list" else key)), None
        )
        if fault is not None and fault.do == "status":
            if fault.body is not None:
                return Reply(status=fault.status, body=fault.body.encode(), headers=fault.headers)
            return _error(fault.status, fault.code, fault.message, fault.headers)
        match operation:
            case "list":
                body = place.bucket.page(request.query).encode("utf-8", "surrogatepass")
                reply = Reply(
                    status=200, body=body, headers={"content-type": "application/xml"}, is_chunked=True
                )
            case "get" | "head":
                reply = _object(place.bucket.objects.get(key), request)
            case "put":
                stored = store(key, request.body)
                place.bucket.put(key, stored)
                reply = Reply(status=200, headers={"etag": stored.etag})
            case "delete":
                place.bucket.delete(key)
                reply = Reply(status=204)
            case "location":
                reply = Reply(status=200, body=b"<LocationConstraint>eu-west-1</LocationConstraint>")
            case _:
                reply = Reply(status=200)
        reply.fault = fault
        return reply

    def _control(self, request: Request) -> Reply:
        """``POST /_control/<bucket>`` with JSON sets a place up; ``GET`` tells its counts."""
        name = request.path.removeprefix("/_control/")
        place = self.place(name)
        if request.method == "POST":
            _set_up(place, json.loads(request.body))
        told = {
            "counts": dict(place.counts),
            "connections": self.connections,
            "headers": place.seen_headers,
            "keys": len(place.bucket.objects),
        }
        return Reply(status=200, body=json.dumps(told).encode())


def _set_up(place: Place, document: dict[str, Any]) -> None:
    if "objects" in document:
        for key, made in document["objects"].items():
            body = bytes.fromhex(made.pop("hex"))
            if key in document.get("touch", []):
                made["modified"] = datetime.now(UTC)
            place.bucket.put(key, store(key, body, **made))
    if "seed" in document:
        _seed(place, **document["seed"])
    if "faults" in document:
        place.faults = read_faults(document["faults"])
    if document.get("reset_counts"):
        place.counts.clear()
        place.seen_headers.clear()
    for name in ("latency_seconds", "region", "secrets", "skew_seconds", "is_recorded"):
        if name in document:
            setattr(place, name, document[name])
    if "page_keys" in document:
        place.bucket.page_keys = document["page_keys"]


def _seed(place: Place, *, files: int, directories: int, prefix: str, round: int = 0) -> None:
    """Fill with files of 2 to 8 KiB that look like DAGs, spread over directories; the same each time."""
    for number in range(files):
        key = f"{prefix}team{number % directories:04d}/dag_{number:06d}.py"
        size = 2048 + (number * 2654435761) % 6144
        head = f"# {key} round {round}\n".encode()
        place.bucket.put(key, store(key, (head + b"x = 1  # filler\n" * (size // 16))[:size]))


def _operation(method: str, key: str, query: Mapping[str, str]) -> str:
    if key:
        return method.lower()
    if method == "HEAD":
        return "head_bucket"
    return "location" if "location" in query else "list"


def _object(stored: Stored | None, request: Request) -> Reply:
    if stored is None:
        return _error(404, "NoSuchKey", "The specified key does not exist.")
    wanted = request.headers.get("if-match", stored.etag)
    if wanted.strip('"') != stored.etag.strip('"'):
        return _error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold.")
    headers = {
        "etag": stored.etag,
        "last-modified": format_datetime(stored.modified, usegmt=True),
        "accept-ranges": "bytes",
        "content-type": "binary/octet-stream",
    }
    asked = request.headers.get("x-amz-checksum-mode") == "ENABLED"
    told = {k: v for k, v in stored.headers.items() if asked or not k.startswith("x-amz-checksum")}
    body, status = stored.body, 200
    if "partNumber" in request.query and stored.part_headers:
        number = int(request.query["partNumber"])
        start = (number - 1) * stored.part_bytes
        body, status = stored.body[start : start + stored.part_bytes], 206
        told = {k: v for k, v in told.items() if not k.startswith("x-amz-checksum")}
        told |= {**stored.part_headers[number - 1], "x-amz-mp-parts-count": str(len(stored.part_headers))}
    elif (bounds := request.headers.get("range", "")).startswith("bytes="):
        first, _, last = bounds.removeprefix("bytes=").partition("-")
        end = int(last) + 1 if last else len(stored.body)
        body, status = stored.body[int(first) : end], 206
        told = {k: v for k, v in told.items() if not k.startswith("x-amz-checksum")}
        told["content-range"] = f"bytes {first}-{min(end, len(stored.body)) - 1}/{len(stored.body)}"
    return Reply(status=status, body=body, headers=headers | told)


def _error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None, extra: str = ""
) -> Reply:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        f"{extra}<RequestId>0</RequestId></Error>"
    ).encode()
    return Reply(status=status, body=body, headers={"content-type": "application/xml", **(headers or {})})


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._stub.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._buffer += data
        while (request := self._next()) is not None:
            reply, seconds = self._stub.answer(request)
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._send, request, reply)
            else:
                self._send(request, reply)

    def _next(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if (
            headers.get("expect", "").lower() == "100-continue"
            and len(self._buffer) == end + 4
            and self._transport
        ):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._buffer) < end + 4 + length:
            return None
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        return Request(
            method=method,
            target=target,
            path=unquote(path),
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=headers,
            body=body,
        )

    def _send(self, request: Request, reply: Reply) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        fault = reply.fault
        if fault is not None and fault.do == "stall":
            return
        if fault is not None and fault.do == "reset":
            transport.abort()
            return
        body = b"" if request.method == "HEAD" else reply.body
        lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Error')}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.is_chunked and fault is None:
            lines.append("transfer-encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            lines.append(f"content-length: {len(reply.body)}")
        if fault is not None:
            body = _spoilt(body, fault)
        transport.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)
        if fault is not None and fault.do in ("close", "truncate", "drop_after"):
            transport.close()


def _spoilt(body: bytes, fault: Fault) -> bytes:
    match fault.do:
        case "flip":
            return bytes([body[0] ^ 1]) + body[1:] if body else body
        case "truncate":
            return body[: len(body) // 2]
        case "drop_after":
            return body[: fault.after_bytes]
        case _:
            return body
