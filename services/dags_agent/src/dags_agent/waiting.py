"""``dags-agent wait``: return when a deploy is what readers see. For pipelines."""

from __future__ import annotations

import argparse
import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit

from dags_agent.deploy_settings import DeploySettings
from dags_agent.disk import read_manifest_file
from dags_agent.layout import Layout
from dags_agent.manifest import ManifestUnreadable
from dags_agent.note import ReleaseNote, parse_note, read_note
from sidecar.app import Runtime
from sidecar.errors import EXIT_OK, ConfigError, Transient

_POLL_SECONDS = 0.5
_HTTP_TIMEOUT_SECONDS = 5.0


def add_wait_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to wait for, where to look and for how long."""
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--release", metavar="ID", help="a release, or the --id of a `publish`")
    wanted.add_argument("--etag", metavar="ETAG", help="of the marker, or (on the target) of any object")
    parser.add_argument(
        "--url", help="the agent's HTTP port, e.g. http://10.0.0.7:9464; default: DAGS_AGENT_TARGET"
    )
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="default: 300")


def wait(settings: DeploySettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Look until the live release is the wanted one; print its note.

    Raises:
        ConfigError: there is nowhere to look.
        Transient: it was not live in time; the text says what was.
    """
    if not arguments.url and settings.target == Path():
        raise ConfigError("There is nowhere to look", remedy="Give --url, or set DAGS_AGENT_TARGET")
    until = runtime.clock.monotonic() + arguments.timeout
    while True:
        note = _from_url(arguments.url) if arguments.url else _from_target(settings)
        if note is not None and _is_wanted(note, settings, arguments):
            sys.stdout.write(note.to_json().decode())
            return EXIT_OK
        if runtime.clock.monotonic() >= until:
            raise Transient(
                f"{arguments.release or arguments.etag} was not live within {arguments.timeout:g} s",
                why=f"live is {note.id} (deploy {note.deploy or 'without a name'})"
                if note
                else "nothing is live",
                remedy="Look at the agent's log: it says what it refuses and why",
            )
        runtime.stop.wait_in_thread(_POLL_SECONDS)


def _is_wanted(note: ReleaseNote, settings: DeploySettings, arguments: argparse.Namespace) -> bool:
    if arguments.release:
        return arguments.release in (note.id, note.deploy)
    etag = arguments.etag.strip('"')
    if note.marker_etag.strip('"') == etag:
        return True
    return not arguments.url and etag in _etags(settings, note.id)


def _etags(settings: DeploySettings, release_id: str) -> set[str]:
    layout = Layout(settings.target)
    in_place = settings.publish == "in_place"
    path = layout.own / "manifest.json" if in_place else layout.manifest(release_id)
    try:
        return {file.etag.strip('"') for file in read_manifest_file(path).files}
    except (OSError, ManifestUnreadable):
        return set()


def _from_target(settings: DeploySettings) -> ReleaseNote | None:
    layout = Layout(settings.target)
    try:
        return read_note(layout.target if settings.publish == "in_place" else layout.current)
    except OSError:
        return None  # a mount that does not answer may do so later; the timeout is the limit


def _from_url(url: str) -> ReleaseNote | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise ConfigError(
            f"--url {url!r} is no address", why=str(err), remedy="Give http://host:port of the agent"
        ) from err
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--url {url!r} is no address", remedy="Give http://host:port of the agent")
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, port, timeout=_HTTP_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/release")
        answer = connection.getresponse()
        return parse_note(answer.read()) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
