"""``airflow_ecs`` is no member of the workspace: its sources are put on the path, as they are."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "airflow_side" / "src"))
