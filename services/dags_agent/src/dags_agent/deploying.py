"""``dags-agent publish DIR s3://…``: upload a tree for the agent, the marker last. For CI jobs.

Order is the promise: new and changed files first, deletions next, the marker at the very end. An agent with
``DAGS_AGENT_MARKER`` publishes nothing of it before; killed anywhere, run again, it ends in the same place.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from dags_agent.deploy_settings import DeploySettings
from dags_agent.globs import matches_any
from dags_agent.keys import ALWAYS_LEFT_OUT, RESERVED, UnsafeKey, relative_path
from dags_agent.settings import SourceUrl
from sidecar.app import Runtime
from sidecar.aws import translate
from sidecar.errors import EXIT_OK, ConfigError, Permanent

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_MARKER = "_release.json"
_DELETE_BATCH = 1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_PUT_BYTES_MAX = 5 << 30  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What one run did."""

    uploaded: int
    unchanged: int
    deleted: int
    marker_etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """What may be deleted of the objects that the tree does not have.

    Attributes:
        is_left_out: whether a path is none of this deploy's business: its object stays.
        max_fraction: of the objects below the prefix; more are refused.
    """

    is_left_out: Callable[[str], bool]
    max_fraction: float


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to upload, where to, and the name of the deploy."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="the tree to upload")
    parser.add_argument("url", metavar="s3://BUCKET/PREFIX/", help="the agent's DAGS_AGENT_SOURCE")
    parser.add_argument(
        "--id", dest="deploy", help="the name of this deploy, for `wait --release`; default: random"
    )
    parser.add_argument("--delete", action="store_true", help="also delete objects that DIR does not have")
    parser.add_argument(
        "--allow-delete",
        action="store_true",
        help="delete also more of them than DAGS_AGENT_MAX_DELETE_FRACTION",
    )


