"""What the DAG files share: a change here must reach all of them at once, or not at all."""

import time

RELEASE = 1


def work(seconds: float, name: str) -> str:
    """Pretend to work, and say which release of the code did it."""
    print(f"{name}: begins, code of release={RELEASE}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, max(0.0, end - time.monotonic())))
        print(f"{name}: still working")
    print(f"{name}: done")
    return name
