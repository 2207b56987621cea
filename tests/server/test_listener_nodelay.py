"""Small pieces of an answer leave at once: Nagle and a delayed acknowledgement would hold a short stream up for 40 ms."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import pytest
from aiohttp import web

from router.config.snapshot import ServerSettings
from router.server.listener import Listener

ROUNDS = 24
HOLD_UP_S = 0.035
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def short_stream(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"one", b"two", b"three"):
        await response.write(piece)
        await asyncio.sleep(0.001)
    await response.write_eof()
    return response


@asynccontextmanager
async def served(sockets: list[socket.socket]) -> AsyncIterator[tuple[str, int]]:
    listener = Listener(short_stream, ServerSettings(host="127.0.0.1", port=0, keep_alive_s=5.0), sockets)
    url = await listener.start()
    try:
        yield "127.0.0.1", int(url.rpartition(":")[2])
    finally:
        await listener.close()


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_short_stream_is_not_held_up(is_shared: bool) -> None:
    """Neither on a socket of its own nor on one that other processes share."""
    async with served([socket.create_server(("127.0.0.1", 0))] if is_shared else []) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        passed = []
        for _ in range(ROUNDS):
            began = asyncio.get_running_loop().time()
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n0\r\n\r\n")
            passed.append(asyncio.get_running_loop().time() - began)
        writer.close()
        await writer.wait_closed()
    # A kernel acknowledges at once on a new connection; it takes its time after that.
    assert median(passed[ROUNDS // 2 :]) < HOLD_UP_S
