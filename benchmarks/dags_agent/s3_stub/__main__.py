"""Start the stub: ``python -m benchmarks.dags_agent.s3_stub [--port N] [--cert FILE --key FILE]``.

Prints its port on the first line, then serves until it is ended, or its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys

from benchmarks.dags_agent.s3_stub.server import Connection, Stub


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if arguments.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.cert, arguments.key)
    stub = Stub()
    server = await loop.create_server(lambda: Connection(stub), "127.0.0.1", arguments.port, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


def main() -> None:
    """Run the stub."""
    parser = argparse.ArgumentParser(description="An S3 to measure clients with")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--cert", help="PEM of the certificate; makes it HTTPS")
    parser.add_argument("--key", help="PEM of the certificate's key")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
