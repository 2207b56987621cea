"""An HTTP proxy on loopback: forwards what is plain, opens tunnels, and breaks off whatever breaks on its other side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Forwarder:
    """`heads` are what it was asked, as it was asked. `refuses` answers every tunnel and every request, "" for none."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.refuses = b""
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._writers.append(writer)
        try:
            with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):  # cancelled by `close` alone
                await self._serve(reader, writer)
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def close(self) -> None:
        """Everybody hangs up; who is just being connected is waited for, since uvloop forgets him half-way."""
        for writer in self._writers:
            writer.transport.abort()
        if serving := list(self._serving):
            _, late = await asyncio.wait(serving, timeout=0.5)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # what was aborted is told so by the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.refuses:
            writer.write(self.refuses)
            await writer.drain()
            await reader.read()
            return
        method, target, _ = head.split(b" ", 2)
        is_tunnel = method == b"CONNECT"
        place = urlsplit((b"//" + target if is_tunnel else target).decode())
        there = await asyncio.open_connection(place.hostname, place.port or 80)
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await self._relay((reader, writer), there, b"" if is_tunnel else head)
        finally:
            there[1].transport.abort()

    async def _relay(self, here: Streams, there: Streams, head: bytes) -> None:
        """Until one side is done; then the other is too. `head` is that of the first request, "" in a tunnel."""
        up = self._requests(here[0], there[1], head) if head else pump(here[0], there[1])
        upward, down = asyncio.ensure_future(up), asyncio.ensure_future(pump(there[0], here[1]))
        await asyncio.wait([upward, down], return_when=asyncio.FIRST_COMPLETED)
        if down.done() and down.exception() is None:
            here[1].write_eof()
            with suppress(TimeoutError):  # what was said last is on its way
                await asyncio.wait_for(asyncio.wait([upward]), 0.05)
        for task in (upward, down):
            task.cancel()
        await asyncio.gather(upward, down, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        while True:
            method, target, rest = head.split(b" ", 2)
            place = urlsplit(target.decode())
            path = place.path + (f"?{place.query}" if place.query else "")
            kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
            writer.write(b" ".join([method, path.encode(), b"\r\n".join(kept)]))
            await body(reader, writer, head.lower())
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)


async def body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    """Pass on what follows a request's head."""
    if b"\r\ntransfer-encoding: chunked" in head:
        size = -1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line, 16)
            writer.write(line)
            writer.write(await reader.readexactly(size + 2))
            await writer.drain()
        return
    left = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while left:
        piece = await reader.read(min(left, 65536))
        if not piece:
            raise ConnectionError
        left -= len(piece)
        writer.write(piece)
        await writer.drain()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def forwarder() -> AsyncIterator[Forwarder]:
    proxy = Forwarder()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=2**18)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
