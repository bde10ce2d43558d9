"""A configuration that cannot work ends with exit code 2, one clear line, and no traceback."""

from __future__ import annotations

import pytest

from log_forwarder.settings import ForwarderSettings
from sidecar.errors import ConfigError
from sidecar.testing.plugin import Finished
from sidecar.testing.waiting import wait_until

from .fakes import denied
from .world import World


def complaint(done: Finished) -> str:
    """Return the one line that says what is wrong."""
    assert done.code == 2, done
    text = done.out + done.err
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if '"fatal"' in line or line.startswith("log-forwarder: ")]
    assert len(lines) == 1, text
    return lines[0]


def test_a_misspelled_variable_is_named_with_the_nearest_name(world: World) -> None:
    line = complaint(world.once(STRAEM="logs"))

    assert line.endswith("LOG_FORWARDER_STRAEM: no such setting (did you mean LOG_FORWARDER_STREAM?)")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("STREAM", "", "LOG_FORWARDER_STREAM: is required and not set"),
        ("STREAM", "a/b", "LOG_FORWARDER_STREAM: String should match pattern"),
        ("TAIL", "", "LOG_FORWARDER_TAIL: names no file"),
        ("TAIL", "/logs/*.log", "LOG_FORWARDER_TAIL: is not JSON"),
        ("TAIL", '["logs/*.log"]', "'logs/*.log' is not absolute"),
        ("TAIL", '["/logs/../etc/*"]', "holds '..'"),
        ("TAIL", '["/tmp/[z-a].log"]', "is no glob: bad character range"),
        ("TAIL", '["/tmp/[[:alpha:]].log"]', "holds a character class"),
        ("FORWARD_SHARED_KEY", "secret", "does nothing without LOG_FORWARDER_FORWARD"),
        ("OVERFLOW_KMS_KEY_ID", "alias/logs", "does nothing without"),
        ("STATE_DIR", "state", "'state' is not absolute"),
        ("FORWARD", '["udp://0.0.0.0:24224"]', "LOG_FORWARDER_FORWARD: 'udp://0.0.0.0:24224' is no address"),
        ("DOCKER_URL", "docker.sock", "LOG_FORWARDER_DOCKER_URL: String should match pattern"),
        ("LEVEL", "loud", "LOG_FORWARDER_LEVEL: Input should be"),
        ("COMPRESSION", "lz4", "LOG_FORWARDER_COMPRESSION: Input should be 'none', 'gzip' or 'zstd'"),
        ("FORMAT", "xml", "LOG_FORWARDER_FORMAT: Input should be 'envelope', 'json' or 'raw'"),
        ("EXCLUDE", '["*.tmp"]', "'*.tmp' is not absolute"),
        ("OVERFLOW_URL", "bucket/prefix", "LOG_FORWARDER_OVERFLOW_URL: String should match pattern"),
        ("FLUSH_SECONDS", "0", "LOG_FORWARDER_FLUSH_SECONDS: Input should be greater than 0"),
    ],
)
def test_a_setting_that_cannot_work_is_named(world: World, name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ForwarderSettings.load(world.settings(**{name: value}))

    (line,) = refused.value.lines()
    assert says in line


def test_a_missing_stream_is_named_at_the_start(world: World) -> None:
    line = complaint(world.once(STREAM="nobody"))

    assert "Cannot use Firehose stream 'nobody'" in line
    assert "Create it" in line


def test_a_stream_we_may_not_write_to_ends_the_first_delivery(world: World) -> None:
    world.firehose.mode = denied
    world.log("a.log", range(10))

    line = complaint(world.once())

    assert "AccessDeniedException" in line
    assert "Allow the task role to call PutRecordBatch" in line


def test_a_state_directory_that_cannot_be_made_is_named(world: World) -> None:
    world.state.write_text("a file in the way")

    assert f"Cannot use the state directory {world.state}" in complaint(world.once())


def test_a_second_forwarder_on_the_same_state_is_refused(world: World) -> None:
    world.start()
    wait_until((world.state / "checkpoints.sqlite3").exists, "the first one's state")

    assert "another log-forwarder holds it" in complaint(world.once())


def test_check_says_what_it_found(world: World) -> None:
    world.log("a.log", range(1))
    run = world.run

    fine = run("log_forwarder", "check", settings=world.settings())
    broken = run("log_forwarder", "check", settings=world.settings(STREAM="nobody"))

    assert fine.code == 0
    assert "files: the globs name 1 now" in fine.out
    assert broken.code == 2
    assert "PROBLEM  stream nobody" in broken.out


def test_check_beside_a_running_forwarder_says_that_it_is_in_use(world: World) -> None:
    world.log("a.log", range(1))
    world.start()
    world.has_all(range(1))
    done = world.run("log_forwarder", "check", settings=world.settings())
    assert done.code == 0, done
    assert "in use: another log-forwarder holds it" in done.out
