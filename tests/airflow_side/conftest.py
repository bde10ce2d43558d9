"""``airflow_ecs`` is no member of the workspace: its sources are put on the path, as they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.testing import LocalCloud

sys.path.insert(0, str(Path(__file__).parents[2] / "airflow_side" / "src"))

from .workers import Stage  # the path comes first
from .xcoms import XComs  # the same


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as cloud:
        yield cloud


@pytest.fixture
def stage(running_cloud: LocalCloud, database: str, tmp_path: Path) -> Iterator[Stage]:
    """Two queues, ``default`` and ``heavy``, and a table that notes every run of a task."""
    running_cloud.clear_faults()
    made = Stage(running_cloud, database, tmp_path)
    made.queue("default", "heavy")
    yield made
    made.sqs.close()
    running_cloud.clear_faults()


@pytest.fixture
def xcoms(running_cloud: LocalCloud) -> Iterator[XComs]:
    """A bucket and a key of KMS, and stores on them."""
    running_cloud.clear_faults()
    made = XComs(running_cloud)
    yield made
    made.close()
    running_cloud.clear_faults()
