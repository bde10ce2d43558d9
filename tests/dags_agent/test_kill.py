"""kill -9 at random instants: a short campaign; ``kill_campaign.py --kills 1000`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import kill_campaign


@pytest.mark.timeout(400)  # a second per kill, and more on a machine that has other work
@pytest.mark.parametrize(("publish", "kills"), [("release", 30), ("in_place", 15)])
def test_kill_dash_nine_at_any_instant_never_shows_a_reader_a_mix_and_always_converges(
    tmp_path: Path, publish: str, kills: int
) -> None:
    campaign = kill_campaign.run(tmp_path / "efs", kills=kills, seed=4711, publish=publish)
    assert campaign.kills == kills
    assert campaign.killed_while_building > 0