def publish(settings: DeploySettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Upload what differs, delete what is gone if asked to, write the marker; print one JSON line.

    Raises:
        ConfigError: DIR or the URL is not usable, or S3 says no.
        Permanent: DIR holds nothing, a symlink, or a name that cannot be published, or too much would be
            deleted; nothing was uploaded.
        Transient: S3 did not answer; run it again.
    """
    try:
        url = SourceUrl.parse(arguments.url)
    except ValueError as err:
        raise ConfigError(f"{arguments.url!r} is no place to publish to", why=str(err)) from None
    if arguments.delete and not url.prefix:
        raise ConfigError(
            f"{arguments.url!r} is no place to delete from",
            why="it is a whole bucket, and all else in it would be deleted",
            remedy="Publish below a prefix, or without --delete",
        )
    deploy = arguments.deploy or uuid.UUID(int=runtime.rng.getrandbits(128), version=4).hex
    files = files_of(arguments.directory, settings)
    client = runtime.aws.session.client("s3", config=runtime.aws.config(connections=settings.max_concurrency))
    marker = settings.marker or _MARKER
    try:
        upload = _Uploader(client, url, threads=settings.max_concurrency).upload(
            files,
            marker=marker,
            document=_marker_document(runtime, deploy, files),
            deletions=Deletions(
                is_left_out=partial(_is_left_out, settings=settings),
                max_fraction=1.0 if arguments.allow_delete else settings.max_delete_fraction,
            )
            if arguments.delete
            else None,
        )
    except (ClientError, BotoCoreError) as err:
        raise translate(err, f"Cannot publish to {url}") from err
    finally:
        client.close()
    sys.stdout.write(
        json.dumps(
            {
                "id": deploy,
                "uploaded": upload.uploaded,
                "unchanged": upload.unchanged,
                "deleted": upload.deleted,
                "marker": f"{url}{marker}",
                "etag": upload.marker_etag,
            }
        )
        + "\n"
    )
    return EXIT_OK


def files_of(directory: Path, settings: DeploySettings) -> dict[str, Path]:
    """Return the files to upload by their path below the prefix; links are not followed.

    Raises:
        ConfigError: it is no directory.
        Permanent: it is empty, or holds a symlink or a name that the agent would not publish.
    """
    if not directory.is_dir():
        raise ConfigError(f"{str(directory)!r} cannot be published", why="it is no directory")
    files = {}
    for path in _files_and_links(directory):
        name = path.relative_to(directory).as_posix()
        if _is_left_out(name, settings=settings):
            continue
        if path.is_symlink():
            raise Permanent(
                f"{name!r} cannot be published",
                why="it is a symlink, and S3 has none",
                remedy="Put the file in its place, or add it to DAGS_AGENT_EXCLUDE",
            )
        try:
            files[relative_path(name, prefix="")] = path
        except (UnsafeKey, UnicodeEncodeError) as err:
            raise Permanent(f"{name!r} cannot be published", why=str(err), remedy="Rename it") from err
    if not files:
        raise Permanent(
            f"{str(directory)!r} was not published",
            why="it holds no file to publish",
            remedy="Check the directory, DAGS_AGENT_INCLUDE and _EXCLUDE",
        )
    return files


def _is_left_out(name: str, *, settings: DeploySettings) -> bool:
    if matches_any(name, (*ALWAYS_LEFT_OUT, *settings.exclude)) or name.partition("/")[0] in RESERVED:
        return True
    return bool(settings.include) and not matches_any(name, settings.include)


def _marker_document(runtime: Runtime, deploy: str, files: dict[str, Path]) -> dict[str, object]:
    """Return what the marker says; never the same twice, so that its ETag names this run alone."""
    nonce = f"{runtime.rng.getrandbits(64):016x}"
    at = runtime.clock.now().isoformat(timespec="milliseconds")
    return {"id": deploy, "files": len(files), "at": at, "nonce": nonce}


class _Uploader:
    """Uploads one tree. Each call is idempotent."""

    def __init__(self, client: S3Client, url: SourceUrl, *, threads: int) -> None:
        self._client = client
        self._url = url
        self._threads = threads

    def upload(
        self,
        files: dict[str, Path],
        *,
        marker: str,
        document: Mapping[str, object],
        deletions: Deletions | None = None,
    ) -> Upload:
        """Bring the prefix in step with ``files``, then write the marker.

        Raises:
            Permanent: more would be deleted than may be; nothing was changed.
        """
        listed = self._listed()
        listed.pop(marker, None)
        gone = _gone(listed.keys(), files.keys(), deletions) if deletions else []
        changed = [
            name for name in sorted(files) if name != marker and _differs(files[name], listed.get(name))
        ]
        self._in_threads(lambda name: self._put(name, files[name]), changed)
        for batch in _batches(gone):
            self._delete(batch)
        answer = self._client.put_object(
            Bucket=self._url.bucket,
            Key=f"{self._url.prefix}{marker}",
            Body=json.dumps(document).encode(),
            ContentType="application/json",
        )
        return Upload(
            uploaded=len(changed),
            unchanged=len(files) - len(changed),
            deleted=len(gone),
            marker_etag=answer["ETag"],
        )

    def _listed(self) -> dict[str, tuple[int, str]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._url.bucket, Prefix=self._url.prefix
        )
        return {
            item["Key"].removeprefix(self._url.prefix): (item["Size"], item["ETag"].strip('"'))
            for page in pages
            for item in page.get("Contents", [])
        }

    def _put(self, name: str, path: Path) -> None:
        if path.stat().st_size > _PUT_BYTES_MAX:
            raise Permanent(
                f"{name!r} cannot be published", why="it is larger than one PutObject may be, 5 GiB"
            )
        with path.open("rb") as body:
            self._client.put_object(Bucket=self._url.bucket, Key=f"{self._url.prefix}{name}", Body=body)

    def _delete(self, names: list[str]) -> None:
        answer = self._client.delete_objects(
            Bucket=self._url.bucket,
            Delete={"Objects": [{"Key": f"{self._url.prefix}{name}"} for name in names], "Quiet": True},
        )
        for error in answer.get("Errors", []):
            raise Permanent(
                f"{error.get('Key')!r} was not deleted",
                why=f"{error.get('Code')}: {error.get('Message')}",
                remedy="The marker was not written; allow s3:DeleteObject and run it again",
            )

    def _in_threads(self, act: Callable[[str], None], names: Iterable[str]) -> None:
        """Upload so many at once; the first failure ends it, and the marker is not written."""
        with ThreadPoolExecutor(self._threads) as threads:
            jobs = [threads.submit(act, name) for name in names]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                threads.shutdown(wait=True, cancel_futures=True)
                raise


def _differs(path: Path, listed: tuple[int, str] | None) -> bool:
    """Return whether an upload is needed; an ETag that is no MD5 never matches, and costs an upload."""
    if listed is None or path.stat().st_size != listed[0]:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != listed[1]


def _gone(listed: AbstractSet[str], files: AbstractSet[str], deletions: Deletions) -> list[str]:
    """Return what is to be deleted. Raises Permanent when that is more than anybody meant."""
    ours = {name for name in listed if not deletions.is_left_out(name)}
    gone = sorted(ours - files)
    if gone and len(gone) / len(ours) > deletions.max_fraction:
        raise Permanent(
            f"{len(gone)} of {len(ours)} objects would be deleted, as {gone[0]!r}; nothing was uploaded",
            why=f"that is more than DAGS_AGENT_MAX_DELETE_FRACTION={deletions.max_fraction:g}",
            remedy="Check DIR and the prefix; if it is meant: --allow-delete",
        )
    return gone


def _files_and_links(directory: Path) -> Iterator[Path]:
    """Yield the files, and every symlink: what S3 cannot hold is told, never passed over."""
    for top, directories, names in os.walk(directory):
        links = [name for name in directories if Path(top, name).is_symlink()]
        for name in sorted((*names, *links)):
            path = Path(top, name)
            if path.is_file() or path.is_symlink():
                yield path


def _batches(names: list[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, _DELETE_BATCH)):
        yield batch
