"""What 100,000 keys take: bytes per key, counted by the allocator, which no load of the machine changes.

``python -m benchmarks.dags_agent.memory`` shows what the process takes in all.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from dags_agent.arrivals import taken_from
from dags_agent.disk import read_manifest_file
from dags_agent.keys import to_listing
from dags_agent.listing import Listed, Listing
from dags_agent.manifest import Manifest, ReleasedFile, new_release_id
from dags_agent.s3.page import read_page

from .fakes import NOON, PREFIX, RULES, etag_of

KEYS = 10_000
PAGE_KEYS = 1_000
# Each key is held once: about 80 bytes of key, 85 of ETag, 30 of size, 80 of record.
LISTED_BYTES_PER_KEY = 330
# And 115 of SHA-256, 30 of time, 20 of record.
RELEASED_BYTES_PER_FILE = 520


def page(first: int) -> bytes:
    rows = "".join(
        f"<Contents><Key>{PREFIX}team{number % 200:04d}/dag_{number:06d}.py</Key><Size>{4000 + number}</Size>"
        f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{etag_of(b'%d' % number)}</ETag>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(first, first + PAGE_KEYS)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()


PAGES = [page(first) for first in range(0, KEYS, PAGE_KEYS)]


def listing() -> Listing:
    listed: list[Listed] = []
    for text in PAGES:
        listed += read_page(text).objects
    return to_listing(taken_from(listed), RULES)


def bytes_of(make: Callable[[], object]) -> tuple[int, int]:
    """Return what is held by what ``make`` returns, and what was held at most on the way."""
    tracemalloc.start()
    try:
        made = make()
        held, peak = tracemalloc.get_traced_memory()
        del made
    finally:
        tracemalloc.stop()
    return held, peak


def test_a_listed_key_is_held_once() -> None:
    held, peak = bytes_of(listing)
    assert held / KEYS < LISTED_BYTES_PER_KEY
    assert peak / KEYS < LISTED_BYTES_PER_KEY + 170  # a page being parsed, what is sorted, and what it was


def test_a_manifest_is_read_a_line_at_a_time(tmp_path: Path) -> None:
    files = tuple(
        ReleasedFile(
            key=item.key,
            path_begins=item.path_begins,
            size_bytes=item.size_bytes,
            etag=item.etag,
            version_id=None,
            last_modified=item.last_modified + timedelta(0),
            sha256=f"{number:064x}",
            mtime_seconds=int(NOON.timestamp()),
        )
        for number, item in enumerate(listing().objects)
    )
    release_id = new_release_id(int(NOON.timestamp()), "0" * 8)
    path = tmp_path / "manifest.json"
    path.write_bytes(Manifest(release_id=release_id, source="s3://bucket/dags/", files=files).to_json())
    held, peak = bytes_of(lambda: read_manifest_file(path))
    assert held / KEYS < RELEASED_BYTES_PER_FILE
    assert peak / KEYS < RELEASED_BYTES_PER_FILE + 150  # the fingerprint is taken over sorted paths


def test_our_own_client_does_without_the_asynchronous_sdk() -> None:
    lines = (
        "import asyncio, sys",
        "import dags_agent.__main__",
        "from dags_agent.s3.address import resolve",
        "from sidecar.aws import Aws",
        "aws = Aws(service='x', version='0', region='eu-west-1')",
        "assert not asyncio.run(resolve(aws, 'my-bucket')).unsupported",
        "print(sorted({'aiobotocore', 'aiohttp'} & sys.modules.keys()))",
    )
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
