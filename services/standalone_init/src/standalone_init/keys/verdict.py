"""What is known of a Fernet key. Pure."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What is known of an environment's key and a database's rows."""

    FITS = "FITS"
    UNPROVEN = "UNPROVEN"  # nothing is encrypted yet, or no key is known here
    MISMATCH = "MISMATCH"
