"""One connection and its answer, played without a network: what it keeps, what it drops, and who may touch what when."""

import asyncio

import pytest

from router.domain.flow import pieces_of
from router.domain.upstream import Destination, FailureKind, TransportFailure
from router.providers.http1.answer import HIGH_WATER, Stale
from tests.providers.sockets import Owner, Wire, calling, head, outcome

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


# -- which connections are kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [WHOLE, CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\n" + WHOLE, b"HTTP/1.1 204 None\r\n\r\n"],
)
async def test_a_connection_whose_answer_is_whole_is_free_again(wire: bytes) -> None:
    w = Wire()
    w.hears(wire)
    assert w.owner.free == [w.connection]
    again = w.ask()
    w.hears(WHOLE)
    assert await outcome(again) == (200, b"abc", None)
    w.connection.drop()


@pytest.mark.parametrize(
    "wire",
    [
        WHOLE + b"x",
        WHOLE + WHOLE,
        OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_a_connection_with_anything_unaccounted_for_is_dropped_and_its_answer_is_sound(wire: bytes) -> None:
    w = Wire()
    w.hears(wire)
    assert w.socket.is_aborted
    assert (w.owner.free, w.owner.gone) == ([], [w.connection])
    assert await outcome(w.answer) == (200, b"abc", None)


@pytest.mark.parametrize("noise", [b"HTTP/1.1 408 Timeout\r\n\r\n", b"\r\n", WHOLE])
async def test_a_server_that_speaks_unasked_is_hung_up_on(noise: bytes) -> None:
    w = Wire()
    w.hears(WHOLE)
    w.hears(noise)
    assert w.socket.is_aborted
    assert w.connection.is_open is False


async def test_an_answer_to_head_has_no_body_and_ends_the_connection() -> None:
    w = Wire(calling(to=Destination("HEAD", "http://h/", {}), body=b""))
    w.hears(OK + b"Content-Length: 5\r\n\r\n")
    assert await outcome(w.answer) == (200, b"", None)
    assert w.socket.is_aborted


async def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    w = Wire(owner=Owner(keep_alive_s=0.03))
    w.hears(WHOLE)
    async with asyncio.timeout(1):
        while not w.socket.is_aborted:
            await asyncio.sleep(0.005)
    assert w.owner.gone == [w.connection]


async def test_a_connection_that_is_used_again_and_again_is_not_closed_for_its_age() -> None:
    w = Wire(owner=Owner(keep_alive_s=0.05))
    w.hears(WHOLE)
    for _ in range(8):
        await asyncio.sleep(0.02)
        w.ask()
        w.hears(WHOLE)
    assert w.connection.is_open
    w.connection.drop()


# -- bodies that end with their connection ----------------------------------------------------------------------------


async def test_without_length_or_chunks_the_peer_s_close_is_the_end() -> None:
    w = Wire()
    w.hears(OK + b"\r\nabc", b"def")
    w.ends()
    assert await outcome(w.answer) == (200, b"abcdef", None)


async def test_a_connection_that_breaks_without_a_close_is_no_end() -> None:
    w = Wire()
    w.hears(OK + b"\r\nabc")
    w.connection.connection_lost(ConnectionResetError())
    assert await outcome(w.answer) == (200, b"abc", FailureKind.RESET)


async def test_what_came_before_a_break_is_handed_out_before_it() -> None:
    w = Wire()
    w.hears(CHUNKED + b"3\r\nabc\r\n", b"zz\r\n")
    assert w.socket.is_aborted
    assert await outcome(w.answer) == (200, b"abc", FailureKind.PROTOCOL)


# -- bodies that are wanted whole -----------------------------------------------------------------------------------------

AT_ONCE = calling(stream=False)


async def test_who_waits_for_a_small_answer_is_woken_when_all_of_it_is_here() -> None:
    w = Wire(AT_ONCE)
    waiting = asyncio.ensure_future(head(w.answer))
    for piece in (OK + b"Content-Length: 3\r\n\r\n", b"ab", b"c"):
        await asyncio.sleep(0)
        assert not waiting.done()
        w.hears(piece)
    await waiting
    assert await outcome(w.answer) == (200, b"abc", None)
    w.connection.drop()


@pytest.mark.parametrize("said", [CHUNKED, OK + b"Content-Length: %d\r\n\r\n" % (HIGH_WATER + 1), OK + b"\r\n"])
async def test_who_waits_for_a_large_answer_or_one_that_tells_no_size_is_woken_by_its_head(said: bytes) -> None:
    w = Wire(AT_ONCE)
    waiting = asyncio.ensure_future(head(w.answer))
    await asyncio.sleep(0)
    w.hears(said)
    await asyncio.wait_for(waiting, 1)
    w.connection.drop()


async def test_an_answer_that_breaks_behind_its_head_has_a_head() -> None:
    w = Wire(AT_ONCE)
    waiting = asyncio.ensure_future(head(w.answer))
    await asyncio.sleep(0)
    w.hears(OK + b"Content-Length: 3\r\n\r\na")
    w.ends()
    await asyncio.wait_for(waiting, 1)
    assert w.answer.status == 200
    with pytest.raises(TransportFailure):
        await w.answer.read(100)


# -- after the end ----------------------------------------------------------------------------------------------------


async def test_a_finished_answer_cannot_touch_the_connection_that_serves_another_now() -> None:
    w = Wire()
    w.hears(WHOLE)
    other = w.ask()
    w.hears(CHUNKED)
    w.answer.close()
    assert await w.answer.read(100) == b"abc"
    assert [piece async for piece in pieces_of(w.answer)] == []
    w.hears(b"3\r\nabc\r\n")
    with pytest.raises(TransportFailure):
        await w.answer.read(-1)
    w.answer.close()
    assert w.connection.is_open
    w.hears(b"0\r\n\r\n")
    assert await outcome(other) == (200, b"abc", None)
    assert w.owner.free == [w.connection] * 2
    w.connection.drop()


async def test_an_answer_that_was_closed_tells_its_reader_and_hears_no_more() -> None:
    w = Wire()
    w.hears(CHUNKED)
    reader = asyncio.ensure_future(outcome(w.answer))
    await asyncio.sleep(0)
    w.answer.close()
    w.answer.close()
    assert w.socket.is_aborted
    assert await reader == (200, b"", FailureKind.RESET)


async def test_a_read_that_was_cancelled_leaves_the_body_to_a_reader_of_pieces() -> None:
    w = Wire()
    w.hears(CHUNKED + b"1\r\na\r\n")
    reading = asyncio.ensure_future(w.answer.read(100))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    chunks = pieces_of(w.answer)
    assert await anext(chunks) == b"a"
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    w.hears(b"1\r\nb\r\n")
    assert await waiting == b"b"
    w.connection.drop()


# -- a request that may be sent once more -------------------------------------------------------------------------------


async def test_only_a_reused_connection_that_dies_at_once_and_silently_makes_a_request_stale() -> None:
    w = Wire()
    w.hears(WHOLE)
    again = w.ask()
    w.ends()
    with pytest.raises(Stale):
        await head(again)


async def test_a_first_request_is_never_stale() -> None:
    w = Wire()
    w.ends()
    with pytest.raises(TransportFailure) as caught:
        await head(w.answer)
    assert (type(caught.value), caught.value.kind) == (TransportFailure, FailureKind.RESET)


async def test_one_byte_of_an_answer_and_the_request_is_not_stale() -> None:
    w = Wire()
    w.hears(WHOLE)
    again = w.ask()
    w.hears(b"H")
    w.ends()
    with pytest.raises(TransportFailure) as caught:
        await head(again)
    assert type(caught.value) is TransportFailure


async def test_a_connection_that_dies_late_may_have_died_of_the_request() -> None:
    w = Wire()
    w.hears(WHOLE)
    again = w.ask()
    w.connection._sent_at -= 2.0
    w.ends()
    with pytest.raises(TransportFailure) as caught:
        await head(again)
    assert type(caught.value) is TransportFailure
