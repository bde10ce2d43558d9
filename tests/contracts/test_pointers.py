"""The checker of promises is checked itself: it finds a test that cannot notice anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pointers import why_it_shows_nothing


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def test_x():\n    assert f()\n", ""),
        ("@pytest.mark.skip(reason='later')\ndef test_x():\n    assert f()\n", "it is not run"),
        ("pytestmark = [pytest.mark.skip]\ndef test_x():\n    assert f()\n", "pytest does not collect it"),
        ("def f():\n    def test_x():\n        assert 1\n", "pytest does not collect it"),
        ("async def test_x():\n    await f()\n", "it asserts nothing"),
    ],
)
def test_a_pointer_to_what_shows_nothing_is_found_out(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(text)

    assert why_it_shows_nothing(file, "test_x") == why
