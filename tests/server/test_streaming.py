"""A stream as it is written to its caller, without a socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, web

from router.domain.errors import UpstreamTruncated
from router.domain.flow import Drawn, Flow, Take
from router.domain.requests import Api
from router.server.streaming import HIGH_WATER, EventStream, OpenStreams
from router.server.whole_answer import CLOSING, KEPT

LINES = "Content-Type: text/event-stream\r\n"


class Socket:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.unread = 0
        self.is_gone = False
        self.is_aborted = False

    def write(self, block: bytes) -> None:
        self.writes.append(block)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.is_gone

    def abort(self) -> None:
        self.is_aborted = True


class Caller:
    """What of a request its answer looks at; `protocol` is the connection, which waits until the caller has read."""

    def __init__(self, version: HttpVersion = HttpVersion11, streams: OpenStreams | None = None) -> None:
        self.transport = Socket()
        self.version = version
        self.keep_alive = True
        self.protocol = self
        self.has_read = asyncio.Event()
        self.streams = OpenStreams() if streams is None else streams

    async def _drain_helper(self) -> None:
        await self.has_read.wait()

    def stream(self, *, may_stay: bool = True, stall_s: float = 60, heartbeat_s: float = 60) -> EventStream:
        request, among = cast(web.BaseRequest, cast(Any, self)), self.streams
        return EventStream(
            request, 200, LINES, Api.CHAT, among=among, may_stay=may_stay, write_stall_s=stall_s, heartbeat_s=heartbeat_s
        )


class AtOnce:
    """A flow whose frames come with its end."""

    async def pour(self, take: Take) -> bytes | None:
        return b"data: 1\n\n"


class Silent:
    """A flow of which nothing comes."""

    async def pour(self, take: Take) -> bytes | None:
        await asyncio.Event().wait()
        return None


def poured(*frames: bytes, error: Exception | None = None) -> Flow:
    async def each() -> AsyncIterator[bytes]:
        for frame in frames:
            yield frame
        if error is not None:
            raise error

    return Drawn(each())


async def test_a_stream_that_is_here_whole_leaves_in_one_write() -> None:
    caller = Caller()
    stream = caller.stream()
    await stream.relay(AtOnce())
    (written,) = caller.transport.writes
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Transfer-Encoding: chunked\r\n" in head
    assert body == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
    assert stream.written is KEPT and not caller.streams


async def test_a_stream_without_frames_has_a_head_and_an_end() -> None:
    caller = Caller()
    await caller.stream().relay(poured())
    assert b"".join(caller.transport.writes).endswith(b"\r\n\r\n0\r\n\r\n")


async def test_to_a_caller_of_the_first_version_the_body_ends_with_the_connection() -> None:
    caller = Caller(HttpVersion10)
    stream = caller.stream()
    await stream.relay(poured(b"data: 1\n\n", b"data: 2\n\n"))
    head, _, body = b"".join(caller.transport.writes).partition(b"\r\n\r\n")
    assert b"Connection: close" in head and b"Transfer-Encoding" not in head
    assert body == b"data: 1\n\ndata: 2\n\n"
    assert stream.written is CLOSING


async def test_a_caller_that_does_not_read_holds_its_stream_up() -> None:
    caller = Caller()
    caller.transport.unread = HIGH_WATER + 1
    relaying = asyncio.ensure_future(caller.stream().relay(poured(b"data: 1\n\n", b"data: 2\n\n")))
    await asyncio.sleep(0.01)
    assert len(caller.transport.writes) == 1 and len(caller.streams) == 1
    caller.transport.unread = 0
    caller.has_read.set()
    await relaying
    assert b"data: 2" in b"".join(caller.transport.writes)


async def test_a_break_is_told_behind_the_frames_and_ends_the_body_well() -> None:
    caller = Caller()
    with pytest.raises(UpstreamTruncated):
        await caller.stream().relay(poured(b"data: 1\n\n", error=UpstreamTruncated("sim: reset")))
    first, last = caller.transport.writes
    assert first.endswith(b"data: 1\n\n\r\n")
    assert b'data: {"error":' in last and last.endswith(b"\n\n\r\n0\r\n\r\n")


async def test_a_caller_that_has_gone_is_written_nothing() -> None:
    caller = Caller()
    caller.transport.is_gone = True
    with pytest.raises(ConnectionResetError):
        await caller.stream().relay(poured(b"data: 1\n\n"))
    assert not caller.transport.writes and not caller.streams


async def test_one_timer_looks_at_all_streams_as_early_as_the_most_hasty_of_them_needs() -> None:
    streams = OpenStreams()
    patient, hasty, stuck = (Caller(streams=streams) for _ in range(3))
    stuck.transport.unread = HIGH_WATER + 1
    relays = [
        patient.stream().relay(Silent()),
        hasty.stream(heartbeat_s=0.02).relay(Silent()),
        stuck.stream(stall_s=0.02).relay(poured(b"data: 1\n\n", b"data: 2\n\n")),
    ]
    relaying = [asyncio.ensure_future(relay) for relay in relays]
    await asyncio.sleep(0.2)
    assert not patient.transport.writes and not patient.transport.is_aborted
    assert b"".join(hasty.transport.writes).count(b": keep-alive") > 1 and not hasty.transport.is_aborted
    assert stuck.transport.is_aborted and len(stuck.transport.writes) == 1
    for task in relaying:
        task.cancel()
    await asyncio.gather(*relaying, return_exceptions=True)
    assert not streams


async def test_streams_that_come_and_go_need_no_timer_of_their_own() -> None:
    caller = Caller()
    await caller.stream().relay(AtOnce())
    looks_at = caller.streams.looks_at
    await asyncio.sleep(0.01)
    await caller.stream().relay(AtOnce())
    assert caller.streams.looks_at == looks_at
