"""An upstream on loopback that answers each request with scripted bytes, and remembers what was done to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """`requests` are the heads and bodies received; `left` is set when a connection was closed by its client."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[bytes] = []
        self.left = asyncio.Event()
        self.connections = 0
        self.open = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                is_chunked = b"transfer-encoding: chunked" in lines
                self.requests.append(head + (await chunked(reader) if is_chunked else await reader.readexactly(length)))
                await self._script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            self.open -= 1
            writer.transport.abort()


async def chunked(reader: asyncio.StreamReader) -> bytes:
    """A chunked body without its framing."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return body


@asynccontextmanager
async def upstream(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    peer = Upstream(script)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1/x"
    try:
        yield peer
    finally:
        server.close()


def says_once(answer: bytes) -> Script:
    """Answer one request of all; whoever asks again meets a connection that dies."""
    answered = False

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        if answered:
            raise ConnectionError
        answered = True
        writer.write(answer)

    return script


def says(*pieces: bytes, then_closes: bool = False) -> Script:
    """Write the pieces, each by itself; close, or wait for the next request."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if then_closes:
            raise ConnectionError

    return script


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise ConnectionError
