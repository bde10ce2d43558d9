"""What each statement of a migration locks and costs, read from the SQL that Airflow prints. Pure.

Which statement takes which lock: https://www.postgresql.org/docs/current/sql-altertable.html and
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Lock(IntEnum):
    """What others cannot do to a table meanwhile; the greater, the more."""

    NONE = 0
    ROW_EXCLUSIVE = 1  # writers of the same rows wait
    SHARE_ROW_EXCLUSIVE = 2  # writers wait
    SHARE = 3  # writers wait
    ACCESS_EXCLUSIVE = 4  # everybody waits, readers too

    def __str__(self) -> str:
        """PostgreSQL's name."""
        return self.name.replace("_", " ")


class Effect(StrEnum):
    """What a statement costs, or takes away."""

    QUICK = "quick"
    READS = "reads"  # the whole table, once
    REWRITES = "rewrites"  # all or many rows
    DESTROYS = "destroys"  # rows or columns that only a snapshot brings back
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of one revision; ``table`` is "" when it has none that existed before."""

    revision: str
    text: str
    table: str = ""
    lock: Lock = Lock.NONE
    effect: Effect = Effect.QUICK


_REVISION = re.compile(r"--\s*Running upgrade\s+(?P<below>\S*)\s*->\s*(?P<revision>\w+)")
_NAME = r"(?:IF (?:NOT )?EXISTS )?(?:ONLY )?(?:\"?\w+\"?\.)?\"?(?P<table>\w+)\"?"
# Strings, dollar-quoted bodies and comments may hold semicolons.
_TOKEN = re.compile(r"'(?:[^']|'')*'|(\$\w*\$).*?\1|--[^\n]*|/\*.*?\*/|;|[^;'$/-]+|.", re.DOTALL)

_HARMLESS = (
    "UPDATE alembic_version|CREATE (?:TABLE|TYPE|SEQUENCE|EXTENSION)|DROP (?:INDEX|TYPE|SEQUENCE)"
    "|ALTER (?:INDEX|TYPE|SEQUENCE)|COMMENT|BEGIN|COMMIT|SELECT|SET"
)

# The first that matches a statement tells its lock and its effect.
_KINDS: tuple[tuple[re.Pattern[str], Lock, Effect], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), lock, effect)
    for pattern, lock, effect in (
        (rf"DROP TABLE {_NAME}", Lock.ACCESS_EXCLUSIVE, Effect.DESTROYS),
        (rf"TRUNCATE (?:TABLE )?{_NAME}", Lock.ACCESS_EXCLUSIVE, Effect.DESTROYS),
        (rf"DELETE FROM {_NAME}", Lock.ROW_EXCLUSIVE, Effect.DESTROYS),  # noqa: S608 - a pattern, never run
        (rf"ALTER TABLE {_NAME} DROP COLUMN", Lock.ACCESS_EXCLUSIVE, Effect.DESTROYS),
        (
            rf"ALTER TABLE {_NAME} ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE",
            Lock.ACCESS_EXCLUSIVE,
            Effect.REWRITES,
        ),
        (rf"ALTER TABLE {_NAME} ALTER (?:COLUMN )?\S+ SET NOT NULL", Lock.ACCESS_EXCLUSIVE, Effect.READS),
        (rf"ALTER TABLE {_NAME} ADD (?:CONSTRAINT \S+ )?FOREIGN KEY", Lock.SHARE_ROW_EXCLUSIVE, Effect.READS),
        (
            rf"ALTER TABLE {_NAME} ADD (?:CONSTRAINT \S+ )?(?:CHECK|UNIQUE|PRIMARY|EXCLUDE)",
            Lock.ACCESS_EXCLUSIVE,
            Effect.READS,
        ),
        # A default that is computed for each row is written to each row.
        (rf"ALTER TABLE {_NAME} ADD (?:COLUMN )?[^;]*DEFAULT \w+\(", Lock.ACCESS_EXCLUSIVE, Effect.REWRITES),
        (rf"ALTER TABLE {_NAME}", Lock.ACCESS_EXCLUSIVE, Effect.QUICK),
        (
            rf"CREATE (?:UNIQUE )?INDEX CONCURRENTLY .*? ON {_NAME}",
            Lock.NONE,
            Effect.READS,
        ),
        (rf"CREATE (?:UNIQUE )?INDEX .*? ON {_NAME}", Lock.SHARE, Effect.READS),
        (rf"(?:WITH .*)?\bUPDATE (?!alembic_version){_NAME}", Lock.ROW_EXCLUSIVE, Effect.REWRITES),
        (rf"INSERT INTO {_NAME}", Lock.ROW_EXCLUSIVE, Effect.QUICK),
        (
            rf"(?P<table>)(?:{_HARMLESS})\b",
            Lock.NONE,
            Effect.QUICK,
        ),
    )
)


_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+ \[\w+ *\] ([^\n']*)[^\n]*\n", re.MULTILINE)
_END = ";"
_BEGIN = "BEGIN;\n"


def statements(sql: str) -> Sequence[Statement]:
    """Return the statements of the SQL that ``airflow db migrate --show-sql-only`` printed, in order."""
    found: list[Statement] = []
    revision = ""
    # Airflow's warnings go to the same output, before the first statement and in between.
    said = sql[max(sql.find(_BEGIN), 0) :]
    for comment, text in _split(_LOG_LINE.sub(_as_statement, said)):
        named = _REVISION.findall(comment)
        if named:
            revision = named[-1][1]
        if text:
            found.append(_judged(revision, text))
    return found


def _as_statement(log_line: re.Match[str]) -> str:
    """What a migration says instead of SQL is a statement nobody can judge."""
    return f"{log_line[1].replace('--', '-').replace(_END, ',')};\n"


def _judged(revision: str, text: str) -> Statement:
    for pattern, lock, effect in _KINDS:
        match = pattern.match(text)
        if match:
            return Statement(
                revision=revision, text=text, table=match["table"] or "", lock=lock, effect=effect
            )
    return Statement(revision=revision, text=text, effect=Effect.UNKNOWN)


def _split(sql: str) -> Iterable[tuple[str, str]]:
    """Yield each statement, its spaces made single, with the comments in front of it."""
    comments: list[str] = []
    words: list[str] = []
    for match in _TOKEN.finditer(sql):
        piece = match[0]
        if piece == _END:
            yield "\n".join(comments), " ".join("".join(words).split())
            comments, words = [], []
        elif piece.startswith(("--", "/*")):
            comments.append(piece)
        else:
            words.append(piece)
    yield "\n".join(comments), " ".join("".join(words).split())
