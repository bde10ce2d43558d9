"""What a migration locks, rewrites and destroys is read from its SQL before it runs."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from standalone_init.columns import difference
from standalone_init.forecast import TableSize, forecast
from standalone_init.migration_sql import Effect, Lock, statements

SCRIPT = """\
2026-11-22T12:00:00Z [warning  ] it's only a warning; really [airflow.db] loc=db.py:1
BEGIN;

-- Running upgrade aaa -> bbb

DELETE FROM import_error;

ALTER TABLE dag ADD COLUMN note TEXT DEFAULT 'a;b';

UPDATE alembic_version SET version_num='bbb' WHERE alembic_version.version_num = 'aaa';

-- Running upgrade bbb -> ccc

CREATE TABLE fresh (id INTEGER NOT NULL);

CREATE INDEX idx_fresh ON fresh (id);

ALTER TABLE task_instance ALTER COLUMN external_executor_id TYPE TEXT;

2026-11-22T12:00:01Z [warning  ] cannot do this -- in offline mode; sorry [m] loc=m.py:2
DO $body$ BEGIN PERFORM 1; END $body$;

UPDATE alembic_version SET version_num='ccc' WHERE alembic_version.version_num = 'bbb';

COMMIT;
"""


@pytest.mark.parametrize(
    ("sql", "table", "lock", "effect"),
    [
        ("DROP TABLE IF EXISTS asset_trigger", "asset_trigger", Lock.ACCESS_EXCLUSIVE, Effect.DESTROYS),
        ("TRUNCATE dag_run", "dag_run", Lock.ACCESS_EXCLUSIVE, Effect.DESTROYS),
        ("DELETE FROM deadline", "deadline", Lock.ROW_EXCLUSIVE, Effect.DESTROYS),
        ("ALTER TABLE deadline DROP COLUMN callback", "deadline", Lock.ACCESS_EXCLUSIVE, Effect.DESTROYS),
        ("ALTER TABLE dag ALTER COLUMN x TYPE JSONB", "dag", Lock.ACCESS_EXCLUSIVE, Effect.REWRITES),
        ("ALTER TABLE dag ALTER COLUMN x SET NOT NULL", "dag", Lock.ACCESS_EXCLUSIVE, Effect.READS),
        ("ALTER TABLE dag ADD COLUMN x JSON", "dag", Lock.ACCESS_EXCLUSIVE, Effect.QUICK),
        ("ALTER TABLE dag ADD COLUMN x UUID DEFAULT new_id()", "dag", Lock.ACCESS_EXCLUSIVE, Effect.REWRITES),
        ("ALTER TABLE dag RENAME x TO y", "dag", Lock.ACCESS_EXCLUSIVE, Effect.QUICK),
        (
            "ALTER TABLE xcom ADD CONSTRAINT f FOREIGN KEY(a) REFERENCES b (a)",
            "xcom",
            Lock.SHARE_ROW_EXCLUSIVE,
            Effect.READS,
        ),
        ("ALTER TABLE xcom ADD CONSTRAINT u UNIQUE (a)", "xcom", Lock.ACCESS_EXCLUSIVE, Effect.READS),
        ("CREATE UNIQUE INDEX i ON public.log (id)", "log", Lock.SHARE, Effect.READS),
        ("CREATE INDEX CONCURRENTLY i ON log (id)", "log", Lock.NONE, Effect.READS),
        ("UPDATE dag SET is_stale = false", "dag", Lock.ROW_EXCLUSIVE, Effect.REWRITES),
        ("INSERT INTO dag_bundle (name) VALUES ('x')", "dag_bundle", Lock.ROW_EXCLUSIVE, Effect.QUICK),
        ("CREATE TABLE hitl (id int)", "", Lock.NONE, Effect.QUICK),
        ("DROP INDEX deadline_idx", "", Lock.NONE, Effect.QUICK),
        ("VACUUM FULL dag", "", Lock.NONE, Effect.UNKNOWN),
    ],
)
def test_each_kind_of_statement_has_its_lock_and_its_cost(
    sql: str, table: str, lock: Lock, effect: Effect
) -> None:
    (found,) = statements(sql + ";\n")

    assert (found.table, found.lock, found.effect) == (table, lock, effect)


def test_a_script_is_told_by_revision_and_what_cannot_be_judged_is_said() -> None:
    sizes = {
        "import_error": TableSize(rows=10, bytes=8192),
        "dag": TableSize(rows=200, bytes=1_000_000),
        "task_instance": TableSize(rows=5_000_000, bytes=1_500_000_000),
    }

    found = forecast(statements(SCRIPT), sizes)

    assert found.revisions == ("bbb", "ccc")
    assert [(one.revision, one.text) for one in found.destructive] == [("bbb", "DELETE FROM import_error")]
    assert [one.text.split()[0] for one in found.unknown] == ["cannot", "DO"]
    assert [table.table for table in found.tables] == ["task_instance", "import_error", "dag"]
    assert found.tables[0].lock is Lock.ACCESS_EXCLUSIVE
    assert found.tables[0].rows == 5_000_000
    assert found.seconds > 60


def test_a_table_that_is_made_on_the_way_locks_nobody_out() -> None:
    found = forecast(statements(SCRIPT), {})

    assert found.tables == ()
    assert found.seconds == 0


@given(st.text(alphabet="AB ';$-\n/*x"))
def test_no_text_breaks_the_reader(text: str) -> None:
    for statement in statements(text):
        assert statement.text


def test_columns_that_the_model_has_and_the_database_lacks_are_missing() -> None:
    found = difference(
        {"dag": frozenset({"dag_id", "team"}), "deadline": frozenset({"id"})},
        {"dag": frozenset({"dag_id", "old"}), "_archive": frozenset({"x"})},
    )

    assert found.missing == ("dag.team", "deadline")
    assert found.surplus == ("dag.old",)
