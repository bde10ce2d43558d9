"""The command source: real commands, good, wrong and stuck."""

from __future__ import annotations

import json
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import ConfigError, Transient
from sidecar.secrets import remember
from sidecar.testing.waiting import wait_until
from worker_scaler.sources.command import CommandSource
from worker_scaler.sources.document import DocumentError, parse

EXAMPLE = Path(__file__).parents[1] / "contracts" / "examples" / "queue_depth.json"


def python(program: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", program, *arguments])


def source(command: str, *, timeout_seconds: float = 30.0, **environ: str) -> CommandSource:
    return CommandSource(command, timeout_seconds=timeout_seconds, environ={"PATH": os.defpath, **environ})


def example(**changes: Any) -> dict[str, Any]:
    return {**json.loads(EXAMPLE.read_text()), **changes}


def changed_queue(**changes: Any) -> dict[str, Any]:
    document = example()
    document["queues"]["default"] |= changes
    return document


def test_the_agreed_document_is_a_reading() -> None:
    read = source(f"cat {shlex.quote(str(EXAMPLE))}").read()

    depth = read.queues["default"]
    assert read.taken_at == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert (depth.queued, depth.running, depth.demand) == (3, 2, 5)
    assert depth.busy_hosts == {"10.0.4.168": 2}
    assert depth.scheduled_by_pool == {"": 5}
    assert depth.oldest_queued_age_seconds == pytest.approx(4.2)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (example(complete=False), "not complete"),
        (example(complete="true"), "not complete"),
        (example(version=2), "its version is 2"),
        (example(observed_at=None), "'observed_at' is no time"),
        (example(observed_at="2026-11-22T12:00:00"), "no time zone"),
        (example(queues=None), "'queues' is no object"),
        (changed_queue(queued=None), "'queued' of queue 'default' is no count"),
        (changed_queue(queued=-1), "'queued' of queue 'default' is no count"),
        (changed_queue(running=True), "'running' of queue 'default' is no count"),
        (changed_queue(busy_hosts={}), "hold other tasks than are running"),
        (changed_queue(oldest_queued_age_seconds="old"), "is no age"),
        ([], "the document is no object"),
    ],
)
def test_a_document_that_is_not_whole_is_no_reading(document: object, why: str) -> None:
    with pytest.raises(DocumentError, match=why):
        parse(json.dumps(document))


@pytest.mark.parametrize("text", ["", "0", "{", "log line\n{}"])
def test_anything_else_on_standard_output_is_no_reading(text: str) -> None:
    with pytest.raises(Transient, match="could not be read"):
        source(python("import sys; print(sys.argv[1])", text)).read()


def test_a_command_that_fails_is_no_reading_and_its_secret_is_masked() -> None:
    remember("hunter2-password")

    with pytest.raises(Transient) as raised:
        source(python("import sys; sys.exit('login with hunter2-password refused')")).read()

    assert "ended with 1" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_command_that_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    program = (
        "import pathlib, subprocess, sys, threading\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid))\n"
        "threading.Event().wait()\n"
    )

    with pytest.raises(Transient, match="took longer than 6 s"):
        source(python(program, str(child)), timeout_seconds=6.0).read()

    pid = int(child.read_text())
    wait_until(lambda: not is_alive(pid), "the child ends with its parent")


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_no_shell_is_between() -> None:
    with pytest.raises(Transient) as raised:
        source(python("import sys; sys.exit(sys.argv[1])", "$(id) && true")).read()

    assert "$(id) && true" in str(raised.value)


def test_the_scalers_own_settings_are_not_handed_on() -> None:
    program = "import os, sys; sys.exit(' '.join(sorted(os.environ)))"

    with pytest.raises(Transient) as raised:
        source(python(program), WORKER_SCALER_DATABASE_URL="secret", AIRFLOW_HOME="/x").read()

    assert "AIRFLOW_HOME" in str(raised.value)
    assert "WORKER_SCALER" not in raised.value.why


@pytest.mark.parametrize("command", ["/nowhere/at-all", "", "unmatched 'quote"])
def test_a_command_that_cannot_be_run_is_a_wrong_setting(command: str) -> None:
    with pytest.raises(ConfigError):
        source(command).read()
