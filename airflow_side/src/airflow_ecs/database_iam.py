"""IAM database authentication for Airflow's metadata database and for Celery's result backend.

In ``airflow_local_settings.py`` (in ``$AIRFLOW_HOME/config``), on every component::

    from airflow_ecs.database_iam import create_async_metadata_engine, create_metadata_engine

    from airflow_ecs import database_iam

    database_iam.watch_all_engines()

The first line is Airflow 3.3's own hook. The second serves what the hook does not: Celery's result backend,
and all engines of Airflow 3.0 to 3.2. URLs have no password, such as
``postgresql+psycopg2://airflow@db.abc.eu-west-1.rds.amazonaws.com:5432/airflow?sslmode=verify-full&sslrootcert=…``:
an engine whose URL has one is left alone.

Each connection gets a token when it is opened; RDS checks it then, and never again
(https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html). So nothing has to be
rotated, and pools need no recycling.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Any

from airflow_ecs.worker_agent.clock import monotonic

__all__ = [
    "IamTokenError",
    "Tokens",
    "create_async_metadata_engine",
    "create_metadata_engine",
    "watch",
    "watch_all_engines",
]

TOKEN_LIFE_SECONDS = 900  # the same page
_USED_SECONDS = 600  # a token is used so long, and is young enough for whoever is slow to connect
_DEFAULT_PORT = 5432
_RDS_HOST = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.rds\.amazonaws\.com(?:\.cn)?$")
# What of the drivers' arguments asks for TLS, which RDS demands with IAM; what the URL says goes before it.
_TLS = {"psycopg2": ("sslmode", "require"), "psycopg": ("sslmode", "require"), "asyncpg": ("ssl", "require")}


class IamTokenError(Exception):
    """No token can be made, or the URL is none for IAM; a retry helps only where credentials come late."""


class Tokens:
    """Tokens for (host, port, user), each used for ten minutes. For threads; safe across forks.

    Args:
        sign: makes a token; no network, but it may fetch credentials.
        now: seconds, monotonic.
    """

    def __init__(self, sign: Callable[[str, int, str], str], *, now: Callable[[], float] = monotonic) -> None:
        self._sign = sign
        self._now = now
        self._known: dict[tuple[str, int, str], tuple[float, str]] = {}
        self._lock = threading.Lock()
        # A child that was forked while another thread held the lock would wait for ever.
        os.register_at_fork(after_in_child=self._forked)

    def get(self, host: str, port: int, user: str) -> str:
        """Return a token that is good for at least five minutes more; raises IamTokenError."""
        name = (host, port, user)
        with self._lock:
            made_at, token = self._known.get(name, (float("-inf"), ""))
            if self._now() - made_at >= _USED_SECONDS:
                made_at, token = self._now(), self._sign(host, port, user)
                self._known[name] = (made_at, token)
            return token

    def _forked(self) -> None:
        self._lock = threading.Lock()


def watch(engine: Any, tokens: Tokens | None = None) -> None:
    """Give each new connection of an engine a token; it may be async, or the class ``Engine`` for all."""
    from sqlalchemy import event  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # of the image

    used = tokens or _shared()

    def give_token(dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        if dialect.name == "postgresql" and _wants_token(parameters):
            parameters.update(_with_token(dialect.driver, parameters, used))

    event.listen(getattr(engine, "sync_engine", engine), "do_connect", give_token)


def watch_all_engines() -> None:
    """Give each new PostgreSQL connection of this process a token when its URL has a user and no password.

    Idempotent, also beside Airflow's own hook.
    """
    if not _watched.is_set():
        from sqlalchemy.engine import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # of the image
            Engine,
        )

        _watched.set()
        watch(Engine)


def create_metadata_engine(
    sql_alchemy_conn: str, *, engine_args: dict[str, Any], connect_args: dict[str, Any]
) -> Any:
    """Airflow 3.3's hook: its engine, whose connections have tokens."""
    from sqlalchemy import create_engine  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # of the image

    engine = create_engine(sql_alchemy_conn, connect_args=connect_args, **engine_args, future=True)
    watch(engine)
    return engine


def create_async_metadata_engine(
    sql_alchemy_conn_async: str, *, engine_args: dict[str, Any] | None = None, connect_args: dict[str, Any]
) -> Any:
    """Airflow 3.3's hook for its async engine."""
    from sqlalchemy.ext.asyncio import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # of the image
        create_async_engine,
    )

    engine = create_async_engine(sql_alchemy_conn_async, connect_args=connect_args, **(engine_args or {}))
    watch(engine)
    return engine


def _wants_token(parameters: dict[str, Any]) -> bool:
    return bool(parameters.get("user") and parameters.get("host")) and not parameters.get("password")


def _with_token(driver: str, parameters: dict[str, Any], tokens: Tokens) -> dict[str, Any]:
    port = int(parameters.get("port") or _DEFAULT_PORT)
    given: dict[str, Any] = {"password": tokens.get(parameters["host"], port, parameters["user"])}
    name, value = _TLS.get(driver, ("", ""))
    if name and name not in parameters:
        given[name] = value
    return given


def _sign(host: str, port: int, user: str) -> str:
    import boto3.session  # noqa: PLC0415  # heavy; only who connects with IAM pays for it
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # the same

    session = boto3.session.Session()
    found = _RDS_HOST.search(host)
    region = found.group(1) if found else session.region_name
    if not region:
        raise IamTokenError(f"The region of database {host!r} is not known: set AWS_REGION")
    try:
        client = session.client("rds", region_name=region)
        return str(client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user))
    except BotoCoreError as err:
        raise IamTokenError(
            f"No token for {user!r} at {host!r}: {type(err).__name__}: {err}. Give the task role"
            " rds-db:connect on"
            " this database user, and the container its task role"
        ) from err


_watched = threading.Event()
_tokens: list[Tokens] = []


def _shared() -> Tokens:
    if not _tokens:
        _tokens.append(Tokens(_sign))
    return _tokens[0]
