"""Whether a pointer to a test points to something that shows anything: for READMEs and indexes of accidents.

It reads the test as text. So it finds a test that pytest does not collect, that is never run, or in which
nothing is asserted; whether the assertion is about the promise is for the reader to judge.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_NOT_RUN = re.compile(r"mark\.(skip|xfail)\b")
_ASSERTING = ("raises", "refusal", "wait_until")

Test = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def collected_from(file: Path) -> Mapping[str, Test]:
    """Return what pytest collects from a file, by name; nothing when the file is skipped as a whole."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    marks = [ast.unparse(node) for node in module.body if _is_mark(node)]
    if any(_NOT_RUN.search(mark) for mark in marks):
        return {}
    bodies = [module.body, *(node.body for node in module.body if isinstance(node, ast.ClassDef))]
    found = [node for body in bodies for node in body if isinstance(node, Test)]
    return {node.name: node for node in found if node.name.startswith("test_")}


def why_it_shows_nothing(file: Path, name: str) -> str:
    """Return why this test would not notice anything; "" when it may."""
    if not file.match("test_*.py") or name not in collected_from(file):
        return "pytest does not collect it"
    test = collected_from(file)[name]
    if any(_NOT_RUN.search(ast.unparse(decorator)) for decorator in test.decorator_list):
        return "it is not run"
    return "" if _asserts(test, _helpers(file)) else "it asserts nothing"


def _asserts(function: Test, helpers: Mapping[str, Test]) -> bool:
    """Whether it asserts, or calls what does: known names, and functions of the same file that assert."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    called = {ast.unparse(call.func).rpartition(".")[2] for call in calls}
    looked_at = [function, *(helpers[name] for name in called & set(helpers))]
    return not called.isdisjoint(_ASSERTING) or any(
        isinstance(node, ast.Assert) for one in looked_at for node in ast.walk(one)
    )


def _helpers(file: Path) -> Mapping[str, Test]:
    module = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(module) if isinstance(node, Test)}


def _is_mark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
    )
