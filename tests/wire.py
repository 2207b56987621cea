"""HTTP/1.1 by hand: exactly the bytes a test wants to send, and the answer as it came."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from tests.daemon import AUTH


@dataclass(frozen=True, slots=True)
class Reply:
    """Header names in lower case; of repeated names the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of our error envelope."""
        return str(json.loads(self.body)["error"]["code"])


class Listening(Protocol):
    @property
    def address(self) -> tuple[str, int]: ...


class Wire:
    """One connection to a daemon. `async with` closes it; `reset` ends it with RST, `half_close` sends FIN alone."""

    def __init__(self, daemon: Listening, *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0) -> None:
        self._address = daemon.address
        self._tls = tls
        self._receive_buffer = receive_buffer
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        plain = socket.socket()
        if self._receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, self._address)
        name = "localhost" if self._tls else None
        limit = self._receive_buffer or 2**20
        self.reader, self.writer = await asyncio.open_connection(
            sock=plain, ssl=self._tls, server_hostname=name, limit=limit
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    def post(self, path: str, body: object, **headers: str) -> None:
        """A whole POST of JSON with the tests' key; a header's `_` stands for `-`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send(
            head("POST", path, {"Content-Type": "application/json", "Content-Length": str(len(data))} | _named(headers))
            + data
        )

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def reply(self, timeout_s: float = 5.0) -> Reply:
        """The next whole answer with a Content-Length; asyncio.IncompleteReadError where the peer closes first."""
        async with asyncio.timeout(timeout_s):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(int(lines[0].split()[1]), headers, body)

    async def until(self, mark: bytes, timeout_s: float = 5.0) -> bytes:
        """What comes up to and with `mark`."""
        async with asyncio.timeout(timeout_s):
            return await self.reader.readuntil(mark)

    async def rest(self, timeout_s: float = 5.0) -> bytes:
        """Everything until the peer closes, however it does."""
        parts: list[bytes] = []
        async with asyncio.timeout(timeout_s):
            try:
                while part := await self.reader.read(2**16):
                    parts.append(part)
            except ConnectionError:
                pass
        return b"".join(parts)


def head(method: str, path: str, headers: Mapping[str, Any]) -> bytes:
    """A request's head with Host and the tests' key."""
    named = {"Host": "routerd.test"} | AUTH | dict(headers)
    return f"{method} {path} HTTP/1.1\r\n".encode() + b"".join(f"{n}: {v}\r\n".encode() for n, v in named.items()) + b"\r\n"


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
