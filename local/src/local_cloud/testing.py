"""Start the local cloud as a process of its own and stop it: for tests and the demo."""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from local_cloud.parent import tied

_READY_TIMEOUT_SECONDS = 60
_STOP_TIMEOUT_SECONDS = 10
_REQUEST_TIMEOUT_SECONDS = 10
_ANNOUNCEMENT = "local_cloud listening on "


class LocalCloud:
    """One local cloud; a context manager. It ends with the thread that started it.

    Args:
        port: on 127.0.0.1; 0 takes a free one.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when it answers; then ``url`` is the endpoint for every AWS client.

        Raises:
            RuntimeError: it does not come up; why stands on standard error.
        """
        command = tied([sys.executable, "-m", "local_cloud", "--detached", "--port", str(self._port)])
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        said = self._first_line(self._process)
        if not said.startswith(_ANNOUNCEMENT):
            self.stop()
            raise RuntimeError(
                f"the local cloud ended or was silent for {_READY_TIMEOUT_SECONDS} s; it said {said!r}"
            )
        self.url = said.removeprefix(_ANNOUNCEMENT).strip()

    def stop(self) -> None:
        """End it and all it holds; nothing happens when it is not started."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def environment(self) -> dict[str, str]:
        """What points an unmodified AWS client here, and keeps it from looking anywhere else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def add_faults(self, *faults: Mapping[str, Any]) -> None:
        """Put faults in force (see ``local_cloud.faults``)."""
        self._request("POST", "faults", faults)

    def clear_faults(self) -> None:
        """End all faults; idempotent."""
        self._request("DELETE", "faults")

    def calls(self, service: str) -> dict[str, int]:
        """How often each action of a service was called so far."""
        found: dict[str, int] = self._request("GET", "requests").get(service, {})
        return found

    def _request(self, method: str, name: str, body: Sequence[Mapping[str, Any]] | None = None) -> Any:
        data = None if body is None else json.dumps(list(body)).encode()
        request = urllib.request.Request(f"{self.url}/_local/{name}", data=data, method=method)
        with contextlib.closing(
            urllib.request.urlopen(request, timeout=_REQUEST_TIMEOUT_SECONDS)
        ) as response:
            return json.load(response)

    @staticmethod
    def _first_line(process: subprocess.Popen[str]) -> str:
        if process.stdout is None:
            raise AssertionError("started with a pipe")
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            return process.stdout.readline() if selector.select(_READY_TIMEOUT_SECONDS) else ""
