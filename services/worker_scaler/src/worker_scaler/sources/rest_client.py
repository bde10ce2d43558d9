"""Airflow's REST API v2 as far as it is asked here: a token that is renewed, deadlines, errors in words.

https://airflow.apache.org/docs/apache-airflow/stable/security/api.html
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from sidecar.clock import Clock
from sidecar.errors import ConfigError, Permanent, SidecarError, Transient
from sidecar.secrets import Secret, remember

_CONNECT_SECONDS = 2.0
_RENEW_BEFORE_SECONDS = 60.0
_LIFETIME_SECONDS = 600.0
"""Of a token that does not say when it ends: renewed so often that no sensible setting is longer."""
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_TOO_MANY = 429
_SERVER_FAULT = 500
_REDIRECTS = range(300, 400)
_FINE = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer: its document, and the server's own time (aware, UTC)."""

    document: Mapping[str, Any]
    at: datetime


class RestClient:
    """Asks Airflow's API. Blocking; for one thread at a time.

    Args:
        url: where the API is, with or without a path before ``/api/v2``.
        username, password: of a user with the role Viewer.
        timeout_seconds: for all requests between two calls of :meth:`begin`.
    """

    def __init__(
        self, url: str, *, username: str, password: Secret, timeout_seconds: float, clock: Clock
    ) -> None:
        self._url = url.rstrip("/")
        self._username = username
        self._password = password
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False)
        self._token = ""
        self._renew_at = 0.0
        self._deadline = clock.monotonic() + timeout_seconds

    def begin(self) -> None:
        """Begin a reading: its deadline counts from now."""
        self._deadline = self._clock.monotonic() + self._timeout_seconds

    def get(self, path: str, query: Sequence[tuple[str, object]] = ()) -> Page:
        """Return what ``/api/v2<path>`` answers; with a new token where the old one is refused.

        Raises:
            ConfigError: login refused, not allowed, no such API; a retry cannot help.
            Transient: no answer in time; a retry may help.
        """
        if self._clock.monotonic() >= self._renew_at:
            self._log_in()
        target = f"/api/v2{path}?{urlencode(query)}"
        answer = self._request("GET", target, token=self._token)
        if answer.status == _UNAUTHORIZED:
            self._log_in()
            answer = self._request("GET", target, token=self._token)
        return self._page(answer, doing=f"Cannot read {path} of Airflow's API")

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def _log_in(self) -> None:
        answer = self._ask_for_token()
        if answer.status == _UNAUTHORIZED and self._password.refresh():
            answer = self._ask_for_token()
        if answer.status == _UNAUTHORIZED:
            raise ConfigError(
                "Airflow's API refused the login",
                why=f"user {self._username!r} with the password from {self._password.source}",
                remedy="Correct WORKER_SCALER_API_USERNAME or the password",
            )
        token = self._page(answer, doing="Cannot log in to Airflow's API").document.get("access_token")
        if not isinstance(token, str) or not token:
            raise ConfigError("Cannot log in to Airflow's API", why="its answer holds no access_token")
        remember(token)
        self._token = token
        lifetime = _lifetime_seconds(token, self._clock.now())
        self._renew_at = self._clock.monotonic() + max(lifetime - _RENEW_BEFORE_SECONDS, lifetime / 2)

    def _ask_for_token(self) -> urllib3.BaseHTTPResponse:
        login = {"username": self._username, "password": self._password.value()}
        return self._request("POST", "/auth/token", body=json.dumps(login).encode())

    def _request(
        self, method: str, target: str, *, body: bytes | None = None, token: str = ""
    ) -> urllib3.BaseHTTPResponse:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise Transient(
                "Airflow's API did not answer in time",
                why=f"one reading took longer than {self._timeout_seconds:g} s",
                remedy="Give the api-server more, or raise WORKER_SCALER_API_TIMEOUT_SECONDS",
            )
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            return self._pool.request(
                method,
                self._url + target,
                body=body,
                headers=headers,
                redirect=False,
                timeout=Timeout(connect=min(_CONNECT_SECONDS, left), read=left),
            )
        except HTTPError as err:
            # Its text names host and path only; the body and the headers hold the secrets.
            raise Transient(
                "Airflow's API does not answer",
                why=f"{type(err).__name__} at {self._url}",
                remedy="Nothing is changed until it does; look at the api-server if it lasts",
            ) from None

    def _page(self, answer: urllib3.BaseHTTPResponse, *, doing: str) -> Page:
        if answer.status not in _FINE:
            raise _refusal(answer, doing)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Transient(
                doing,
                why="the answer is no JSON object",
                remedy="Check that WORKER_SCALER_API_URL is Airflow",
            )
        return Page(document=document, at=self._server_time(answer))

    def _server_time(self, answer: urllib3.BaseHTTPResponse) -> datetime:
        try:
            return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
        except (TypeError, ValueError):
            return self._clock.now()


def _refusal(answer: urllib3.BaseHTTPResponse, doing: str) -> SidecarError:
    why = f"HTTP {answer.status}"
    if answer.status == _FORBIDDEN:
        return ConfigError(doing, why=why, remedy="Give the user the role Viewer")
    if answer.status == _UNAUTHORIZED:
        return Transient(
            doing, why="its own new token is refused", remedy="Look at the api-server's jwt_secret"
        )
    if answer.status == _NOT_FOUND or answer.status in _REDIRECTS:
        remedy = "Let WORKER_SCALER_API_URL lead to an api-server of Airflow 3, past any login page"
        return ConfigError(doing, why=why, remedy=remedy)
    if answer.status >= _SERVER_FAULT or answer.status == _TOO_MANY:
        return Transient(doing, why=why, remedy="It will be tried again")
    return Permanent(doing, why=why)


def _lifetime_seconds(token: str, now: datetime) -> float:
    """Return how long a JWT is good for by its own word. It is only read here: who checks it is Airflow."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        begin = float(claims.get("iat", now.timestamp()))  # both by Airflow's clock, whatever ours says
        return max(0.0, float(claims["exp"]) - begin)
    except (IndexError, KeyError, TypeError, ValueError):
        return _LIFETIME_SECONDS
