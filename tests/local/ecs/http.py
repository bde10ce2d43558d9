"""Plain HTTP, for what boto3 does not speak."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


def send(method: str, url: str, document: object = None, *, body: bytes | None = None) -> tuple[int, Any]:
    """Send a request; returns the status and the answer, as JSON where it is JSON."""
    data = body if body is not None else None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as err:
        with err:
            text = err.read().decode()
        try:
            return err.code, json.loads(text)
        except ValueError:
            return err.code, text


def get(url: str) -> Any:
    """Return the JSON of a GET that succeeds."""
    status, answer = send("GET", url)
    assert status == 200, answer
    return answer
