"""Metric names are interface: dashboards and alarms outside this repository rely on them."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.app import Runtime, Sidecar
from sidecar.process import build_runtime
from sidecar.settings import SidecarSettings
from sidecar.testing.golden import Golden, describe_metrics

from .test_settings import CONTRACT

HERE = Path(__file__).parent
ENOUGH = {
    "worker_scaler": {
        "WORKER_SCALER_DATABASE_URL": "postgresql://u:pw@127.0.0.1/airflow",
        "WORKER_SCALER_FLEETS": json.dumps(
            [{"name": "f", "cluster": "c", "service": "s", "queues": ["q"], "max_workers": 1}]
        ),
    },
    "dags_agent": {"DAGS_AGENT_SOURCE": "s3://bucket/dags/", "DAGS_AGENT_TARGET": "{tmp}"},
    "standalone_init": {"STANDALONE_INIT_DATABASE_URL": "postgresql://u:pw@127.0.0.1/airflow"},
    "log_forwarder": {
        "LOG_FORWARDER_STREAM": "logs",
        "LOG_FORWARDER_TAIL": '["/nowhere/*.log"]',
        "LOG_FORWARDER_STATE_DIR": "{tmp}",
    },
}


def sidecar_of(service: str) -> Sidecar[SidecarSettings]:
    module = importlib.import_module(f"{service}.__main__")
    (found,) = [value for value in vars(module).values() if isinstance(value, Sidecar)]
    return found


@pytest.fixture
def wired(aws: str, tmp_path: Path) -> Callable[[str], Runtime]:
    def wire(service: str) -> Runtime:
        sidecar = sidecar_of(service)
        environ = {name: value.replace("{tmp}", str(tmp_path)) for name, value in ENOUGH[service].items()}
        settings = sidecar.settings.load(environ)
        runtime = build_runtime(sidecar, settings, environ, dry_run=False)
        sidecar.wire(settings, runtime)
        return runtime

    return wire


def test_every_service_is_looked_at() -> None:
    services = {path.name for path in (HERE.parents[1] / "services").iterdir()}

    assert set(ENOUGH) == set(CONTRACT) == services


@pytest.mark.parametrize("service", ENOUGH)
async def test_the_metrics_are_what_was_agreed(
    service: str, wired: Callable[[str], Runtime], golden: Golden
) -> None:
    golden(HERE / "golden" / f"{service}.metrics.txt", describe_metrics(wired(service).telemetry.registry))


@pytest.mark.parametrize("service", ENOUGH)
async def test_every_metric_has_the_prefix_a_meaning_and_counters_end_in_total(
    service: str, wired: Callable[[str], Runtime]
) -> None:
    for line in describe_metrics(wired(service).telemetry.registry).splitlines():
        name, kind, meaning = re.fullmatch(r"(\w+)\{[\w,]*\} (\w+): (.*)", line).groups()  # type: ignore[union-attr]  # a line without a meaning fails the test
        assert name.startswith((f"airflow_ecs_{service}_", "sidecar_build_info"))
        assert len(meaning) > 8
        assert (kind == "counter") == name.endswith("_total")
