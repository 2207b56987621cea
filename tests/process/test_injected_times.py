"""The constants of half a minute and fifteen seconds, made short: a heartbeat in silence, a body that does not come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from router.domain.errors import RequestTimeout, UpstreamTruncated
from router.domain.flow import Drawn
from router.domain.requests import Api
from router.server.inference import read_body
from router.server.streaming import EventStream, OpenStreams
from tests.wire import Wire


@dataclass
class Served:
    address: tuple[str, int]


@asynccontextmanager
async def serving(handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[Served]:
    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Served(runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def streaming(
    frames: Callable[[], AsyncIterator[bytes]], api: Api = Api.CHAT
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        lines = "Content-Type: text/event-stream\r\n"
        stream = EventStream(request, 200, lines, api, among=OpenStreams(), may_stay=True, write_stall_s=60, heartbeat_s=0.1)
        with suppress(UpstreamTruncated):
            await stream.relay(Drawn(frames()))
        return stream.written

    return handle


async def test_silence_is_bridged_by_comments_between_whole_frames() -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.35)
        yield b"data: 2\n\n"

    async with serving(streaming(frames)) as served, Wire(served) as wire:
        wire.post("/", {})
        await wire.until(b"data: 1\n\n")
        between = await wire.until(b"data: 2\n\n")
    assert between.count(b": keep-alive\n\n") in {2, 3}


async def test_an_anthropic_caller_is_pinged_in_silence_and_told_of_a_break_in_its_own_words() -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.35)
        raise UpstreamTruncated("sim: reset")

    async with serving(streaming(frames, Api.MESSAGES)) as served, Wire(served) as wire:
        wire.post("/", {}, Connection="close")
        raw = await wire.rest()
    assert raw.count(b'event: ping\ndata: {"type": "ping"}\n\n') in {2, 3}
    assert b": keep-alive" not in raw
    assert b'event: error\ndata: {"type":"error","error":{"type":"upstream_error","message":"sim: reset"}}\n\n' in raw


async def test_a_busy_stream_has_no_comments() -> None:
    async def frames() -> AsyncIterator[bytes]:
        for number in range(12):
            yield b"data: %d\n\n" % number
            await asyncio.sleep(0.03)

    async with serving(streaming(frames)) as served, Wire(served) as wire:
        wire.post("/", {})
        assert b"keep-alive\n\n" not in await wire.until(b"data: 11\n\n")


async def test_nothing_follows_the_error_event() -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.15)
        raise UpstreamTruncated("sim: reset")

    async with serving(streaming(frames)) as served, Wire(served) as wire:
        wire.post("/", {}, Connection="close")
        raw = await wire.rest()
    assert raw.count(b"upstream_truncated") == 1
    assert raw.index(b": keep-alive") < raw.index(b"upstream_truncated")
    assert raw.endswith(b"}}\n\n\r\n0\r\n\r\n")


async def test_a_body_that_does_not_come_in_time_is_a_request_timeout() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            await read_body(request, 2**20, within_s=0.1)
        except RequestTimeout as error:
            return web.Response(status=408, text=error.code)
        return web.Response(text="read")

    async with serving(handle) as served, Wire(served) as slow, Wire(served) as whole:
        slow.post("/", b"{}", Content_Length="100")
        whole.post("/", b"{}")
        assert (await slow.reply()).body == b"request_timeout"
        assert (await whole.reply()).body == b"read"
