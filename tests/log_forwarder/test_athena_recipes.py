"""The queries of the how-to find what the audit finds. SQLite runs the part that is the same in Athena."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from hypothesis import given, strategies as st

from log_forwarder.audit.ranges import Range, Tally

GUIDE = Path(__file__).parents[2] / "docs/how-to/prove-that-no-log-line-is-missing.md"
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
GAPS = (
    "WITH reached AS" + next(query for query in QUERIES if "reached AS" in query).partition("reached AS")[2]
)
ONCE = next(query for query in QUERIES if "row_number" in query).replace('"_fwd".id', "id")

ranges = st.lists(st.integers(min_value=1, max_value=99), unique=True, min_size=1, max_size=12).map(
    lambda inner: list(pairwise([0, *sorted(inner), 100]))
)


@given(ranges, st.data())
def test_the_query_for_gaps_names_what_the_audit_names(
    pieces: list[tuple[int, int]], data: st.DataObject
) -> None:
    there = data.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=20))
    tally = Tally()
    for start, end in there:
        tally.add(Range("aa", "/a.log", start, end, "", None), where="x")
    (verdict,) = tally.verdicts()
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE ranges (source_id, first_byte, after_byte)")
        db.executemany("INSERT INTO ranges VALUES ('aa', ?, ?)", sorted(set(there)))
        found = db.execute(GAPS).fetchall()
    assert sorted((start, end) for _, start, end in found) == list(verdict.gaps)


@given(st.lists(st.sampled_from(["aa.0-5", "aa.5-9", "bb.0-3"]), max_size=12))
def test_the_query_for_repetitions_leaves_each_line_once(ids: list[str]) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE logs (id)")
        db.executemany("INSERT INTO logs VALUES (?)", [(one,) for one in ids])
        found = [row[0] for row in db.execute(ONCE)]
    assert sorted(found) == sorted(set(ids))
