"""``log-forwarder audit s3://bucket/prefix``: proves that nothing is missing, or names what is."""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from log_forwarder.audit.objects import DamagedObjectError, lines
from log_forwarder.audit.ranges import Tally, ranges
from log_forwarder.state import DATABASE_NAME

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

EXIT_INCOMPLETE = 4
_UNREACHABLE = 1
_READ_BYTES = 1024 * 1024
_SCHEME = "s3://"


def main(words: Sequence[str]) -> int:
    """Run the command line; return 0 when every source is whole, 4 when not, 1 when it cannot be known."""
    parser = argparse.ArgumentParser(prog="log-forwarder audit", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(words))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("url", help="s3://bucket/prefix: the objects that Firehose (and the overflow) wrote")
    parser.add_argument(
        "--from-any-offset",
        action="store_true",
        help="do not expect sources to begin at their first byte: the prefix is a part of the time",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="also expect whatever this forwarder's state directory says was accepted of each file",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the objects and print one line per source that is not whole, and one at the end."""
    bucket, _, prefix = str(arguments.url).removeprefix(_SCHEME).partition("/")
    if not str(arguments.url).startswith(_SCHEME) or not bucket:
        _print(f"audit: {arguments.url!r} is no address of objects. Write s3://bucket/prefix")
        return 2
    tally = Tally()
    try:
        count = _read_all(boto3.client("s3"), bucket, prefix, tally)
    except (ClientError, BotoCoreError) as err:
        _print(
            f"audit: cannot read {arguments.url}: {err}. It needs s3:ListBucket, s3:GetObject, kms:Decrypt"
        )
        return _UNREACHABLE
    if arguments.state is not None:
        try:
            for source, path, end in accepted(arguments.state):
                tally.expect(source, path, end)
        except sqlite3.Error as err:
            _print(f"audit: cannot read the state in {arguments.state}: {err}")
            return _UNREACHABLE
    return _report(tally, objects=count, from_any_offset=arguments.from_any_offset)


def _read_all(client: S3Client, bucket: str, prefix: str, tally: Tally) -> int:
    count = 0
    for key in _keys(client, bucket, prefix):
        count += 1
        answer = client.get_object(Bucket=bucket, Key=key)
        if not answer["ContentLength"]:
            tally.problems.append(f"{key}: it is empty")
        try:
            for found in ranges(lines(answer["Body"].iter_chunks(_READ_BYTES))):
                tally.add(found, where=key)
        except DamagedObjectError as err:
            tally.problems.append(f"{key}: {err}")
    return count


def accepted(state_directory: Path) -> Iterator[tuple[str, str, int]]:
    """Yield source, path and accepted end of each file that the state of an ended forwarder knows.

    Raises:
        sqlite3.Error: there is no state, it cannot be read, or a running forwarder has it locked.
    """
    database = f"file:{quote(str((state_directory / DATABASE_NAME).absolute()))}?mode=ro"
    with contextlib.closing(sqlite3.connect(database, uri=True)) as db:
        for source, path, end in db.execute("SELECT source, path, offset FROM files WHERE offset > 0"):
            yield source, os.fsdecode(path), end


def _keys(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"]


def _report(tally: Tally, *, objects: int, from_any_offset: bool) -> int:
    sources = whole_bytes = repeated_bytes = missing = 0
    for verdict in tally.verdicts():
        sources += 1
        whole_bytes += verdict.end
        repeated_bytes += verdict.repeated_bytes
        for gap in verdict.gaps:
            if not (from_any_offset and gap.start == 0):
                missing += 1
                _print(f"GAP {verdict.source} {gap.start}-{gap.end} {verdict.path}")
    for conflict in tally.conflicts:
        _print(f"CONFLICT {conflict}: the same id with different bytes")
    for problem in tally.problems:
        _print(f"DAMAGED {problem}")
    wrong = missing + len(tally.conflicts) + len(tally.problems)
    verdict_text = "nothing is missing" if not wrong else f"{wrong} things are wrong"
    _print(
        f"{verdict_text}: {objects} objects, {sources} sources, {whole_bytes} bytes, "
        f"{repeated_bytes} of them more than once (the same bytes under the same ids)"
    )
    if not sources:
        _print("There is no line that says where it comes from: format raw, another prefix, or nothing yet")
        return _UNREACHABLE
    return EXIT_INCOMPLETE if wrong else 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
