"""A provider that replays recordings over real sockets: the first segment of the path is the number of the exchange."""

import asyncio
from collections import defaultdict
from typing import NamedTuple, Self

from tests.conformance.expected import INJECTED, answer_of, before_the_end
from tests.conformance.recordings import Exchange


class Received(NamedTuple):
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class ReplayingServer:
    """HTTP/1.1 written by hand: no library between the recording and the wire.

    `piece` None sends a body at once, with its length; a number sends chunks of so many bytes, each of its own, and
    lets the loop turn between some of them. On the wire they may still meet: the exact cuts are tested in process.
    `stops_early`: streams stop before their end, as if that were it.
    """

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = {of.number: of for of in exchanges}
        self.piece: int | None = None
        self.stops_early = False
        self.received: dict[int, list[Received]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        host, port = self._server.sockets[0].getsockname()
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        number = int(target.split("/")[1])
        self.received[number].append(Received(method, target, headers, body))
        of = self._exchanges[number]
        await self._answer(writer, of, before_the_end(of) if self.stops_early else answer_of(of, INJECTED in body))

    async def _answer(self, writer: asyncio.StreamWriter, of: Exchange, body: bytes) -> None:
        lines = [f"{name}: {value}" for name, value in of.upstream_headers.items()]
        lines.append("transfer-encoding: chunked" if self.piece else f"content-length: {len(body)}")
        writer.write(("\r\n".join([f"HTTP/1.1 {of.status} Recorded", *lines]) + "\r\n\r\n").encode())
        if not self.piece:
            writer.write(body)
            await writer.drain()
            return
        for at in range(0, len(body), self.piece):
            piece = body[at : at + self.piece]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if at % (16 * self.piece) == 0:
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
