"""An upload on one connection, byte for byte: what is written when, what is asked for when, what the connection is after."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.domain.routes import Timeouts
from router.domain.upstream import FailureKind, TransportFailure, Upload
from router.providers.http1.answer import Http1Answer, Stale
from router.providers.http1.connection import JOINED_BYTES, SLICE_BYTES
from router.providers.http1.upload import upload
from tests.providers.sockets import Wire, calling

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
HEAD = b"HEAD\r\n\r\n"


class Source:
    """Hands out what the test puts in; `asked` counts."""

    def __init__(self) -> None:
        self.queue = asyncio.Queue[bytes | None]()
        self.asked = 0

    def puts(self, *pieces: bytes | None) -> None:
        for piece in pieces:
            self.queue.put_nowait(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.asked += 1
            piece = await self.queue.get()
            if piece is None:
                return
            yield piece


class Sending:
    """A wire that is free, and an upload begun on it."""

    def __init__(self, *, length: int | None = None, takes: int = 1 << 60, idle: float = 5.0) -> None:
        self.wire = Wire(takes=takes)
        self.wire.hears(WHOLE)
        self.wire.socket.written = b""
        self.source = Source()
        body = Upload(self.source, length)
        call = calling(body=body, timeouts=Timeouts(first_byte=5.0, idle=idle))
        loop = asyncio.get_running_loop()
        self.answer = Http1Answer(loop, call, loop.time())
        self.head = asyncio.ensure_future(upload(body, self.wire.connection, self.answer, HEAD, call))

    async def settles(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def body(self) -> bytes:
        assert self.wire.socket.written.startswith(HEAD)
        return self.wire.socket.written.removeprefix(HEAD)


async def test_each_piece_is_written_as_it_comes_and_the_end_frees_the_connection() -> None:
    s = Sending()
    s.source.puts(b"ab", b"")
    await s.settles()
    assert s.body() == b"2\r\nab\r\n"
    s.source.puts(b"c" * JOINED_BYTES, None)
    await s.settles()
    assert s.body() == b"2\r\nab\r\n10000\r\n" + b"c" * JOINED_BYTES + b"\r\n0\r\n\r\n"
    s.wire.hears(WHOLE)
    await s.head
    assert s.wire.owner.free == [s.wire.connection] * 2
    s.wire.connection.drop()


async def test_nothing_is_asked_for_while_the_socket_is_full() -> None:
    s = Sending(length=4 * SLICE_BYTES, takes=SLICE_BYTES)
    s.source.puts(b"x" * (3 * SLICE_BYTES), b"x" * SLICE_BYTES, None)
    await s.settles()
    assert s.source.asked == 1
    assert len(s.body()) <= 2 * SLICE_BYTES
    while len(s.body()) < 4 * SLICE_BYTES:
        s.wire.socket.drained(SLICE_BYTES)
        await s.settles()
    assert s.body() == b"x" * (4 * SLICE_BYTES)
    s.wire.socket.drained(1 << 60)
    await s.settles()
    s.wire.hears(WHOLE)
    await s.head
    assert s.wire.connection.is_open
    s.wire.connection.drop()


@pytest.mark.parametrize("wire", [WHOLE, b"HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n"])
async def test_an_answer_before_the_end_stops_the_body_and_the_connection_is_not_kept(wire: bytes) -> None:
    s = Sending()
    s.source.puts(b"ab")
    await s.settles()
    s.wire.hears(wire)
    await s.head
    asked, written = s.source.asked, s.body()
    s.source.puts(b"cd", None)
    await s.settles()
    assert (s.source.asked, s.body()) == (asked, written)
    s.wire.hears(b"0\r\n\r\n")
    assert s.wire.socket.is_aborted
    assert s.wire.owner.free == [s.wire.connection]  # once: after the answer before


async def test_hints_are_no_answer() -> None:
    s = Sending()
    await s.settles()
    s.wire.hears(b"HTTP/1.1 100 Continue\r\n\r\n")
    s.source.puts(b"ab", None)
    await s.settles()
    assert s.body() == b"2\r\nab\r\n0\r\n\r\n"
    s.wire.hears(WHOLE)
    await s.head
    assert s.wire.connection.is_open
    s.wire.connection.drop()


async def test_an_upload_that_was_asked_for_anything_is_never_stale() -> None:
    s = Sending()
    await s.settles()
    assert s.source.asked == 1
    s.wire.ends()  # a reused connection, at once, and without a byte of an answer
    with pytest.raises(TransportFailure) as caught:
        await s.head
    assert not isinstance(caught.value, Stale)
    assert caught.value.kind is FailureKind.RESET


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_connection_that_dies_under_an_upload_ends_it(is_full: bool) -> None:
    s = Sending(takes=64 if is_full else 1 << 60)
    s.source.puts(b"x" * 100)
    await s.settles()
    s.wire.ends()
    with pytest.raises(TransportFailure) as caught:
        await asyncio.wait_for(s.head, 1)
    assert caught.value.kind is FailureKind.RESET


async def test_a_socket_that_stays_full_is_idle() -> None:
    s = Sending(takes=64, idle=0.05)
    s.source.puts(b"x" * 100)
    with pytest.raises(TransportFailure) as caught:
        await asyncio.wait_for(s.head, 1)
    assert caught.value.kind is FailureKind.IDLE_TIMEOUT
    s.answer.close()
    assert s.wire.socket.is_aborted
