"""What can be wrong with releases, told for the person who finds a DAG that does not load."""

from __future__ import annotations


class ReleaseError(Exception):
    """The file system under the bundle is not what a release of dags_agent looks like."""


class ReleaseGone(ReleaseError):  # noqa: N818  # a state more than an error
    """The release that a DAG run is pinned to was retired; a retry does not help."""
