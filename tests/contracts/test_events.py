"""The names of events and of their fields are interface: alarms and saved searches rely on them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sidecar.testing.golden import Golden

HERE = Path(__file__).parent
SERVICES = sorted(path.name for path in (HERE.parents[1] / "services").iterdir())
EVENT = re.compile(r"[a-z][a-z0-9_]*")
NOT_AN_EVENT = {"counter", "gauge", "histogram", "labels", "get", "getattr", "join"}


def events_of(service: str) -> str:
    """Return one line per event: its name and the names of its fields, as events.py has them."""
    package = HERE.parents[1] / "services" / service / "src" / service
    lines: set[str] = set()
    for file in sorted(package.rglob("events.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            first = call.args[0]
            if (
                name in NOT_AN_EVENT
                or not isinstance(first, ast.Constant)
                or not isinstance(first.value, str)
            ):
                continue
            if EVENT.fullmatch(first.value):
                fields = sorted(keyword.arg or "**" for keyword in call.keywords)
                lines.add(f"{first.value}: {', '.join(fields)}")
    return "".join(f"{line}\n" for line in sorted(lines))


@pytest.mark.parametrize("service", SERVICES)
def test_event_names_and_fields_are_those_that_were_agreed(service: str, golden: Golden) -> None:
    found = events_of(service)

    assert found.count("\n") > 5
    golden(HERE / "golden" / f"{service}.events.txt", found)
