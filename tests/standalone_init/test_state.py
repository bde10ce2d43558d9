"""States are told apart by what was read and what the image knows; nothing unclear is EMPTY or CURRENT."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from standalone_init.errors import AHEAD, FOREIGN, UNSTAMPED
from standalone_init.refusal import refusal
from standalone_init.revisions import Chain
from standalone_init.state import ANCHOR_TABLES, DatabaseReading, Image, Manager, StateClass, classify

CORE = Chain(parents={"c1": (), "c2": ("c1",), "c3": ("c2",)})
FAB = Chain(parents={"f1": (), "f2": ("f1",)})


def fab_manager(*, is_required: bool) -> Manager:
    return Manager(
        name="airflow.providers.fab.auth_manager.models.db.FABDBManager",
        version_table="alembic_version_fab",
        chain=FAB,
        is_required=is_required,
    )


IMAGE = Image(airflow_version="3.3.0", core=CORE, managers=(fab_manager(is_required=False),))
TABLES = ANCHOR_TABLES | {"slot_pool"}


def airflow_at(*revisions: str, **more: object) -> DatabaseReading:
    defaults = {"tables": TABLES, "core_revisions": frozenset(revisions), "has_default_pool": True}
    return DatabaseReading(**{**defaults, **more})  # type: ignore[arg-type]  # a builder with defaults


def fab_at(revision: str) -> dict[str, frozenset[str]]:
    return {"alembic_version_fab": frozenset({revision})}


CASES = {
    "EMPTY": DatabaseReading(),
    "EMPTY with Celery's result tables": DatabaseReading(tables=frozenset({"celery_taskmeta"})),
    "EMPTY with a version table that holds nothing": DatabaseReading(tables=frozenset({"alembic_version"})),
    "CURRENT": airflow_at("c3"),
    "CURRENT with FAB": airflow_at("c3", manager_revisions=fab_at("f2")),
    "BEHIND 1": airflow_at("c2"),
    "BEHIND 2": airflow_at("c1"),
    "BEHIND 1 in FAB alone": airflow_at("c3", manager_revisions=fab_at("f1")),
    "PARTIAL without its default pool": airflow_at("c3", has_default_pool=False),
    "PARTIAL after our own interrupted start": airflow_at(begun_from_empty_to=CORE.heads),
    "AHEAD": airflow_at("d4"),
    "AHEAD in FAB alone": airflow_at("c3", manager_revisions=fab_at("f9")),
    "AHEAD in one of two revisions": airflow_at("c3", "d4"),
    "UNSTAMPED": airflow_at(),
    "UNSTAMPED after a start to another head": airflow_at(begun_from_empty_to=frozenset({"c2"})),
    "UNSTAMPED with history": airflow_at(begun_from_empty_to=CORE.heads, has_history=True),
    "FOREIGN by a stamp table that nobody here knows": DatabaseReading(
        tables=frozenset({"alembic_version_invoices"})
    ),
    "FOREIGN by its tables": DatabaseReading(tables=frozenset({"invoices"})),
    "FOREIGN by its revision": DatabaseReading(
        tables=frozenset({"alembic_version"}), core_revisions=frozenset({"x1"})
    ),
    "FOREIGN: a stamp without tables": DatabaseReading(
        tables=frozenset({"alembic_version"}), core_revisions=frozenset({"c3"})
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_reading_has_its_state(case: str) -> None:
    state = classify(CASES[case], IMAGE)

    assert case.startswith(str(state))
    assert state.why


def test_fab_counts_as_missing_when_it_is_the_auth_manager_and_has_no_tables() -> None:
    image = Image(airflow_version="3.3.0", core=CORE, managers=(fab_manager(is_required=True),))

    assert str(classify(airflow_at("c3"), image)) == "BEHIND 2"


def test_fab_tables_of_an_image_that_had_fab_are_nobodys_business() -> None:
    image = Image(airflow_version="3.3.0", core=CORE)
    reading = airflow_at("c3", manager_revisions=fab_at("f1"))

    assert classify(reading, image).name is StateClass.CURRENT


names = st.frozensets(st.sampled_from(sorted(TABLES | {"invoices", "alembic_version", "celery_taskmeta"})))
revisions = st.frozensets(st.sampled_from(["c1", "c2", "c3", "d4", "x1"]), max_size=2)
readings = st.builds(
    DatabaseReading,
    tables=names,
    core_revisions=revisions,
    manager_revisions=st.dictionaries(
        st.just("alembic_version_fab"), st.frozensets(st.sampled_from(["f1", "f2", "f9"]), max_size=1)
    ),
    has_default_pool=st.booleans(),
    has_history=st.booleans(),
    begun_from_empty_to=st.sampled_from([frozenset[str](), CORE.heads]),
)


@given(readings)
def test_nothing_unclear_is_ever_worked_on(reading: DatabaseReading) -> None:
    state = classify(reading, IMAGE)
    refused = refusal(state, IMAGE)

    if reading.core_revisions - set(CORE.parents):
        assert state.name in (StateClass.AHEAD, StateClass.FOREIGN)
    if state.name is StateClass.EMPTY:
        assert not reading.tables & TABLES
        assert "invoices" not in reading.tables
    if state.name is StateClass.CURRENT:
        assert CORE.heads <= reading.core_revisions
    if reading.has_history and not reading.core_revisions and reading.tables >= ANCHOR_TABLES:
        assert state.name is StateClass.UNSTAMPED
    expected = {StateClass.AHEAD: AHEAD, StateClass.UNSTAMPED: UNSTAMPED, StateClass.FOREIGN: FOREIGN}
    assert (refused.exit_code if refused else None) == expected.get(state.name)


def test_a_chain_with_a_merge_counts_every_revision_once() -> None:
    merged = Chain(parents={"a": (), "b1": ("a",), "b2": ("a",), "m": ("b1", "b2")})

    assert merged.heads == {"m"}
    assert merged.pending(["b1"]) == 2
    assert merged.pending(["b1", "b2"]) == 1
    assert merged.pending([]) == 4
    assert merged.unknown(["m", "z"]) == {"z"}
