"""One connection and its answer, played without a network: how long it waits, and how it keeps its peers' pace."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.domain.flow import pieces_of
from router.domain.routes import Timeouts
from router.domain.upstream import FailureKind, TransportFailure
from router.providers.http1.answer import HIGH_WATER, Http1Answer
from router.providers.http1.connection import JOINED_BYTES, SLICE_BYTES
from tests.providers.sockets import Wire, calling, outcome

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


# -- time ---------------------------------------------------------------------------------------------------------------

HURRIED = calling(timeouts=Timeouts(first_byte=0.06, idle=0.06))


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_that_trickles_is_not_idle_however_it_is_read(at_once: bool) -> None:
    w = Wire(HURRIED)
    w.hears(CHUNKED)
    reading = asyncio.ensure_future(w.answer.read(100)) if at_once else asyncio.ensure_future(outcome(w.answer))
    for _ in range(6):
        w.hears(b"1\r\nx\r\n")
        await asyncio.sleep(0.02)
    w.hears(b"0\r\n\r\n")
    assert await reading == (b"x" * 6 if at_once else (200, b"x" * 6, None))
    w.connection.drop()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_that_stops_is_idle_however_it_is_read(at_once: bool) -> None:
    w = Wire(HURRIED)
    w.hears(CHUNKED + b"1\r\nx\r\n")
    with pytest.raises(TransportFailure) as caught:
        await (w.answer.read(100) if at_once else anext(aiter_after_first(w.answer)))
    assert caught.value.kind is FailureKind.IDLE_TIMEOUT
    assert w.socket.is_aborted


async def aiter_after_first(answer: Http1Answer) -> AsyncIterator[bytes]:
    chunks = pieces_of(answer)
    await anext(chunks)
    async for piece in chunks:
        yield piece


async def test_a_reader_that_is_busy_elsewhere_is_no_idle_provider() -> None:
    w = Wire(HURRIED)
    w.hears(CHUNKED + b"1\r\nx\r\n")
    await asyncio.sleep(0.15)
    assert w.connection.is_open
    w.hears(b"0\r\n\r\n")
    assert await outcome(w.answer) == (200, b"x", None)
    w.connection.drop()


async def test_the_first_byte_is_awaited_as_long_as_it_may_take_and_no_longer() -> None:
    w = Wire(HURRIED)
    w.hears(b"HTTP/1.1 103 Wait\r\n\r\n")
    await asyncio.sleep(0.03)
    w.hears(CHUNKED)
    began = asyncio.get_running_loop().time()
    assert await outcome(w.answer) == (200, b"", FailureKind.FIRST_BYTE_TIMEOUT)
    assert asyncio.get_running_loop().time() - began < 0.06


# -- back-pressure ----------------------------------------------------------------------------------------------------


async def test_reading_pauses_while_much_waits_unread_and_goes_on_when_it_was_taken() -> None:
    w = Wire()
    w.hears(OK + b"Content-Length: %d\r\n\r\n" % (2 * HIGH_WATER), b"x" * HIGH_WATER)
    assert w.listens()
    w.hears(b"x")
    assert not w.listens()
    chunks: AsyncIterator[bytes] = pieces_of(w.answer)
    assert len(await anext(chunks)) == HIGH_WATER + 1
    assert w.listens()
    w.connection.drop()


async def test_a_connection_whose_answer_ended_while_paused_listens_again() -> None:
    w = Wire()
    w.hears(OK + b"Content-Length: %d\r\n\r\n" % (2 * HIGH_WATER), b"x" * HIGH_WATER + b"x", b"x" * (HIGH_WATER - 1))
    assert w.listens()
    assert w.owner.free == [w.connection]
    assert len((await outcome(w.answer))[1]) == 2 * HIGH_WATER
    w.connection.drop()


async def test_a_whole_body_is_read_without_pausing_up_to_the_limit() -> None:
    w = Wire()
    w.hears(CHUNKED, b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
    assert not w.listens()
    reading = asyncio.ensure_future(w.answer.read(2**20))
    await asyncio.sleep(0)
    assert w.listens()
    w.hears(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
    assert w.listens()
    w.hears(b"1\r\nx\r\n")
    with pytest.raises(TransportFailure) as caught:
        await reading
    assert caught.value.kind is FailureKind.TOO_LARGE
    assert w.socket.is_aborted


async def test_a_small_body_leaves_with_its_head() -> None:
    w = Wire(calling(body=b"x" * (JOINED_BYTES - 1)))
    assert w.socket.largest == len(w.socket.written)
    w.connection.drop()


async def test_a_large_body_is_written_as_the_peer_takes_it() -> None:
    body = bytes(range(256)) * 2**13
    w = Wire(calling(body=body), takes=SLICE_BYTES)
    assert len(w.socket.written) < 2 * SLICE_BYTES + 100
    while len(w.socket.written) < len(body):
        w.socket.drained(SLICE_BYTES)
    assert w.socket.written == b"HEAD\r\n\r\n" + body
    assert w.socket.largest == SLICE_BYTES
    w.hears(WHOLE)
    assert w.owner.free == []  # the socket had not taken all of it
    w.connection.drop()


async def test_an_answer_that_comes_before_the_request_was_written_ends_the_connection() -> None:
    w = Wire(calling(body=b"x" * 2**21), takes=SLICE_BYTES)
    w.hears(b"HTTP/1.1 413 Too large\r\nContent-Length: 3\r\n\r\nabc")
    assert await outcome(w.answer) == (413, b"abc", None)
    assert w.socket.is_aborted
