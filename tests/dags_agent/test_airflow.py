"""Real Airflow 3.3: its dag-processor reads releases while they are published without a pause.

Every DAG file imports a helper that must be of its own version; one that is not says so in a file, because
Airflow forgets an import error with the next parse that goes well.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.clock import SystemClock

from .fakes import FakeSource, an_agent

ROOT = Path(__file__).parents[2]
AIRFLOW = ROOT / ".airflow/bin/airflow"
PAIRS = 4
PUBLISHES_MIN = 300
PARSES_MIN = 60
DEADLINE_SECONDS = 400.0

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not AIRFLOW.exists(), reason="Apache Airflow is not installed in .airflow: run `make .airflow/.ready`"
    ),
]

DAG = """
import os
from airflow.sdk import DAG
from helpers.helper_{pair} import VERSION

line = "parsed" if VERSION == {version} else f"MIXED dag {version} helper {{VERSION}}"
log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(log, (line + "\\n").encode())
os.close(log)
assert line == "parsed", line
DAG("pair_{pair}", schedule=None)
"""


def upload(source: FakeSource, version: int, log: Path) -> None:
    files = {"helpers/__init__.py": b""}
    for pair in range(PAIRS):
        files[f"helpers/helper_{pair}.py"] = f"VERSION = {version}\n".encode()
        files[f"pair_{pair}.py"] = DAG.format(pair=pair, version=version, log=str(log)).encode()
    source.set(files)


class Airflow:
    """A dag-processor with a database of its own."""

    def __init__(self, home: Path, target: Path) -> None:
        (home / "config").mkdir(parents=True)
        bundles = [
            {
                "name": "dags",
                "classpath": "airflow_ecs.bundles.EfsReleaseBundle",
                "kwargs": {"target": str(target), "refresh_interval": 1},
            }
        ]
        self.database = home / "airflow.db"
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "2",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.out = home / "dag-processor.out"
        subprocess.run(
            [AIRFLOW, "db", "migrate"], env=self.environment, check=True, capture_output=True, timeout=300
        )
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [AIRFLOW, "dag-processor"],
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def import_errors(self) -> list[str]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            return [row[0] for row in connection.execute("select stacktrace from import_error")]

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[list[Airflow]]:
    started: list[Airflow] = []
    yield started
    for airflow in started:
        airflow.stop()


async def test_the_dag_processor_never_meets_an_import_error_nor_a_mixed_pair(
    tmp_path: Path, homes: list[Airflow]
) -> None:
    source, log, clock = FakeSource(), tmp_path / "parsed.log", SystemClock()
    upload(source, 0, log)
    with an_agent(tmp_path / "efs", source, keep_hours=1, max_delete_fraction=1) as agent:
        await agent.cycle.sync()
        airflow = await asyncio.to_thread(Airflow, tmp_path / "home", tmp_path / "efs")
        homes.append(airflow)
        version, errors, lines = 0, list[str](), list[str]()
        until = clock.monotonic() + DEADLINE_SECONDS
        while version < PUBLISHES_MIN or lines.count("parsed") < PARSES_MIN:
            assert clock.monotonic() < until, airflow.out.read_text()[-3000:]
            version += 1
            upload(source, version, log)
            await agent.cycle.sync()
            if version % 10 == 0:
                lines = log.read_text().splitlines() if log.exists() else []
                errors += await asyncio.to_thread(airflow.import_errors)
                await clock.wait(0.2, asyncio.Event())  # two cores: let it parse
    assert errors == []
    assert set(lines) == {"parsed"}
