"""``airflow-ecs xcom sweep``: report the objects of XComs that are no more, and delete them when told to.

Run it where Airflow's database and the bucket can be reached, such as a scheduler's container or a DAG.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_ecs.worker_agent.clock import epoch
from airflow_ecs.xcom.errors import XComStoreError
from airflow_ecs.xcom.making import client
from airflow_ecs.xcom.objects import told
from airflow_ecs.xcom.reference import MARK
from airflow_ecs.xcom.settings import XComSettings, read
from airflow_ecs.xcom.sweeping import Listed, orphans, referenced

MIN_AGE_HOURS = 1.0  # a value is in S3 before its reference is in the database
_BATCH = 1_000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_ROWS = 2_000
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--delete", action="store_true", help="delete the orphans; without it they are reported"
    )
    parser.add_argument(
        "--older-than-hours", type=float, default=24.0, metavar="HOURS", help="leave younger ones alone (24)"
    )
    parser.add_argument(
        "--even-all",
        action="store_true",
        help="delete although no XCom of this database refers to the bucket, which looks like another's",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the report; return 0, or 1 when something could not be read or deleted, or is refused."""
    if arguments.older_than_hours < MIN_AGE_HOURS:
        print(f"--older-than-hours: {MIN_AGE_HOURS:g} or more, for values on their way into the database")  # noqa: T201  # it tells
        return 2
    try:
        settings = read(os.environ)  # noqa: TID251  # where users set it
        return _sweep(settings, arguments, client("s3"))
    except XComStoreError as err:
        print(f"ERROR   {err}")  # noqa: T201  # it tells
        return 1


def _sweep(settings: XComSettings, arguments: argparse.Namespace, s3: Any) -> int:
    known, runs = _of_database()
    older_than = datetime.fromtimestamp(epoch(), timezone.utc) - timedelta(hours=arguments.older_than_hours)  # noqa: UP017  # Python 3.10
    listed = objects_of(s3, settings.bucket, settings.prefix)
    found = list(
        orphans(
            listed,
            bucket=settings.bucket,
            prefix=settings.prefix,
            known=known,
            runs=runs,
            older_than=older_than,
        )
    )
    for each in found[:_SHOWN]:
        line = (
            f"orphan  {each.modified_at:%Y-%m-%dT%H:%M:%SZ} {each.size:>12} s3://{settings.bucket}/{each.key}"
        )
        print(line)  # noqa: T201  # it tells
    if len(found) > _SHOWN:
        print(f"… and {len(found) - _SHOWN} more")  # noqa: T201  # it tells
    print(  # noqa: T201  # it tells
        f"{len(found)} orphans of {sum(each.size for each in found)} bytes; the database has {len(known)}"
        " references"
    )
    if not arguments.delete or not found:
        return 0
    if not known and not arguments.even_all:
        print(  # noqa: T201  # it tells
            "ERROR   nothing is deleted: no XCom of this database refers to the store, so it looks like"
            " the bucket of"
            " another environment. Check [database] sql_alchemy_conn; --even-all deletes all the same"
        )
        return 1
    failed = delete(s3, settings.bucket, found)
    print(f"{len(found) - failed} deleted, {failed} not")  # noqa: T201  # it tells
    return 1 if failed else 0


def objects_of(s3: Any, bucket: str, prefix: str) -> Iterator[Listed]:
    """Yield all that lies under the prefix, every version of it; raises XComStoreError."""
    where = f"s3://{bucket}/{prefix}"
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=f"{prefix}/" if prefix else ""
    )
    with told("listing", where):
        for page in pages:
            for kind in ("Versions", "DeleteMarkers"):
                for each in page.get(kind, ()):
                    version = each["VersionId"]
                    yield Listed(
                        key=each["Key"],
                        version_id=None if version == "null" else version,
                        size=each.get("Size", 0),
                        modified_at=each["LastModified"],
                        is_delete_marker=kind == "DeleteMarkers",
                    )


def delete(s3: Any, bucket: str, found: Sequence[Listed]) -> int:
    """Delete these; return how many could not be. Repeatable."""
    failed = 0
    for batch in _batches(found):
        objects = [
            {"Key": each.key, **({"VersionId": each.version_id} if each.version_id else {})} for each in batch
        ]
        with told("deleting in", f"s3://{bucket}"):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            failed += 1
            print(f"ERROR   {error['Key']}: {error['Code']} {error.get('Message', '')}")  # noqa: T201  # it tells
    return failed


def _batches(found: Iterable[Listed]) -> Iterator[list[Listed]]:
    rest = iter(found)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _of_database() -> tuple[frozenset[bytes], frozenset[tuple[str, str]]]:
    """Return the references and the runs; read before the bucket, as what comes later is too young."""
    from airflow.models.dagrun import DagRun  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image
    from airflow.models.xcom import XComModel  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
    from airflow.utils.session import create_session  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
    from sqlalchemy import String, cast, select  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # the same

    with create_session() as session:
        values = session.scalars(
            select(XComModel.value)
            .where(cast(XComModel.value, String).contains(MARK, autoescape=True))
            .execution_options(yield_per=_ROWS)
        )
        known = frozenset(referenced(map(_decoded, values)))
        runs = frozenset(
            (dag_id, run_id) for dag_id, run_id in session.execute(select(DagRun.dag_id, DagRun.run_id))
        )
    return known, runs


def _decoded(value: object) -> object:
    """A value that was written by the server itself is JSON within JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
