"""What we ask of a Docker engine, through the docker SDK."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors
import requests
import urllib3.exceptions

from log_forwarder.inputs.docker_log import Mark, Name, since

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 60.0  # then the answer is asked for again: a connection can die without a word
_READ_BYTES = 256 * 1024
_GONE = 404
_FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class EngineError(Exception):
    """The engine did not answer, or not as it should. A retry may help."""


class ContainerGoneError(Exception):
    """The container was removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container whose log is wanted.

    Attributes:
        id: 64 hex digits.
        name: without the leading slash.
        image: as it was started.
        service: the Compose service, or empty.
        has_terminal: whether it has one (``Config.Tty``).
    """

    id: str
    name: str
    image: str
    service: str
    has_terminal: bool


class Engine:
    """A Docker engine. Every method may raise :class:`EngineError`.

    Args:
        url: e.g. ``unix:///var/run/docker.sock``.
        labels: only containers with all of them: ``name`` or ``name=value``. None: every container.
    """

    def __init__(self, url: str, labels: Sequence[str]) -> None:
        self._url = url
        self._labels = list(labels)

    def connect(self) -> docker.APIClient:
        """Return a connection of its own: one is not made for several threads."""
        try:
            _knock(self._url)
            return docker.APIClient(base_url=self._url, version="auto", timeout=int(_SILENCE_SECONDS))
        except (docker.errors.DockerException, requests.RequestException, OSError) as err:
            raise EngineError(f"no answer from {self._url}: {err}") from err

    def containers(self) -> list[str]:
        """Return the ids of the wanted containers, stopped ones too: their last lines may not be read yet."""
        with _told(self.connect()) as api:
            return [str(found["Id"]) for found in api.containers(all=True, filters={"label": self._labels})]

    def look(self, container: str) -> Container:
        """Return what a container is.

        Raises:
            ContainerGoneError: it was removed.
        """
        with _told(self.connect()) as api:
            facts = api.inspect_container(container)
        config = facts["Config"]
        return Container(
            id=str(facts["Id"]),
            name=str(facts["Name"]).removeprefix("/"),
            image=str(config.get("Image", "")),
            service=str((config.get("Labels") or {}).get("com.docker.compose.service", "")),
            has_terminal=bool(config.get("Tty")),
        )

    def starts(self) -> Iterator[str]:
        """Yield the id of each wanted container that starts after this was called."""
        wanted = {"type": ["container"], "event": ["start"], "label": self._labels}
        api = self.connect()
        with _saying_why():
            events = api.events(decode=True, filters=wanted)
        return _ids(api, events)

    def log(self, container: str, marks: dict[Name, Mark], *, follows: bool) -> Iterator[bytes]:
        """Yield a container's log from the marks on; ends with the container, or when it was silent long.

        Raises:
            ContainerGoneError: it was removed.
        """
        wanted = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follows))}
        wanted["since"] = since(marks)
        with _told(self.connect()) as api:
            answer = api.get(
                f"{api.base_url}/v{api.api_version}/containers/{container}/logs",
                params=wanted,
                stream=True,
                timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
            )
            if answer.status_code == _GONE:
                raise ContainerGoneError(container)
            answer.raise_for_status()
            while data := answer.raw.read1(_READ_BYTES):
                yield data


def _knock(url: str) -> None:
    """Raise OSError when nobody answers: the SDK would leave the socket that it tried open."""
    if url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(_CONNECT_SECONDS)
            knocking.connect(url.removeprefix("unix://"))


def _ids(api: Any, events: Any) -> Iterator[str]:
    with _told(api):
        for event in events:
            yield str(event["Actor"]["ID"])


@contextmanager
def _told(api: docker.APIClient) -> Iterator[docker.APIClient]:
    """Close a connection after use, and say what went wrong in our words."""
    try:
        with _saying_why():
            yield api
    finally:
        api.close()


@contextmanager
def _saying_why() -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound as err:
        raise ContainerGoneError(str(err)) from err
    except _FAILURES as err:
        raise EngineError(str(err)) from err
