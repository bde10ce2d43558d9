"""One page of ListObjectsV2, read from its XML: exactly what is there, or an error.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

from dags_agent.errors import Reason, Refused
from dags_agent.listing import Listed

_ETAG = re.compile(r"[\x21-\x7e]{1,128}")  # it goes into a header


class PageUnreadable(ValueError):  # noqa: N818 - a state of an answer
    """The text is no whole page; asking again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, and where the next begins.

    Attributes:
        objects: in the order of the bucket.
        next_token: for the following page; None on the last.
    """

    objects: tuple[Listed, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What an error answer says.

    Attributes:
        code: S3's own word, e.g. ``NoSuchKey``; empty when the body tells none.
        message: one sentence. Never more of the body, which may quote what was signed.
        region: where the bucket is, when that is the complaint.
    """

    code: str
    message: str
    region: str


def read_page(text: bytes) -> Page:
    """Read a page.

    Raises:
        PageUnreadable: it is torn, or is something else.
        Refused: a key is not UTF-8.
    """
    root = _parsed(text)
    if _name(root) != "ListBucketResult":
        raise PageUnreadable(f"the answer is <{_name(root)}>, not a listing")
    space = root.tag.removesuffix("ListBucketResult")
    fields, contents = {}, []
    for child in root:
        if child.tag == f"{space}Contents":
            contents.append({field.tag.removeprefix(space): field.text or "" for field in child})
        else:
            fields[child.tag.removeprefix(space)] = child.text or ""
    is_encoded = fields.get("EncodingType") == "url"
    try:
        objects = tuple(_listed(found, is_encoded=is_encoded) for found in contents)
        count = int(fields.get("KeyCount") or len(objects))
        is_truncated = {"true": True, "false": False}[fields["IsTruncated"]]
    except Refused:
        raise
    except (KeyError, ValueError) as err:
        raise PageUnreadable(f"a listing without a sensible {err}") from err
    if count != len(objects):
        raise PageUnreadable(f"a listing of {count} keys holds {len(objects)}")
    token = fields.get("NextContinuationToken")
    if is_truncated and not token:
        raise PageUnreadable("a truncated listing does not say how to go on")
    return Page(objects=objects, next_token=token if is_truncated else None)


def read_complaint(text: bytes) -> Complaint:
    """Read the body of an error answer; what is no such body has nothing to say."""
    try:
        root = _parsed(text)
    except PageUnreadable:
        return Complaint(code="", message="", region="")
    fields: Mapping[str, str] = {_name(child): child.text or "" for child in root}
    if _name(root) != "Error":
        fields = {}
    return Complaint(
        code=fields.get("Code", ""), message=fields.get("Message", ""), region=fields.get("Region", "")
    )


def decoded(key: str) -> str:
    """Undo ``encoding-type=url``. Without it XML would turn some control characters into others.

    Raises:
        Refused: it is not UTF-8.
    """
    if "%" not in key and "+" not in key:
        return key
    try:
        return unquote_to_bytes(key.replace("+", " ")).decode()
    except UnicodeDecodeError as err:
        raise Refused(
            Reason.UNSAFE_KEY,
            f"Key {key!r} (URL-encoded) cannot become a file",
            why="it is not UTF-8",
            remedy="Delete or rename the object; the live release stays",
        ) from err


def _listed(found: Mapping[str, str], *, is_encoded: bool) -> Listed:
    etag = found["ETag"]
    if not _ETAG.fullmatch(etag):
        raise ValueError("ETag")
    return Listed(
        key=decoded(found["Key"]) if is_encoded else found["Key"],
        size_bytes=_size(found["Size"]),
        etag=etag,
        last_modified=_time(found["LastModified"]),
        storage_class=sys.intern(found.get("StorageClass", "STANDARD")),
    )


@lru_cache(maxsize=1024)
def _time(text: str) -> datetime:
    """An upload gives many objects one second: one value of it for all, 100,000 keys are held in memory."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("LastModified")
    return time


def _size(text: str) -> int:
    size_bytes = int(text)
    if size_bytes < 0:
        raise ValueError("Size")
    return size_bytes


def _parsed(text: bytes) -> ET.Element:
    if b"<!" in text or b"\0" in text:  # S3 writes UTF-8, and neither of these
        raise PageUnreadable("the answer declares a document type, or is no UTF-8")
    try:
        return ET.fromstring(text)  # noqa: S314 - no document type, so no entities to expand
    except ET.ParseError as err:
        raise PageUnreadable(f"the answer is no whole XML document ({err})") from err


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
