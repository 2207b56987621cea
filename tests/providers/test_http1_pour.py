"""The body of an answer handed over as it comes: when, to whom, and what becomes of what nobody takes."""

import asyncio

import pytest

from router.domain.upstream import FailureKind, TransportFailure
from router.providers.http1.answer import HIGH_WATER
from tests.providers.sockets import Wire

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Taker:
    """Wants so many pieces."""

    def __init__(self, wanted: int = 100) -> None:
        self.taken: list[bytes] = []
        self._wanted = wanted

    def __call__(self, piece: bytes) -> bool:
        self.taken.append(piece)
        return len(self.taken) < self._wanted


async def test_a_reader_that_was_cancelled_is_followed_by_one_that_misses_nothing() -> None:
    w = Wire()
    w.hears(CHUNKED + b"1\r\na\r\n")
    first = Taker(2)
    waiting = asyncio.ensure_future(w.answer.pour(first))
    await asyncio.sleep(0)
    w.hears(b"1\r\nb\r\n", b"1\r\nc\r\n")
    waiting.cancel()  # what it was woken for has come already
    with pytest.raises(asyncio.CancelledError):
        await waiting
    w.hears(b"1\r\nd\r\n0\r\n\r\n")
    second = Taker()
    assert await w.answer.pour(second) == b"cd"
    assert (first.taken, second.taken) == ([b"a", b"b"], [])
    w.connection.drop()


async def test_what_comes_is_taken_in_the_turn_in_which_it_comes() -> None:
    w = Wire()
    w.hears(CHUNKED)
    taker = Taker()
    pouring = asyncio.ensure_future(w.answer.pour(taker))
    await asyncio.sleep(0)
    for letter in (b"a", b"b"):
        w.hears(b"1\r\n" + letter + b"\r\n")
        assert taker.taken[-1] == letter
    w.hears(b"1\r\nc\r\n0\r\n\r\n")
    assert await pouring == b"c"
    assert taker.taken == [b"a", b"b"]
    w.connection.drop()


async def test_what_a_taker_raises_is_raised_where_it_is_poured_and_the_connection_lives_on() -> None:
    w = Wire()
    w.hears(CHUNKED)

    def take(piece: bytes) -> bool:
        raise LookupError(piece)

    pouring = asyncio.ensure_future(w.answer.pour(take))
    await asyncio.sleep(0)
    w.hears(b"1\r\na\r\n", b"1\r\nb\r\n")
    with pytest.raises(LookupError):
        await pouring
    w.hears(b"0\r\n\r\n")
    assert await w.answer.pour(take) == b"b"
    w.connection.drop()


async def test_a_taker_that_wants_no_more_gets_none_and_what_comes_is_held_within_bounds() -> None:
    w = Wire()
    w.hears(OK + b"Content-Length: %d\r\n\r\n" % (2 * HIGH_WATER))
    taker = Taker(1)
    pouring = asyncio.ensure_future(w.answer.pour(taker))
    await asyncio.sleep(0)
    w.hears(b"x", b"y" * HIGH_WATER)
    assert await pouring is None
    assert taker.taken == [b"x"]
    assert w.listens()
    w.hears(b"y")
    assert not w.listens()
    assert await w.answer.pour(taker) is None
    assert len(taker.taken[-1]) == HIGH_WATER + 1
    assert w.listens()
    w.connection.drop()


async def test_what_came_before_a_break_is_handed_over_before_it_is_raised() -> None:
    w = Wire()
    w.hears(CHUNKED + b"1\r\na\r\n")
    taker = Taker()
    pouring = asyncio.ensure_future(w.answer.pour(taker))
    await asyncio.sleep(0)
    w.hears(b"1\r\nb\r\n")
    w.ends()
    with pytest.raises(TransportFailure) as caught:
        await pouring
    assert (caught.value.kind, taker.taken) == (FailureKind.RESET, [b"a", b"b"])


async def test_a_body_that_is_here_whole_comes_with_its_end_and_nothing_is_handed_over() -> None:
    w = Wire()
    w.hears(CHUNKED + b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n")
    taker = Taker()
    assert await w.answer.pour(taker) == b"ab"
    assert await w.answer.pour(taker) == b""
    assert not taker.taken
    w.connection.drop()
