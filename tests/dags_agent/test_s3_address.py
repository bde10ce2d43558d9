"""Where requests go: every switch of the SDK, TLS that is checked, and what is left to the SDK."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.dags_agent.s3_stub.process import StubProcess
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dags_agent.s3.address import resolve
from dags_agent.s3.native import NativeSource
from dags_agent.s3.sdk import SdkSource
from sidecar.aws import Aws
from sidecar.errors import ConfigError

from .s3_clients import connected, only, read
from .s3_server import StubBucket


@pytest.fixture
def on_aws(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, and no endpoint but AWS's own. Nothing is sent."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")


@pytest.mark.parametrize(
    ("bucket", "region", "settings", "authority", "path"),
    [
        ("my-bucket", "eu-west-1", {}, "my-bucket.s3.eu-west-1.amazonaws.com", ""),
        ("my.dotted.bucket", "eu-west-1", {}, "s3.eu-west-1.amazonaws.com", "/my.dotted.bucket"),
        ("my-bucket", "cn-north-1", {}, "my-bucket.s3.cn-north-1.amazonaws.com.cn", ""),
        (
            "my-bucket",
            "eu-west-1",
            {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "my-bucket.s3.dualstack.eu-west-1.amazonaws.com",
            "",
        ),
        (
            "my-bucket",
            "us-gov-west-1",
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "my-bucket.s3-fips.us-gov-west-1.amazonaws.com",
            "",
        ),
        (
            "my-bucket",
            "eu-west-1",
            {"AWS_ENDPOINT_URL": "http://s3.local:9000/x"},
            "s3.local:9000",
            "/x/my-bucket",
        ),
        (
            "my-bucket",
            "eu-west-1",
            {"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_S3": "https://s3.local"},
            "s3.local",
            "/my-bucket",
        ),
        ("my-bucket", "eu-west-1", {"AWS_ENDPOINT_URL": "http://[::1]:9000"}, "[::1]:9000", "/my-bucket"),
    ],
)
async def test_the_address_is_the_one_that_the_sdk_would_use(
    *,
    on_aws: None,
    bucket: str,
    region: str,
    settings: dict[str, str],
    authority: str,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    address = await resolve(Aws(service="x", version="0", region=region), bucket)
    assert (address.authority, address.path, address.region) == (authority, path, region)
    endpoint = settings.get("AWS_ENDPOINT_URL_S3") or settings.get("AWS_ENDPOINT_URL", "https:")
    assert (address.tls is not None) is endpoint.startswith("https:")
    assert not address.unsupported


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1"])
async def test_behind_a_proxy_the_sdk_is_taken(
    bucket: StubBucket, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    async with connected(bucket.name, "native") as source:
        assert isinstance(source, NativeSource if no_proxy else SdkSource)


async def test_a_directory_bucket_is_left_to_the_sdk(on_aws: None) -> None:
    address = await resolve(Aws(service="x", version="0"), "dags--euw1-az1--x-s3")
    assert address.unsupported == "it is a directory bucket"


async def test_no_credentials_are_a_configuration_error(
    on_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigError, match=r"Cannot reach bucket 'my-bucket'.*credentials"):
        await resolve(Aws(service="x", version="0"), "my-bucket")


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate of one's own for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stub")])
    begins = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure_stub(certificate: tuple[Path, Path]) -> Iterator[StubProcess]:
    stub = StubProcess(certificate=certificate[0], key=certificate[1])
    yield stub
    stub.close()


async def test_tls_with_a_ca_of_ones_own_works_when_it_is_named(
    secure_stub: StubProcess, certificate: tuple[Path, Path], aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{secure_stub.port}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
    bucket = StubBucket(port=secure_stub.port, name="b", certificate=certificate[0])
    bucket.put("dags/a.py", bytes(300_000))
    async with connected("b", "native", aws=Aws(service="x", version="0")) as source:
        for _ in range(3):
            assert await read(source, await only(source)) == (bytes(300_000), "")


async def test_tls_with_an_unknown_ca_is_refused_and_says_what_to_set(
    secure_stub: StubProcess, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{secure_stub.port}")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    async with connected("b", "native", aws=Aws(service="x", version="0")) as source:
        with pytest.raises(ConfigError, match=r"not trusted.*AWS_CA_BUNDLE"):
            await source.list()
