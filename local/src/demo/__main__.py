"""``airflow-ecs-demo``: run the main job on this machine; exit 0 only if every promise held."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from demo.layout import Layout
from demo.scenario import Scenario
from demo.stage import raised
from demo.timeline import Timeline
from demo.verdict import judge

_BROKEN = 1
_INTERRUPTED = 130


def main() -> None:
    """Parse the command line, play, exit."""
    parser = argparse.ArgumentParser(prog="airflow-ecs-demo", description=__doc__)
    parser.add_argument(
        "--kill-sidecars", action="store_true", help="kill -9 each sidecar in the middle of its work"
    )
    parser.add_argument("--home", type=Path, help="the demo's folder (default: .demo in the checkout)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.exit(_play(Layout.here(arguments.home), kill_sidecars=arguments.kill_sidecars))


def _play(layout: Layout, *, kill_sidecars: bool) -> int:
    timeline = Timeline(layout.container_logs)
    started = time.monotonic()
    try:
        with raised(layout, timeline) as stage:
            seen = Scenario(stage, timeline, kill_sidecars).play()
    except KeyboardInterrupt:
        timeline.say("demo", "interrupted; everything that was started has been ended")
        return _INTERRUPTED
    except RuntimeError as err:
        timeline.say("demo", f"failed: {err}")
        timeline.say("demo", f"all logs are under {layout.home / 'logs'}")
        return _BROKEN
    rows = judge(seen)
    timeline.table(rows, seconds=time.monotonic() - started)
    return 0 if all(row.holds for row in rows) else _BROKEN


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
