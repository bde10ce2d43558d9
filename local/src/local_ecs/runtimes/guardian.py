"""A process that only waits for the end of local_ecs, and then ends what local_ecs no longer can.

``python -m local_ecs.runtimes.guardian LEDGER``: its standard input is a pipe that only local_ecs holds
open. When local_ecs ends, by whatever means, the pipe ends, and every process on the list is killed. After
an orderly end there is none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from local_ecs.runtimes.ledger import end_recorded


def main() -> None:
    """Wait, then clean up."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # local_ecs has ended already: all the more reason to go on
        os.write(sys.stdout.fileno(), b"ready\n")
    sys.stdin.read()
    end_recorded(Path(sys.argv[1]), is_fresh=True)


if __name__ == "__main__":
    main()
