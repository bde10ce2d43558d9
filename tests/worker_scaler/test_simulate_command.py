"""``worker-scaler simulate`` as a user types it: no settings, no network."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from worker_scaler.__main__ import main
from worker_scaler.trace import Trace, TraceTask, write_trace

WORKFLOWS = {
    "workflows": [
        {"name": "fan", "tasks": [[5.0, []], *[[60.0, [0]] for _ in range(20)], [5.0, list(range(1, 21))]]},
        {"name": "flat", "tasks": [[30.0, []] for _ in range(10)]},
    ]
}
KEYS = {
    "policy",
    "worker_hours_over_clairvoyant",
    "tasks_killed",
    "wait_p50_seconds",
    "wait_p95_seconds",
    "wait_p99_seconds",
    "lost_task_hours",
    "direction_changes_per_hour",
    "api_calls",
    "time_to_zero_seconds",
    "worker_hours",
}


@pytest.fixture
def workflows(tmp_path: Path) -> Path:
    path = tmp_path / "workflows.json.gz"
    path.write_bytes(gzip.compress(json.dumps(WORKFLOWS).encode()))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def go(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["worker-scaler", "simulate", *map(str, words)])
        code = main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


def test_json_says_what_each_policy_came_to_and_what_is_synthetic(run: Any, workflows: Path) -> None:
    code, out, _ = run(
        *("--workflows", workflows, "--seed", 3, "--days", 0.1, "--json"),
        *("--policy", "protection_only", "--jobs", 1),
    )
    found = json.loads(out)
    assert code == 0
    assert [line["policy"] for line in found["policies"]] == ["default", "protection_only"]
    assert all(line.keys() >= KEYS for line in found["policies"])
    assert (found["seed"], found["days"], found["workflows"]) == (3, 0.1, 2)
    assert found["clairvoyant_worker_hours"] <= found["clairvoyant_with_start_latency_worker_hours"]
    assert "SYNTHETIC" in found["workload"]


def test_two_processes_say_the_same_as_one(run: Any, workflows: Path) -> None:
    words = ("--workflows", workflows, "--days", 0.1, "--json", "--policy", "protection_only")
    assert run(*words, "--jobs", 1)[1] == run(*words, "--jobs", 2)[1]


def test_a_trace_can_be_replayed(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    tasks = tuple(
        TraceTask(ready_seconds=600.0 * n, runs_seconds=30.0, run=f"r{n}", task="a") for n in range(5)
    )
    path.write_text("".join(write_trace(Trace(seconds=3600.0, tasks=tasks))))
    code, out, _ = run("--trace", path, "--policy", "default", "--jobs", 1)
    assert code == 0
    assert "trace of 5 tasks from airflow" in out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSONDecodeError"),
        ('{"workflows": [{"tasks": [[1, [7]]]}]}', "one that does not exist"),
        ('{"workflows": [{"tasks": [[1, [1]], [1, [0]]]}]}', "circle"),
        ('{"workflows": [{"tasks": [[-1, []]]}]}', "no number of seconds"),
        ('{"workflows": []}', "no workflow"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_the_reason(
    run: Any, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    code, _, err = run("--workflows", path)
    assert code == 2
    assert why in err


def test_an_unknown_policy_is_refused_with_those_there_are(run: Any, workflows: Path) -> None:
    code, _, err = run("--workflows", workflows, "--policy", "magic")
    assert code == 2
    assert "protection_only" in err


def test_without_matplotlib_a_picture_is_refused_before_anything_is_simulated(
    run: Any, workflows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run("--workflows", workflows, "--plot", tmp_path / "plots")
    assert code == 2
    assert "worker-scaler[plot]" in err
    assert not (tmp_path / "plots").exists()


def test_a_picture_is_written_for_each_policy(run: Any, workflows: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    code, _, _ = run(
        *("--workflows", workflows, "--days", 0.1, "--policy", "default"),
        *("--plot", tmp_path / "plots", "--jobs", 1),
    )
    assert code == 0
    assert (tmp_path / "plots" / "default.png").read_bytes().startswith(b"\x89PNG")
