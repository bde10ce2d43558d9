"""Count log lines where they were written and where they arrived."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What is in the bucket.

    Attributes:
        distinct: lines, each counted once by its id.
        twice: further copies of the same lines.
        by_source: distinct lines per source file.
    """

    distinct: int
    twice: int
    by_source: Counter[str]


def written(files: Iterable[Path]) -> Counter[str]:
    """Return the number of lines per file; a last line without a newline counts."""
    counts: Counter[str] = Counter()
    for file in files:
        data = file.read_bytes()
        lines = data.count(b"\n") + (1 if data and not data.endswith(b"\n") else 0)
        if lines:
            counts[str(file)] = lines
    return counts


def arrived(s3: S3Client, bucket: str) -> Arrived:
    """Read every object of the bucket and count lines by their id."""
    ids: Counter[str] = Counter()
    source_of: dict[str, str] = {}
    for line in _lines(s3, bucket):
        about = json.loads(line)["_fwd"]
        ids[about["id"]] += 1
        source_of[about["id"]] = about["source"]
    return Arrived(
        distinct=len(ids), twice=sum(ids.values()) - len(ids), by_source=Counter(source_of.values())
    )


def differences(wrote: Counter[str], found: Counter[str]) -> list[str]:
    """Return a line for each file whose counts differ, the largest difference first."""
    files = sorted(set(wrote) | set(found), key=lambda file: -abs(wrote[file] - found[file]))
    return [
        f"{file}: {wrote[file]} written, {found[file]} found" for file in files if wrote[file] != found[file]
    ]


def _lines(s3: S3Client, bucket: str) -> Iterator[bytes]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            data = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            text = gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
            yield from text.splitlines()
