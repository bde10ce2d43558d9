"""Every kind of proof that S3 offers, taken and refused."""

from __future__ import annotations

import pytest
from benchmarks.dags_agent.s3_stub.store import base64_text, digest, store
from hypothesis import given, strategies as st

from dags_agent.checksums import ByPart, Whole, offered
from dags_agent.source import S3ClientName
from sidecar.errors import Transient

from .s3_clients import CLIENTS, connected, only, read
from .s3_server import StubBucket

ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
CONTENT = bytes(range(256)) * 100


def answer(body: bytes, **how: object) -> dict[str, str]:
    stored = store("k", body, **how)  # type: ignore[arg-type]  # passed through by name
    return stored.headers | {"etag": stored.etag}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_check_values_of_the_standards(algorithm: str) -> None:
    known = {
        "crc32": "cbf43926",
        "crc32c": "e3069283",
        "crc64nvme": "ae8b14860a799888",
        "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
        "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    }
    checksum = Whole({algorithm: bytes.fromhex(known[algorithm])})
    checksum.update(b"1234")
    checksum.update(b"56789")
    assert checksum.mismatch() == ""


@pytest.mark.parametrize("algorithm", ["", *ALGORITHMS])
@pytest.mark.parametrize("is_kms", [False, True])
@given(body=st.binary(max_size=300))
def test_a_plain_upload_is_proven_by_its_checksum_and_where_it_is_one_its_etag(
    algorithm: str, is_kms: bool, body: bytes
) -> None:
    offer = offered(answer(body, algorithm=algorithm, is_kms=is_kms))
    assert set(offer.digests) == {algorithm, "" if is_kms else "md5"} - {""}
    for content, agrees in ((body, True), (body + b"x", False)):
        checksum = Whole(offer.digests)
        checksum.update(content)
        assert (checksum.mismatch() == "") is (agrees or not offer.digests)


def test_an_etag_under_kms_or_a_customers_key_is_no_md5() -> None:
    etag = {"etag": '"d41d8cd98f00b204e9800998ecf8427e"'}
    assert offered(etag).digests.keys() == {"md5"}
    assert not offered(etag | {"x-amz-server-side-encryption": "aws:kms:dsse"}).digests
    assert not offered(etag | {"x-amz-server-side-encryption-customer-algorithm": "AES256"}).digests
    assert not offered({"etag": '"not-an-md5"'}).digests


def test_a_checksum_that_is_no_base64_matches_nothing() -> None:
    checksum = Whole(offered({"x-amz-checksum-crc32": "***"}).digests)
    checksum.update(b"1")
    assert "CRC32" in checksum.mismatch()


@given(body=st.binary(min_size=1, max_size=99), part_bytes=st.integers(1, 40), data=st.data())
def test_parts_are_proven_however_the_bytes_arrive(body: bytes, part_bytes: int, data: st.DataObject) -> None:
    stored = store("k", body, algorithm="sha256", part_bytes=part_bytes)
    offer = offered(stored.headers | {"etag": stored.etag})
    wrong = data.draw(st.integers(-1, len(body) - 1), label="the byte that is wrong; -1 for none")
    proof = ByPart(offer.md5_of_md5s)
    for number, headers in enumerate(stored.part_headers):
        size = len(body[number * part_bytes : (number + 1) * part_bytes])
        proof.begin(size, offered(headers).digests)
    sent = bytes(byte ^ (index == wrong) for index, byte in enumerate(body))
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        proof.update(sent[:size])
        sent = sent[size:]
    assert offer.parts == len(stored.part_headers)
    assert (proof.mismatch() == "") is (wrong < 0)


def test_a_part_that_is_missing_or_too_long_is_no_proof() -> None:
    short, long = ByPart(None), ByPart(None)
    for proof in (short, long):
        proof.begin(3, {"md5": digest("md5", b"abc")})
    short.update(b"ab")
    long.update(b"abcd")
    assert "missing" in short.mismatch()
    assert "more of them" in long.mismatch()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("is_kms", [False, True])
@pytest.mark.parametrize("part_bytes", [0, 7000])
@pytest.mark.parametrize("algorithm", ["", *ALGORITHMS])
async def test_each_kind_of_upload_is_read_and_proven(
    bucket: StubBucket, algorithm: str, part_bytes: int, is_kms: bool, client: S3ClientName
) -> None:
    bucket.put("dags/a", CONTENT, algorithm=algorithm, part_bytes=part_bytes, is_kms=is_kms)
    async with connected(bucket.name, client) as source:
        assert await read(source, await only(source), chunk_bytes=3000) == (CONTENT, "")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("algorithm", ["", "crc32", "crc32c", "sha1", "sha256", "crc64nvme"])
async def test_a_wrong_byte_in_a_multipart_upload_is_caught(
    bucket: StubBucket, algorithm: str, client: S3ClientName
) -> None:
    bucket.put("dags/a", CONTENT, algorithm=algorithm, part_bytes=7000)
    bucket.fail({"do": "flip", "operation": "get", "skip": 2})
    if algorithm == "crc64nvme":  # of the whole object: read in one GET
        bucket.fail({"do": "flip", "operation": "get"})
    async with connected(bucket.name, client) as source:
        item = await only(source)
        try:
            _, mismatch = await read(source, item)
        except Transient as err:  # the SDK proves some checksums itself
            mismatch = str(err)
    assert mismatch


async def test_a_multipart_upload_costs_a_get_per_part_and_one_to_know(bucket: StubBucket) -> None:
    bucket.put("dags/a", CONTENT, algorithm="crc32c", part_bytes=7000)
    async with connected(bucket.name, "native") as source:
        await read(source, await only(source))
    assert bucket.counts()["get"] == 1 + 4


def test_the_stub_computes_what_s3_documents() -> None:
    """The example of a composite checksum: the checksum of the parts' checksums, and their number."""
    stored = store("k", b"abcd", algorithm="crc32", part_bytes=2)
    parts = digest("crc32", b"ab") + digest("crc32", b"cd")
    assert stored.headers["x-amz-checksum-crc32"] == f"{base64_text(digest('crc32', parts))}-2"
