"""What the stub holds: buckets of objects, their checksums as S3 computes them, and listings in pages."""

from __future__ import annotations

import base64
import hashlib
import secrets
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

from awscrt import checksums as crt

PAGE_KEYS = 1000
_EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _crc(value: int, size_bytes: int) -> bytes:
    return value.to_bytes(size_bytes, "big")


def digest(algorithm: str, body: bytes) -> bytes:
    """Return the checksum of ``body`` by the name that ends ``x-amz-checksum-…``."""
    match algorithm:
        case "crc32":
            return _crc(zlib.crc32(body), 4)
        case "crc32c":
            return _crc(crt.crc32c(body), 4)
        case "crc64nvme":
            return _crc(crt.crc64nvme(body), 8)
        case _:
            return hashlib.new(algorithm, body).digest()


def base64_text(value: bytes) -> str:
    """Return the base64 that headers carry."""
    return base64.b64encode(value).decode()


@dataclass(slots=True)
class Stored:
    """One object, with the headers that its answers carry, and the XML that lists it."""

    body: bytes
    etag: str
    headers: dict[str, str]
    part_bytes: int
    part_headers: list[dict[str, str]] = field(default_factory=list)
    xml: str = ""
    modified: datetime = _EPOCH


def store(
    key: str,
    body: bytes,
    *,
    algorithm: str = "crc64nvme",
    part_bytes: int = 0,
    is_kms: bool = False,
    storage_class: str = "STANDARD",
    versioned: bool = False,
    modified: datetime = _EPOCH,
) -> Stored:
    """Make an object as S3 would after such an upload.

    Args:
        key: its name.
        body: its bytes.
        algorithm: of the additional checksum; empty for none, as before 2024.
        part_bytes: uploaded in parts of this size; 0 for a plain upload.
        is_kms: encrypted with a key of KMS, so that the ETag is no MD5.
        storage_class: as S3 names it.
        versioned: the bucket keeps versions.
        modified: LastModified, whole seconds.
    """
    headers: dict[str, str] = {"x-amz-version-id": secrets.token_hex(16)} if versioned else {}
    md5 = secrets.token_hex(16) if is_kms else hashlib.md5(body, usedforsecurity=False).hexdigest()
    part_headers: list[dict[str, str]] = []
    if is_kms:
        headers["x-amz-server-side-encryption"] = "aws:kms"
    name = f"x-amz-checksum-{algorithm}"
    if part_bytes:
        parts = [body[start : start + part_bytes] for start in range(0, max(len(body), 1), part_bytes)]
        if not is_kms:
            md5s = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
            md5 = hashlib.md5(md5s, usedforsecurity=False).hexdigest()
        md5 += f"-{len(parts)}"
        if algorithm == "crc64nvme":  # always of the whole object
            headers |= {name: base64_text(digest(algorithm, body)), "x-amz-checksum-type": "FULL_OBJECT"}
        elif algorithm:
            digests = [digest(algorithm, part) for part in parts]
            whole = base64_text(digest(algorithm, b"".join(digests)))
            headers |= {name: f"{whole}-{len(parts)}", "x-amz-checksum-type": "COMPOSITE"}
            part_headers = [{name: base64_text(value)} for value in digests]
        part_headers = part_headers or [{} for _ in parts]
    elif algorithm:
        headers |= {name: base64_text(digest(algorithm, body)), "x-amz-checksum-type": "FULL_OBJECT"}
    etag = f'"{md5}"'
    text = quote(key, safe="/").replace("%20", "+")  # S3 writes a space as a plus
    xml = (
        f"<Contents><Key>{text}</Key><LastModified>{modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
        f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag><Size>{len(body)}</Size>"
        f"<StorageClass>{storage_class}</StorageClass></Contents>"
    )
    return Stored(body, etag, headers, part_bytes, part_headers, xml, modified)


class Bucket:
    """Objects by key, listed in order."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.page_keys = PAGE_KEYS
        self._sorted: list[str] | None = None

    def put(self, key: str, stored: Stored) -> None:
        """Replace or add."""
        if key not in self.objects:
            self._sorted = None
        self.objects[key] = stored

    def delete(self, key: str) -> None:
        """Remove; what is not there is removed already."""
        if self.objects.pop(key, None) is not None:
            self._sorted = None

    def page(self, query: Mapping[str, str]) -> str:
        """Return the XML of one page of ListObjectsV2, or of ListObjects where that was asked."""
        if self._sorted is None:
            self._sorted = sorted(self.objects, key=lambda key: key.encode("utf-8", "surrogatepass"))
        keys, prefix, delimiter = self._sorted, query.get("prefix", ""), query.get("delimiter", "")
        limit = min(self.page_keys, int(query.get("max-keys", PAGE_KEYS)))
        after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
        start = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
        end = start + limit + 1 if not delimiter else len(keys)
        entries, last, is_truncated = self._entries(
            keys[start:end], prefix, delimiter, limit=limit, after=after
        )
        following = ""
        if is_truncated:
            name = "NextContinuationToken" if "list-type" in query else "NextMarker"
            following = f"<{name}>{escape(last)}</{name}>"
        encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(entries)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
            f"{encoding}{following}{''.join(entries)}</ListBucketResult>"
        )

    def _entries(
        self, keys: Sequence[str], prefix: str, delimiter: str, *, limit: int, after: str
    ) -> tuple[list[str], str, bool]:
        if not delimiter:
            page = keys[: limit + 1]
            if prefix:
                page = [key for key in page if key.startswith(prefix)]
            shown = page[:limit]
            return [self.objects[key].xml for key in shown], shown[-1] if shown else "", len(page) > limit
        entries: list[str] = []
        last = ""
        for name, xml in self._grouped(keys, prefix, delimiter):
            if name <= after:
                continue
            if len(entries) == limit:
                return entries, last, True
            entries.append(xml)
            last = name
        return entries, last, False

    def _grouped(self, keys: Sequence[str], prefix: str, delimiter: str) -> Iterator[tuple[str, str]]:
        group = ""
        for key in keys:
            if not key.startswith(prefix):
                return
            head, found, _ = key[len(prefix) :].partition(delimiter)
            if not found:
                yield key, self.objects[key].xml
            elif group != (name := f"{prefix}{head}{delimiter}"):
                group = name
                text = quote(name, safe="/")
                yield name, f"<CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>"
