"""Run the forwarder with the distributions of its image alone.

    python as_in_its_image.py MODULES run     # MODULES: what is absent there, from absent()

A development environment has others that libraries import when they find them (``rich``, ``awscrt``: 9 MB);
the image has what the forwarder's own requirements name, and theirs.
"""

from __future__ import annotations

import importlib.abc
import importlib.metadata
import re
import sys


def canonical(name: str) -> str:
    """Spell a distribution's name as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_with(root: str) -> set[str]:
    """Return a distribution and all that it requires."""
    found: set[str] = set()
    left = [canonical(root)]
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        plain = [text for text in requires if "extra ==" not in text]
        left += [canonical(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) for text in plain]
    return found


class Absent(importlib.abc.MetaPathFinder):
    """Makes modules look as if they were not installed."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> None:
        """Refuse a module that is absent; know nothing of any other."""
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(fullname)


def absent() -> str:
    """Return the modules here that the image does not have, joined by commas."""
    present = installed_with("log-forwarder")
    owners = importlib.metadata.packages_distributions()
    return ",".join(
        sorted(name for name, whose in owners.items() if not present & set(map(canonical, whose)))
    )


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent(frozenset(sys.argv.pop(1).split(","))))
    from log_forwarder.__main__ import main

    sys.exit(main())
