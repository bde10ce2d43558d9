"""Fernet keys: their form, and whether a stored token was encrypted with one of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from standalone_init.keys.verdict import Verdict

# 32 bytes in URL-safe base64.
# https://github.com/fernet/spec/blob/master/Spec.md#key-format
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")

CANARY_TEXT = b"airflow-ecs"
"""What the canary says; whoever can read it has the key."""


def keys(text: str) -> tuple[str, ...]:
    """Return the keys of ``[core] fernet_key``: the first encrypts, all decrypt.

    Raises:
        ValueError: one of them is none; the text does not hold it.
    """
    found = tuple(key.strip() for key in text.split(",") if key.strip())
    for number, key in enumerate(found, start=1):
        if not _KEY.fullmatch(key):
            raise ValueError(f"key {number} of {len(found)} is not 32 bytes in URL-safe base64")
    return found


def reads(available: Iterable[str], token: str) -> bool:
    """Say whether one of these keys decrypts the token."""
    try:
        MultiFernet([Fernet(key) for key in available]).decrypt(token.encode())
    except (InvalidToken, ValueError):
        return False
    return True


def canary(key: str) -> str:
    """Return a token that proves this key later."""
    return Fernet(key).encrypt(CANARY_TEXT).decode()


def judge(available: tuple[str, ...], tokens: Iterable[str]) -> Verdict:
    """Judge the keys by stored tokens, the canary among them."""
    stored = tuple(tokens)
    if not available or not stored:
        return Verdict.UNPROVEN
    return Verdict.FITS if all(reads(available, token) for token in stored) else Verdict.MISMATCH
