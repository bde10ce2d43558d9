"""A gate before a real PostgreSQL that asks for a password and checks it as RDS checks IAM tokens.

A token is a presigned request; the gate makes its signature anew from the secret key, and looks at its age by
a clock that the test moves. https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import struct
import threading
from base64 import b64decode, b64encode
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

SECRET_KEY = "secret"
_SERVICE, _METHOD = "rds-db", "GET"


class RdsGate:
    """One listener; a context manager. Clients that pass speak with the database as its superuser.

    Args:
        host, port, user, password: of the real server.
    """

    def __init__(self, *, host: str, port: int, user: str, password: str) -> None:
        self._target = (host, port)
        self._user, self._password = user, password
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.ahead = timedelta(0)
        self.tokens: list[str] = []
        self.refusals: list[str] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)):
            pass
        self._thread.join(10)

    def problem(self, token: str, user: str) -> str | None:
        """Return why RDS would refuse a token."""
        url = urlsplit(f"https://{token}")
        query = {name: found[0] for name, found in parse_qs(url.query).items()}
        if "X-Amz-Signature" not in query:
            return "it is no token"
        if url.netloc != f"127.0.0.1:{self.port}" or query.get("DBUser") != user:
            return "it is for another database or user"
        signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        age = datetime.now(UTC) + self.ahead - signed_at  # noqa: TID251  # the token has the real time in it
        if not timedelta(minutes=-5) <= age <= timedelta(seconds=int(query["X-Amz-Expires"])):
            return "it has expired"
        given = query.pop("X-Amz-Signature")
        return None if given == _signature(url.netloc, query) else "its signature is wrong"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError, struct.error):
            parameters = _startup(client)
            client.sendall(struct.pack(">cII", b"R", 8, 3))  # AuthenticationCleartextPassword
            kind, body = _message(client)
            token = body.rstrip(b"\0").decode()
            self.tokens.append(token)
            problem = "no password" if kind != b"p" else self.problem(token, parameters["user"])
            if problem:
                self.refusals.append(problem)
                client.sendall(_error(f"PAM authentication failed: {problem}"))
                return
            with closing(socket.create_connection(self._target)) as server:
                _log_in(server, {**parameters, "user": self._user}, self._password)
                _join(client, server)


def _signature(host: str, query: dict[str, str]) -> str:
    names = "&".join(f"{quote(key, safe='')}={quote(query[key], safe='')}" for key in sorted(query))
    canonical = f"{_METHOD}\n/\n{names}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    _, day, region, _, _ = query["X-Amz-Credential"].split("/")
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _startup(client: socket.socket) -> dict[str, str]:
    while True:
        (length,) = struct.unpack(">I", _exactly(client, 4))
        body = _exactly(client, length - 4)
        if struct.unpack(">I", body[:4])[0] >> 16 == 3:
            words = body[4:].rstrip(b"\0").split(b"\0")
            return {words[at].decode(): words[at + 1].decode() for at in range(0, len(words) - 1, 2)}
        client.sendall(b"N")  # no TLS here, no GSSAPI


def _log_in(server: socket.socket, parameters: dict[str, str], password: str) -> None:
    """Log in with SCRAM-SHA-256, RFC 7677; the server's last word goes on to the client."""
    words = b"".join(f"{key}\0{value}\0".encode() for key, value in parameters.items()) + b"\0"
    body = struct.pack(">I", 196_608) + words
    server.sendall(struct.pack(">I", len(body) + 4) + body)
    _message(server)  # AuthenticationSASL
    nonce = secrets.token_hex(12)
    first = f"n=,r={nonce}"
    initial = f"n,,{first}".encode()
    _password(server, b"SCRAM-SHA-256\0" + struct.pack(">I", len(initial)) + initial)
    challenge = _message(server)[1][4:].decode()
    salt, rounds = challenge.split(",")[1][2:], int(challenge.split(",")[2][2:])
    final = f"c=biws,{challenge.split(',')[0]}"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), rounds)
    key = hmac.digest(salted, b"Client Key", "sha256")
    signed = hmac.digest(hashlib.sha256(key).digest(), f"{first},{challenge},{final}".encode(), "sha256")
    proof = b64encode(bytes(one ^ other for one, other in zip(key, signed, strict=True))).decode()
    _password(server, f"{final},p={proof}".encode())
    assert _message(server)[1][:4] == b"\0\0\0\x0c", "AuthenticationSASLFinal"


def _password(server: socket.socket, body: bytes) -> None:
    server.sendall(b"p" + struct.pack(">I", len(body) + 4) + body)


def _join(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            sink.sendall(block)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _message(peer: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack(">cI", _exactly(peer, 5))
    return kind, _exactly(peer, length - 4)


def _exactly(peer: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        block = peer.recv(length - len(found))
        if not block:
            raise ConnectionError("it closed the connection")
        found += block
    return found


def _error(text: str) -> bytes:
    body = b"SFATAL\0C28000\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack(">I", len(body) + 4) + body
