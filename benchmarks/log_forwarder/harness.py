"""What every run shares: the fake stream, a forwarder or peer as a process, and what it used."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import as_in_its_image
from accounting import Account, account
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
GB = 1_000_000_000
ABSENT = as_in_its_image.absent()


@dataclass(slots=True)
class Used:
    """What a process used of the machine."""

    cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0
    rss_mb: float = 0.0


def used(pid: int) -> Used:
    """Read it from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return Used(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS,
        peak_rss_mb=int(status["VmHWM"].split()[0]) / 1024,
        rss_mb=int(status["VmRSS"].split()[0]) / 1024,
    )


def certificate(directory: Path) -> None:
    """Make a certificate for loopback, and the bundle that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    public = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (directory / "ca.pem").write_bytes(public)
    (directory / "certificate.pem").write_bytes(public + private)


@dataclass(slots=True)
class World:
    """A directory of logs, a stream, and processes between them."""

    root: Path
    port: int = 0
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        """Where logs are written."""
        return self.root / "logs"

    @property
    def stream(self) -> Path:
        """The stream's own directory."""
        return self.root / "stream"

    def mode(self, text: str) -> None:
        """Tell the stream how to behave from the next call on."""
        (self.stream / "mode").write_text(text)

    def account(self, lines: int) -> Account:
        """Count what arrived."""
        return account(self.stream, lines)

    def environment(self, **changes: str) -> dict[str, str]:
        """Return a forwarder's environment; ``changes`` are named without the prefix."""
        own = {
            "STREAM": "logs",
            "TAIL": json.dumps([f"{self.logs}/**/*.log*"]),
            "STATE_DIR": str(self.root / "state"),
            "HTTP_PORT": "0",
            "FORMAT": "envelope",
            "COMPRESSION": "gzip",
            "LOG_LEVEL": "warning",
            **changes,
        }
        return {
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL_FIREHOSE": f"https://localhost:{self.port}",
            "AWS_CA_BUNDLE": str(self.stream / "ca.pem"),
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **{f"LOG_FORWARDER_{name}": value for name, value in own.items()},
        }

    def forwarder(self, verb: str = "run", **changes: str) -> subprocess.Popen[bytes]:
        """Start our forwarder."""
        out = (self.root / "forwarder.out").open("ab")
        process = subprocess.Popen(
            [sys.executable, str(HERE / "as_in_its_image.py"), ABSENT, verb],
            env=self.environment(**changes),
            stdout=out,
            stderr=out,
        )
        out.close()
        self.running.append(process)
        return process

    def said(self) -> str:
        """Return what our forwarder logged."""
        return (self.root / "forwarder.out").read_text()


@contextlib.contextmanager
def world(directory: Path | None = None) -> Iterator[World]:
    """Make a world, and clear it away."""
    root = Path(tempfile.mkdtemp(prefix="log-forwarder-bench-", dir=directory))
    made = World(root=root)
    made.logs.mkdir()
    made.stream.mkdir()
    certificate(made.stream)
    server = subprocess.Popen(
        [sys.executable, str(HERE / "fake_firehose.py"), str(made.stream)], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    made.port = int(server.stdout.readline())
    try:
        yield made
    finally:
        for process in [*made.running, server]:
            if process.poll() is None:
                process.kill()
            process.wait()
        server.stdout.close()
        shutil.rmtree(root, ignore_errors=True)


def run_to_end(process: subprocess.Popen[bytes]) -> tuple[Used, float]:
    """Watch a process until it ends; return what it used, and how long it took."""
    began = time.monotonic()
    last = Used()
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, KeyError):
            last = used(process.pid)
        pause(0.02)
    return last, time.monotonic() - began


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        pause(0.01)
    return False


def terminate(process: subprocess.Popen[bytes], seconds: float = 60) -> int:
    """End a process as ECS would."""
    process.send_signal(signal.SIGTERM)
    return process.wait(seconds)


def pause(seconds: float) -> None:
    """Wait for a time: benchmarks measure the real one."""
    threading.Event().wait(seconds)
