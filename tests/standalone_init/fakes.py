"""An Airflow that fits in one file, for the tests of standalone_init.

It has revisions to be read, and a ``db migrate`` that takes Airflow's lock and commits revision by revision,
as the real one does. Its package raises when it is imported, but by who asks for its model: nobody else may.

Behaviour is told by the file ``behaviour`` beside it: ``works``, ``lies`` (exit 0, nothing done), ``fails``,
``hangs`` (until ``release`` is there), ``dies_before_stamp`` (tables made, then killed), ``dies_at_<n>``
(killed after n revisions), ``leaks`` (prints the database URL).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

REVISIONS = ("aaaa00000001", "aaaa00000002", "aaaa00000003", "aaaa00000004")
VERSION = "3.3.99"

_SCRIPT = """#!{python}
import os, signal, sys, threading
from pathlib import Path
import psycopg

HOME = Path({home!r})
REVISIONS = {revisions!r}
TABLES = ("dag", "dag_run", "task_instance", "connection", "job", "log", "variable", "xcom")
behaviour = (HOME / "behaviour").read_text()
with (HOME / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
print("migrating" + (" with " + url if behaviour == "leaks" else ""), flush=True)
if behaviour == "lies":
    sys.exit(0)
if behaviour == "fails":
    sys.exit("it went wrong")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


with psycopg.connect(url.replace("+psycopg2", ""), autocommit=True) as connection:
    connection.execute("SET lock_timeout TO 1800")
    connection.execute("SELECT pg_advisory_lock(1)")
    connection.execute("SET lock_timeout TO 0")
    if behaviour == "hangs":
        (HOME / "hanging").touch()
        while not (HOME / "release").exists():
            threading.Event().wait(0.02)
    if connection.execute("SELECT to_regclass('alembic_version')").fetchone()[0] is None:
        connection.execute(
            "BEGIN;"
            + "".join(f"CREATE TABLE IF NOT EXISTS {{table}} (id bigint);" for table in TABLES)
            + "CREATE TABLE IF NOT EXISTS slot_pool (pool text UNIQUE); COMMIT"
        )
        if behaviour == "dies_before_stamp":
            die()
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES (%s)", [REVISIONS[-1]])
    done = 0
    while True:
        (at,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if at not in REVISIONS:
            sys.exit("Can't locate revision identified by " + at)
        if behaviour == f"dies_at_{{done}}":
            die()
        if at == REVISIONS[-1]:
            break
        above = REVISIONS[REVISIONS.index(at) + 1]
        connection.execute("UPDATE alembic_version SET version_num = %s", [above])
        done += 1
    connection.execute("INSERT INTO slot_pool VALUES ('default_pool') ON CONFLICT DO NOTHING")
    connection.execute("SELECT pg_advisory_unlock(1)")
"""


_ONLY_FOR_ITS_MODEL = """import sys
if not sys.argv[0].endswith("model_probe.py"):
    raise AssertionError("Airflow was imported")
"""

_MODEL = """from types import SimpleNamespace as Thing
TABLES = ("dag", "dag_run", "task_instance", "connection", "job", "log", "variable", "xcom")


def table(name, column):
    return Thing(name=name, columns=[Thing(name=column)])


tables = {name: table(name, "id") for name in TABLES} | {"slot_pool": table("slot_pool", "pool")}
Base = Thing(metadata=Thing(tables=tables))
"""


@dataclass(frozen=True, slots=True)
class FakeAirflow:
    """An installed fake.

    Attributes:
        home: where it lives; also its ``AIRFLOW_HOME``.
        variables: environment that makes it the Airflow of a process.
    """

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def behaves(self, how: str) -> None:
        (self.home / "behaviour").write_text(how)

    @property
    def calls(self) -> list[str]:
        """The arguments of every call so far."""
        log = self.home / "calls"
        return log.read_text().splitlines() if log.exists() else []


def install(home: Path) -> FakeAirflow:
    """Make a fake Airflow under ``home``."""
    versions = home / "site/airflow/migrations/versions"
    versions.mkdir(parents=True)
    (home / "site/airflow/__init__.py").write_text(_ONLY_FOR_ITS_MODEL)
    (home / "site/airflow/models").mkdir()
    (home / "site/airflow/models/__init__.py").write_text("def import_all_models():\n    pass\n")
    (home / "site/airflow/models/base.py").write_text(_MODEL)
    below = None
    for revision in REVISIONS:
        (versions / f"{revision}.py").write_text(
            f'"""Change something. revision = "not this"."""\n\nrevision = {revision!r}\n'
            f"down_revision: str | None = {below!r}\n\n\ndef upgrade():\n    revision = 1\n"
        )
        below = revision
    metadata = home / f"site/apache_airflow_core-{VERSION}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: apache-airflow-core\nVersion: {VERSION}\n"
    )
    command = home / "airflow"
    command.write_text(_SCRIPT.format(python=sys.executable, home=str(home), revisions=REVISIONS))
    command.chmod(0o755)
    fake = FakeAirflow(
        home,
        {
            "PATH": f"{home}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(home),
            "PYTHONPATH": str(home / "site"),
            "AIRFLOW_HOME": str(home / "airflow_home"),
        },
    )
    fake.behaves("works")
    return fake
