"""Text that is interface, kept in a file: a change must be seen and meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

Golden = Callable[[Path, str], None]


def assert_golden(file: Path, text: str, *, update: bool) -> None:
    """Compare ``text`` with ``file``; write the file instead when ``update`` is set.

    Raises:
        AssertionError: they differ, or the file is missing; the text says how to accept the change.
    """
    if update:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    expected = file.read_text(encoding="utf-8") if file.exists() else ""
    assert text == expected, f"{file.name} differs; if that is meant: pytest --update-golden"  # noqa: S101 - it is for tests


def describe_metrics(registry: CollectorRegistry) -> str:
    """Return one line per metric: name, labels, type, meaning. Values are left out."""
    lines = set()
    for metric in list(registry._collector_to_names):  # noqa: SLF001 - labels of a metric without samples are told nowhere else
        labels = ",".join(getattr(metric, "_labelnames", ()))
        for family in metric.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            lines.add(f"{name}{{{labels}}} {family.type}: {family.documentation}")
    return "".join(f"{line}\n" for line in sorted(lines))
