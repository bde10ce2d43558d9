"""Findings out of errors."""

from __future__ import annotations

from sidecar.app import Finding
from sidecar.errors import SidecarError


def problem(what: str, err: SidecarError) -> Finding:
    """Return a finding that makes ``check`` fail."""
    return Finding(what=what, verdict="problem", why=_why(err), remedy=err.remedy)


def warning(what: str, err: SidecarError) -> Finding:
    """Return a finding that a person should know of."""
    return Finding(what=what, verdict="warning", why=_why(err), remedy=err.remedy)


def _why(err: SidecarError) -> str:
    return f"{err.what}: {err.why}" if err.why else err.what
