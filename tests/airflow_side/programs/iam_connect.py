"""Open connections with IAM tokens as Airflow and Celery do; a command a line, an answer a line."""

from __future__ import annotations

import asyncio
import os
import sys

from celery.backends.database.session import SessionManager  # type: ignore[import-not-found]  # of the image
from sqlalchemy import create_engine, text  # type: ignore[import-not-found,unused-ignore]  # the same
from sqlalchemy.ext.asyncio import AsyncEngine  # type: ignore[import-not-found,unused-ignore]  # the same
from sqlalchemy.pool import NullPool  # type: ignore[import-not-found,unused-ignore]  # the same

from airflow_ecs import database_iam

PLACE = os.environ["PLACE"]  # noqa: TID251  # its own environment; user@host:port/database
_ASK = text("select 41 + 1")
moved = [0.0]
real = database_iam._shared()._now  # the clock of the tokens is what the test moves
database_iam._shared()._now = lambda: real() + moved[0]  # the same


def metadata(driver: str) -> object:
    """As Airflow 3.3 makes its engine."""
    engine = database_iam.create_metadata_engine(
        f"postgresql+{driver}://{PLACE}?sslmode=disable", engine_args={"poolclass": NullPool}, connect_args={}
    )
    with engine.connect() as connection:
        return connection.scalar(_ASK)


async def metadata_async() -> object:
    """As Airflow 3.3 makes its async engine."""
    engine: AsyncEngine = database_iam.create_async_metadata_engine(
        f"postgresql+asyncpg://{PLACE}?ssl=disable", engine_args={"poolclass": NullPool}, connect_args={}
    )
    async with engine.connect() as connection:
        return await connection.scalar(_ASK)


def celery() -> object:
    """As Celery's result backend makes its own."""
    database_iam.watch_all_engines()
    database_iam.watch_all_engines()
    engine = SessionManager().get_engine(f"postgresql+psycopg2://{PLACE}?sslmode=disable")
    with engine.connect() as connection:
        return connection.scalar(_ASK)


def forked() -> object:
    """In a child, as tasks are; its parent connected before."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, str(celery()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reader, 10))


def with_password() -> object:
    """A URL with a password is left alone."""
    engine = create_engine(
        f"postgresql+psycopg2://{PLACE.replace('@', ':own@')}?sslmode=disable", poolclass=NullPool
    )
    database_iam.watch(engine)
    with engine.connect() as connection:
        return connection.scalar(_ASK)


CALLS = {
    "psycopg2": lambda: metadata("psycopg2"),
    "psycopg": lambda: metadata("psycopg"),
    "asyncpg": lambda: asyncio.run(metadata_async()),
    "celery": celery,
    "forked": forked,
    "with_password": with_password,
}


def answer(command: str) -> object:
    """Run one command; a failure is an answer."""
    if command.startswith("later "):
        moved[0] += float(command.removeprefix("later "))
        return "ok"
    try:
        return CALLS[command]()
    except Exception as err:  # noqa: BLE001  # the test looks at it
        return f"{type(err).__name__}: {' '.join(str(err).split())}"


for line in sys.stdin:
    print(answer(line.strip()), flush=True)  # noqa: T201  # this is what it is for
