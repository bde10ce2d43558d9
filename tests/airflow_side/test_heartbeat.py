"""The health check: a file that the event loop rewrites, read by a python that imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_ecs import cli
from airflow_ecs.worker_agent import clock, heartbeat, settings
from airflow_ecs.worker_agent.settings import SettingsError

SOURCE = Path(heartbeat.__file__).parents[2]


def beat(*, age_seconds: float = 0) -> heartbeat.Beat:
    at = clock.monotonic() - age_seconds
    return heartbeat.Beat(at=at, pid=7, phase="working", active_tasks=2, oldest_poll_seconds=1.5)


def test_a_fresh_heartbeat_is_healthy(tmp_path: Path) -> None:
    heartbeat.write(tmp_path / "beat", beat())
    assert heartbeat.problem(tmp_path / "beat") is None
    assert [each.name for each in tmp_path.iterdir()] == ["beat"]


def test_an_old_one_is_not_and_says_what_the_worker_was_doing(tmp_path: Path) -> None:
    heartbeat.write(tmp_path / "beat", beat(age_seconds=heartbeat.MAX_AGE_SECONDS + 5))
    assert "worker 7 is stuck" in str(heartbeat.problem(tmp_path / "beat"))


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"at": 1}'])
def test_no_heartbeat_is_unhealthy_and_says_why(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "beat").write_text(content)
    assert heartbeat.problem(tmp_path / "beat")


@pytest.mark.parametrize(
    "arguments", [["-m", "airflow_ecs.worker_agent", "health"], ["-m", "airflow_ecs.cli", "worker-health"]]
)
def test_the_command_ends_with_0_or_1_and_imports_only_the_standard_library(
    arguments: list[str], tmp_path: Path
) -> None:
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(SOURCE),
        "AIRFLOW_ECS_WORKER_AGENT_HEARTBEAT_FILE": str(tmp_path / "beat"),
    }

    def run() -> subprocess.CompletedProcess[str]:
        # -S: no site-packages, so whatever is imported is the standard library's or ours
        return subprocess.run(
            [sys.executable, "-S", *arguments], env=environment, check=False, capture_output=True, text=True
        )

    assert run().returncode == 1
    heartbeat.write(tmp_path / "beat", beat())
    done = run()
    assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr


def test_the_console_script_knows_its_subcommands_and_imports_none_before_it_is_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([]) == 2
    said = capsys.readouterr().out
    assert "doctor" in said
    assert "worker-health" in said
    code = "import sys, airflow_ecs.cli as c; c.main([]); print([m for m in sys.modules if 'doctor' in m])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(SOURCE)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_settings_have_defaults_and_say_what_a_wrong_one_may_be() -> None:
    assert settings.read({}) == settings.Settings()
    found = settings.read({"AIRFLOW_ECS_WORKER_AGENT_PORT": "0", "AIRFLOW_ECS_WORKER_AGENT_TOKEN": "secret"})
    assert (found.port, found.token) == (0, "secret")
    assert "secret" not in repr(found)
    for member, value in [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("PROTECTION_MINUTES", "0"),
        ("STOP_TIMEOUT_SECONDS", "1"),
    ]:
        with pytest.raises(SettingsError, match=member):
            settings.read({f"AIRFLOW_ECS_WORKER_AGENT_{member}": value})


def test_a_misspelled_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="did you mean AIRFLOW_ECS_WORKER_AGENT_PORT"):
        settings.read({"AIRFLOW_ECS_WORKER_AGENT_PROT": "1"})
