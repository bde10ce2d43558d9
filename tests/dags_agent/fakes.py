"""A source in memory, the same objects behind a slow S3 server, and an agent's cycle around them."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from dags_agent import writer
from dags_agent.checksums import Checksum, Whole, offered
from dags_agent.cycle import Cycle
from dags_agent.errors import SourceChanged
from dags_agent.events import Events
from dags_agent.identity import Identity
from dags_agent.keys import KeyRules, to_listing
from dags_agent.layout import Layout
from dags_agent.listing import Listed, Listing, SourceObject
from dags_agent.note import NAME as NOTE
from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Download
from dags_agent.writer import Fence, WriterLease
from sidecar.app import Runtime
from sidecar.aws import Aws
from sidecar.clock import Stop
from sidecar.errors import Transient
from sidecar.health import Health
from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock

BUCKET = "bucket"
PREFIX = "dags/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULES = KeyRules(prefix=PREFIX)


def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def listed(key: str, content: bytes = b"x", *, storage_class: str = "STANDARD") -> Listed:
    return Listed(
        key=key,
        size_bytes=len(content),
        etag=etag_of(content),
        last_modified=NOON,
        storage_class=storage_class,
    )


def listing_of(files: dict[str, bytes]) -> Listing:
    """The listing of these files (path: content)."""
    items = [listed(f"{PREFIX}{path}", content) for path, content in files.items()]
    return to_listing(items, RULES)


@dataclass
class FakeDownload(Download):
    content: bytes
    checksum: Checksum
    version_id: str | None = None

    async def read(self, size_bytes: int) -> bytes:
        head, self.content = self.content[:size_bytes], self.content[size_bytes:]
        return head


@dataclass
class FakeSource:
    """Passes the source contract (test_s3_contract.py). ``on_open`` is called before each download begins."""

    objects: dict[str, bytes] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    on_open: Callable[[str], None] = lambda _key: None
    in_transit: Callable[[str, bytes], bytes] = lambda _key, content: content

    def set(self, files: dict[str, bytes]) -> None:
        self.objects = {f"{PREFIX}{path}": content for path, content in files.items()}

    async def list(self) -> list[Listed]:
        return [
            listed(key, content) for key, content in sorted(self.objects.items()) if key.startswith(PREFIX)
        ]

    @asynccontextmanager
    async def open(self, item: SourceObject) -> AsyncIterator[Download]:
        self.opened.append(item.key)
        self.on_open(item.key)
        content = self.objects.get(item.key)
        if content is None or etag_of(content) != item.etag:
            raise SourceChanged(f"Key {item.key!r} changed")
        checksum = Whole(offered({"etag": etag_of(content)}).digests)
        yield FakeDownload(content=self.in_transit(item.key, content), checksum=checksum)


def unwell(_key: str) -> None:
    raise Transient("S3 does not answer")


@dataclass
class Agent:
    """A cycle on a real directory, with a source and a clock that the test owns."""

    settings: DagsAgentSettings
    runtime: Runtime
    source: FakeSource
    clock: FakeClock
    cycle: Cycle

    @property
    def target(self) -> Path:
        return self.settings.target

    @property
    def telemetry(self) -> Telemetry:
        return self.runtime.telemetry

    def files(self) -> dict[str, bytes]:
        """What a reader finds."""
        return tree(self.target / "current")

    def live(self) -> str:
        return (self.target / "current").readlink().name

    def metric(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(f"airflow_ecs_dags_agent_{name}", labels) or 0.0

    def leftovers(self) -> list[str]:
        """What serves no release: nothing of it may stay."""
        own, releases = self.target / ".dags-agent", self.target / "releases"
        names = [*own.glob("building/*"), *own.glob("trash/*"), *own.glob("link-*"), *own.glob(".tmp-*")]
        names += releases.glob(".tmp-*")
        names += [path for path in releases.glob("*.json") if not path.with_suffix("").is_dir()]
        return sorted(str(path.relative_to(self.target)) for path in names)


@contextmanager
def an_agent(
    target: Path, source: FakeSource, *, clock: FakeClock | None = None, **settings: object
) -> Iterator[Agent]:
    """A fresh agent, as after a restart: it remembers nothing. No settle time, unless a test asks for one."""
    clock = clock or FakeClock()
    telemetry = Telemetry(service="dags-agent", version="0", clock=clock)
    runtime = Runtime(
        aws=Aws(service="dags-agent", version="0"),
        clock=clock,
        stop=Stop(),
        telemetry=telemetry,
        health=Health(clock),
        rng=random.Random(0),  # noqa: S311 - jitter
        environ={},
        dry_run=bool(settings.pop("dry_run", False)),
    )
    may_delete_all = bool(settings.pop("may_delete_all", False))
    wake = settings.pop("wake", None)
    assert wake is None or isinstance(wake, asyncio.Event)
    checked = DagsAgentSettings.model_validate(
        {"source": f"s3://{BUCKET}/{PREFIX}", "target": target, "max_concurrency": 4, "settle_seconds": 0}
        | settings
    )
    cycle = Cycle(checked, runtime, source, Events(telemetry), may_delete_all=may_delete_all, wake=wake)
    try:
        yield Agent(settings=checked, runtime=runtime, source=source, clock=clock, cycle=cycle)
    finally:
        cycle.close()


@contextmanager
def another_writer(target: Path, clock: FakeClock, *, lives: bool = True) -> Iterator[Fence]:
    """An agent on another host that publishes: alive, it beats whenever somebody waits for it."""
    layout = Layout(target)
    lease = WriterLease(layout, lease_seconds=30, clock=clock, stop=Stop())
    lease._me = Identity(host="elsewhere", boot="another kernel", namespace="pid:[1]", pid=1, started="1")
    fence = lease.try_claim()
    assert fence is not None
    waited = clock.wait

    async def wait(seconds: float, event: asyncio.Event) -> bool:
        if lives:
            beat_once(fence)
        return await waited(seconds, event)

    clock.wait = wait  # type: ignore[method-assign]  # its life, as others see it
    yield fence
    clock.wait = waited  # type: ignore[method-assign]  # as it was
    fence.release()
    lease.close()


def beat_once(fence: Fence) -> None:
    """Show life as the heartbeat's thread does."""
    fence._beat += 1
    writer._rewrite(fence._path, fence._content(fence._beat, released=False))


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root``, resolved once as a reader that wants one release does it."""
    top = root.resolve(strict=True)
    files = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    return {path: content for path, content in files.items() if path != NOTE}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client that was killed on purpose does not read its answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # stubs: a socket


class SlowS3:
    """ListObjectsV2 and GetObject over HTTP, in small pages, with GETs that wait for the test.

    Attributes:
        gets_allowed: how many GETs are answered before the rest wait; None answers all.
        waiting: set as soon as a GET waits.
        failing_page: the number of the listing page that answers 500; None for none.
    """

    def __init__(self, objects: dict[str, bytes], *, page_size: int = 2) -> None:
        self.objects = objects
        self.page_size = page_size
        self.gets_allowed: int | None = None
        self.waiting = threading.Event()
        self.failing_page: int | None = None
        self.gets = 0
        self._open = threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_S3Handler,), {"s3": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def allow(self, gets: int | None) -> None:
        self.gets_allowed, self.gets = gets, 0
        self.waiting.clear()

    def admit(self) -> None:
        """Return when this GET may be answered."""
        with self._lock:
            self.gets += 1
            may_pass = self.gets_allowed is None or self.gets <= self.gets_allowed
        if not may_pass:
            self.waiting.set()
            self._open.wait(30)

    def close(self) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _S3Handler(BaseHTTPRequestHandler):
    s3: SlowS3
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "list-type" in query:
            self._list(query)
            return
        self.s3.admit()
        key = unquote(url.path).removeprefix(f"/{BUCKET}/")
        content = self.s3.objects.get(key)
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif self.headers.get("If-Match", etag_of(content)) != etag_of(content):
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            self._answer(200, content, {"ETag": etag_of(content)})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Stay silent."""

    def _list(self, query: dict[str, list[str]]) -> None:
        first = int(query.get("continuation-token", ["0"])[0])
        if self.s3.failing_page is not None and first == self.s3.failing_page * self.s3.page_size:
            self._answer(500, b"<Error><Code>InternalError</Code></Error>")
            return
        objects = self.s3.objects  # one state for the whole page: the test may set another meanwhile
        keys = sorted(key for key in objects if key.startswith(query["prefix"][0]))
        page = keys[first : first + self.s3.page_size]
        following = first + self.s3.page_size
        has_more = following < len(keys)
        contents = "".join(_contents(key, objects[key]) for key in page)
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if has_more else ""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(has_more).lower()}</IsTruncated><EncodingType>url</EncodingType>"
            f"{token}{contents}</ListBucketResult>"
        )
        self._answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _contents(key: str, content: bytes) -> str:
    encoded = quote(key, safe="/").replace("%20", "+")  # S3 writes a space as a plus
    return (
        f"<Contents><Key>{encoded}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{escape(etag_of(content))}</ETag><Size>{len(content)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )
