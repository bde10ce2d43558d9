"""Reach Airflow's PostgreSQL: URL or RDS secret, rotation survived, failures told apart.

Needs ``sidecar[postgres]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import psycopg
from psycopg.conninfo import make_conninfo

from sidecar.errors import ConfigError, Transient
from sidecar.secrets import Secret, mask, remember

_CONNECT_TIMEOUT_SECONDS = 5
_DEFAULT_PORT = 5432
_UNANSWERED_MILLISECONDS = 10_000  # a peer that vanished is noticed after this, not after the kernel's hours
_URL = re.compile(
    r"(?:postgresql|postgres)(?:\+\w+)?://"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>.*))?@)?"
    r"(?P<where>[^@/?]*(?:/[^@?]*)?)(?:\?(?P<query>.*))?"
)
_REFUSED_LOGIN = ("28P01", "28000")  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_ABSENT_DATABASE = "3D000"


class LoginRefusedError(ConfigError):
    """User or password are wrong, also after the secret was read again."""


class Database:
    """A PostgreSQL database named by an SQLAlchemy-style URL or by a secret that holds one.

    The secret's text is a URL, or the JSON of an RDS secret (``username``, ``password``, ``host``,
    ``port``, ``dbname``). When a login is refused the secret is read once more: that is a rotation.
    """

    def __init__(self, source: Secret, *, application_name: str) -> None:
        self._source = source
        self._application_name = application_name

    @contextmanager
    def connect(self, *, autocommit: bool = True, options: str = "") -> Iterator[psycopg.Connection[Any]]:
        """Open a connection, close it at the end of the block.

        Args:
            autocommit: as psycopg has it.
            options: libpq ``options``, e.g. ``-c statement_timeout=2000`` (milliseconds).

        Raises:
            ConfigError: wrong password, no such database, not PostgreSQL; a retry cannot help.
            Transient: the server does not answer; a retry may help.
        """
        connection = self._open(autocommit=autocommit, options=options)
        try:
            yield connection
        finally:
            connection.close()

    def url(self, *, driver: str = "psycopg2") -> str:
        """Return the URL as SQLAlchemy wants it; handle it as a secret."""
        return to_sqlalchemy(self._source.value(), driver=driver)

    def _open(self, *, autocommit: bool, options: str) -> psycopg.Connection[Any]:
        try:
            return self._login(autocommit=autocommit, options=options)
        except psycopg.OperationalError as err:
            if _is_refused_login(err) and self._source.refresh():
                return self._login_again(autocommit=autocommit, options=options)
            raise self._explain(err) from None

    def _login_again(self, *, autocommit: bool, options: str) -> psycopg.Connection[Any]:
        try:
            return self._login(autocommit=autocommit, options=options)
        except psycopg.OperationalError as err:
            raise self._explain(err) from None

    def _login(self, *, autocommit: bool, options: str) -> psycopg.Connection[Any]:
        conninfo = make_conninfo(
            to_libpq(self._source.value()),
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            tcp_user_timeout=_UNANSWERED_MILLISECONDS,
            application_name=self._application_name,
            options=options or None,
        )
        return psycopg.connect(conninfo, autocommit=autocommit)

    def _explain(self, err: psycopg.OperationalError) -> ConfigError | Transient:
        why = mask(" ".join(str(err).split()))
        if _is_refused_login(err):
            return LoginRefusedError(
                "The database refused the login",
                why=why,
                remedy=f"Correct the user or password in {self._source.source}",
            )
        if err.sqlstate == _ABSENT_DATABASE or re.search(r'database ".*" does not exist', why):
            return ConfigError(
                "The database does not exist", why=why, remedy="Create it, or correct the URL's last part"
            )
        return Transient(
            "The database does not answer", why=why, remedy="Check host, port and security group if it lasts"
        )


def _is_refused_login(err: psycopg.OperationalError) -> bool:
    # A connection that fails to open has no sqlstate in psycopg 3: the server's words are all there is.
    words = r'(password|PAM) authentication failed|role ".*" does not exist'
    return err.sqlstate in _REFUSED_LOGIN or re.search(words, str(err)) is not None


def to_libpq(text: str) -> str:
    """Turn an SQLAlchemy-style URL or an RDS secret's JSON into a libpq URL.

    As in SQLAlchemy the password may hold any character but needs ``@`` escaped only in front of another:
    the last ``@`` ends it.

    Raises:
        ConfigError: it is neither, or names another database than PostgreSQL.
    """
    if text.lstrip().startswith("{"):
        text = _from_rds_secret(text)
    found = _URL.fullmatch(text.strip())
    if found is None:
        scheme = text.partition("://")[0] if "://" in text else ""
        raise ConfigError(
            "The database URL is not usable",
            why=f"it starts with {scheme + '://' if scheme else 'no scheme'!r}",
            remedy="Give postgresql://user:password@host/airflow or an RDS secret; only PostgreSQL works",
        )
    login = ""
    if found["user"] is not None:
        login = quote(unquote(found["user"]), safe="")
        if found["password"] is not None:
            remember(unquote(found["password"]))
            login += f":{quote(unquote(found['password']), safe='')}"
        login += "@"
    query = "&".join(f"{key}={quote(value)}" for key, value in parse_qsl(found["query"] or ""))
    return f"postgresql://{login}{found['where']}" + (f"?{query}" if query else "")


def to_sqlalchemy(text: str, *, driver: str) -> str:
    """Return the same database as an SQLAlchemy URL with an explicit driver."""
    return to_libpq(text).replace("postgresql://", f"postgresql+{driver}://", 1)


def _from_rds_secret(text: str) -> str:
    try:
        fields = json.loads(text)
        user, password = quote(fields["username"], safe=""), quote(fields["password"], safe="")
        host, port = fields["host"], int(fields.get("port", _DEFAULT_PORT))
        database = fields.get("dbname") or "airflow"
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigError(
            "The database secret is not usable",
            why=f"it is not the JSON of an RDS secret ({type(err).__name__}: {err})"
            if isinstance(err, KeyError)
            else "it is not JSON",
            remedy="It needs username, password, host, and optionally port and dbname",
        ) from None
    return f"postgresql://{user}:{password}@{host}:{port}/{database}"
