"""The envelope's format is for ever: committed vectors, made by hand once, must open and come out again."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, strategies

from airflow_ecs.xcom.envelope import EnvelopeError, Opener, seal

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "vectors" / "xcom_envelope.json").read_text()
)
CONTEXT = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": "-1", "key": "k"}
KEY, PREFIX, WRAPPED = bytes(range(32)), bytes(7), b"wrapped"


def sealed(plain: bytes, *, chunk_bytes: int = 16, context: dict[str, str] = CONTEXT) -> bytes:
    made = seal(
        [plain], key=KEY, wrapped_key=WRAPPED, nonce_prefix=PREFIX, context=context, chunk_bytes=chunk_bytes
    )
    return b"".join(made)


def opened(envelope: bytes, *, context: dict[str, str] = CONTEXT, key: bytes = KEY, step: int = 7) -> bytes:
    opener = Opener(context, lambda _wrapped: key)
    found = bytearray()
    for start in range(0, len(envelope), step):
        for block in opener.feed(envelope[start : start + step]):
            found += block
    return bytes(found + opener.finish())


def by_hand(plain: bytes, *, chunk_bytes: int) -> bytes:
    """The format as the module's text describes it, written a second time."""
    header = b"AECX\x01\x01" + struct.pack(">IH", chunk_bytes, len(WRAPPED)) + WRAPPED + PREFIX
    canonical = json.dumps(CONTEXT, sort_keys=True, separators=(",", ":")).encode()
    bound = hashlib.sha256(header + canonical).digest()
    chunks = [plain[start : start + chunk_bytes] for start in range(0, len(plain), chunk_bytes)] or [b""]
    out = header
    for number, chunk in enumerate(chunks):
        nonce = PREFIX + struct.pack(">I", number) + bytes([number == len(chunks) - 1])
        out += AESGCM(KEY).encrypt(nonce, chunk, bound)
    return out


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_committed_vectors_open_and_come_out_again(vector: dict[str, Any]) -> None:
    key, envelope = bytes.fromhex(vector["data_key"]), bytes.fromhex(vector["envelope"])
    plain = bytes.fromhex(vector["plain"])
    assert opened(envelope, context=vector["context"], key=key) == plain
    again = seal(
        [plain],
        key=key,
        wrapped_key=bytes.fromhex(vector["wrapped_key"]),
        nonce_prefix=bytes.fromhex(vector["nonce_prefix"]),
        context=vector["context"],
        chunk_bytes=vector["chunk_bytes"],
    )
    assert b"".join(again) == envelope


@given(strategies.binary(max_size=100), strategies.integers(1, 40), strategies.integers(1, 60))
def test_any_plain_text_is_sealed_as_described_and_opens(plain: bytes, chunk_bytes: int, step: int) -> None:
    envelope = sealed(plain, chunk_bytes=chunk_bytes)
    assert envelope == by_hand(plain, chunk_bytes=chunk_bytes)
    assert opened(envelope, step=step) == plain


@given(strategies.binary(min_size=1, max_size=70), strategies.data())
def test_no_changed_byte_passes(plain: bytes, data: strategies.DataObject) -> None:
    envelope = bytearray(sealed(plain))
    position = data.draw(strategies.integers(0, len(envelope) - 1))
    envelope[position] ^= data.draw(strategies.integers(1, 255))
    with pytest.raises(EnvelopeError):
        opened(bytes(envelope))


@given(strategies.integers(0, 200))
def test_no_cut_passes(length: int) -> None:
    envelope = sealed(b"x" * 64)
    with pytest.raises(EnvelopeError):
        opened(envelope[: min(length, len(envelope) - 1)])


def test_chunks_cannot_change_places() -> None:
    envelope = sealed(b"a" * 16 + b"b" * 16 + b"c")
    start = len(envelope) - (32 + 32 + 17)
    first, second, last = envelope[start : start + 32], envelope[start + 32 : start + 64], envelope[-17:]
    with pytest.raises(EnvelopeError):
        opened(envelope[:start] + second + first + last)


@pytest.mark.parametrize("name", sorted(CONTEXT))
def test_another_context_does_not_open_it(name: str) -> None:
    with pytest.raises(EnvelopeError, match="another DAG, run, task or key"):
        opened(sealed(b"secret"), context={**CONTEXT, name: "other"})
