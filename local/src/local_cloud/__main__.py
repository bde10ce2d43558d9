"""``python -m local_cloud``: run the AWS of the local cloud until told to stop."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence

from local_cloud.parent import die_with_parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent process ends."""
    parser = argparse.ArgumentParser(
        prog="local-cloud", description="S3, SQS, Firehose, KMS and more, on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one"
    )
    parser.add_argument("--detached", action="store_true", help="go on when the parent process ends")
    options = parser.parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGINT):
        # At once: all there is lives in memory, so there is nothing to finish.
        signal.signal(ending, lambda *_: os._exit(0))
    if not options.detached and os.getppid() > 1:
        die_with_parent(os.getppid())

    from local_cloud.server import make_cloud, stay_on_loopback  # noqa: PLC0415  # moto's import is worth being tied first

    server = make_cloud(host=options.host, port=options.port)
    stay_on_loopback()
    print(f"local_cloud listening on http://{options.host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
