"""The gate: what does not compile is not published, whatever it does to a compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dags_agent import gate
from dags_agent.errors import Reason, Refused
from dags_agent.gate import refuse_what_does_not_compile

from .fakes import Agent, FakeSource, an_agent


def write(tree: Path, files: dict[str, bytes]) -> list[str]:
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    return list(files)


async def refusal(tree: Path, files: dict[str, bytes], *, timeout_seconds: float = 60) -> Refused:
    with pytest.raises(Refused) as refused:
        await refuse_what_does_not_compile(tree, write(tree, files), timeout_seconds=timeout_seconds)
    return refused.value


async def test_what_compiles_passes_and_nothing_of_it_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    files = {
        "a.py": f"open({str(trap)!r}, 'w')".encode(),
        "sitecustomize.py": f"open({str(trap)!r}, 'w')".encode(),
        "é/b c.py": b"'\\d'",
        "sys.py": b"raise SystemExit",
    }
    await refuse_what_does_not_compile(tmp_path, write(tmp_path, files), timeout_seconds=60)
    assert not trap.exists()


async def test_the_first_broken_file_and_its_line_are_named_and_the_others_counted(tmp_path: Path) -> None:
    err = await refusal(tmp_path, {"ok.py": b"", "a.py": b"x = 1\n<<<<<<< HEAD\n", "b.py": b"def ("})
    assert (err.reason, err.path, err.line) == (Reason.DOES_NOT_COMPILE, "a.py", 2)
    assert "1 more file like it" in err.why


async def test_a_file_that_takes_the_compiler_too_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path.with_name("slow_worker.py")
    slow.write_text(
        "import threading\nprint(0, flush=True)\nprint(1, flush=True)\nthreading.Event().wait()\n"
    )
    monkeypatch.setattr(gate, "_WORKER", slow)
    err = await refusal(tmp_path, {"ok.py": b"", "endless.py": b""}, timeout_seconds=2)
    assert err.path == "endless.py"
    assert "not done within 2 s" in err.why


async def test_a_file_that_kills_the_compiler_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path.with_name("dying_worker.py")
    dying.write_text("import os\nprint(0, flush=True)\nprint(1, flush=True)\nos.abort()\n")
    monkeypatch.setattr(gate, "_WORKER", dying)
    err = await refusal(tmp_path, {"ok.py": b"", "deadly.py": b""})
    assert err.path == "deadly.py"
    assert "the compiler died of it" in err.why


@pytest.mark.parametrize(
    "content",
    [b"\0", b"# coding: nonsense\n", b"(" * 5000, b"\xff = 1\n", b"-" * 100_000 + b"1", b"x = (" * 90],
)
async def test_no_content_breaks_the_gate_itself(tmp_path: Path, content: bytes) -> None:
    assert (await refusal(tmp_path, {"a.py": content})).path == "a.py"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set({"a.py": b"x = 1\n"})
    with an_agent(tmp_path / "efs", source, validate="compile", stale_after_seconds=600) as agent:
        yield agent


async def test_the_file_and_line_are_in_the_metric_until_it_is_mended(agent: Agent) -> None:
    await agent.cycle.tick()
    agent.source.set({"a.py": b"x = 1\ny = (\n"})
    await agent.cycle.tick()
    assert agent.metric("refused_file_line", path="a.py") == 2
    assert agent.metric("refused_total", reason="does_not_compile") == 1
    agent.source.set({"a.py": b"x = 2\n"})
    await agent.cycle.tick()
    assert (
        agent.telemetry.registry.get_sample_value(
            "airflow_ecs_dags_agent_refused_file_line", {"path": "a.py"}
        )
        is None
    )


async def test_a_refusal_keeps_ready_at_first_and_then_says_the_file_and_line(agent: Agent) -> None:
    await agent.cycle.tick()
    agent.runtime.health.succeeded()
    agent.source.set({"a.py": b"x = 1\ny = (\n"})
    await agent.cycle.tick()
    assert agent.runtime.health.ready()[0]
    agent.clock.advance(601)
    with pytest.raises(Refused):
        await agent.cycle.tick()
    is_ready, text = agent.runtime.health.ready()
    assert not is_ready
    assert "a.py does not compile: line 2" in text


async def test_only_changed_files_are_compiled(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.source.set({"a.py": b"x = 1\n", "b.py": b"y = 1\n", "c.sql": b"select ("})
    await agent.cycle.sync()
    compiled: list[str] = []
    real = gate._broken

    async def noted(tree: Path, paths: list[str], timeout_seconds: float) -> object:
        compiled.extend(paths)
        return await real(tree, paths, timeout_seconds)

    monkeypatch.setattr(gate, "_broken", noted)
    agent.source.set({"a.py": b"x = 2\n", "b.py": b"y = 1\n", "c.sql": b"select (("})
    await agent.cycle.sync()
    assert compiled == ["a.py"]


async def test_a_reason_of_any_length_is_told_in_short(tmp_path: Path) -> None:
    name = b"a" * 70_000
    err = await refusal(tmp_path, {"long.py": b"def f(" + name + b"):\n    global " + name + b"\n"})
    assert (err.path, err.line) == ("long.py", 2)
    assert len(err.why) < 700


async def test_a_compiler_that_was_killed_is_given_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed_worker.py"
    killed.write_text("import os\nprint(0, flush=True)\nos.kill(os.getpid(), 9)\n")
    source = FakeSource()
    source.set({"a.py": b"x = 1\n"})
    with an_agent(tmp_path / "efs", source, validate="compile") as agent:
        with monkeypatch.context() as out_of_memory:
            out_of_memory.setattr(gate, "_WORKER", killed)
            with pytest.raises(Refused, match="the compiler died of it"):
                await agent.cycle.sync()
        downloads = len(source.opened)
        with pytest.raises(Refused):
            await agent.cycle.sync()
        assert len(source.opened) == downloads  # not at every pass
        agent.clock.advance(300)
        await agent.cycle.sync()
        assert agent.files() == {"a.py": b"x = 1\n"}
