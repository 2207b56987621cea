"""The lean transport over real sockets: what it does that the port leaves open, and what only a network shows."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from statistics import median

import pytest

from router.domain.flow import pieces_of
from router.domain.routes import Timeouts
from router.domain.upstream import NEVER_SENT, Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.http1.connection import Http1Connection
from router.providers.http1.transport import Http1Transport
from tests.providers.conftest import assert_clean
from tests.providers.hostile import Script, says, upstream

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 4\r\n\r\ngood"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SHORT = Timeouts(connect=1.0, first_byte=0.1, idle=0.1)


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    made = Http1Transport()
    yield made
    await assert_clean(made)


def post(url: str, *, body: bytes = b"{}", stream: bool = False, total_s: float = 5.0, connect: float = 1.0) -> UpstreamCall:
    return UpstreamCall(Destination("POST", url, {"x-a": "b"}), body, stream, Timeouts(connect=connect), total_s)


async def ask(transport: Http1Transport, call: UpstreamCall) -> tuple[int, bytes]:
    answer = await transport.send(call)
    try:
        return answer.status, await answer.read(2**20)
    finally:
        answer.close()


def only_connection(transport: Http1Transport) -> Http1Connection:
    (connection,) = transport._pool.connections
    return connection


class Dying:
    """Answers, and then lets every connection that has answered before die of its next request; others live."""

    def __init__(self, *, first_words: bytes = b"") -> None:
        self._seen: set[asyncio.StreamWriter] = set()
        self._first_words = first_words

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer in self._seen:
            writer.write(self._first_words)
            await writer.drain()
            raise ConnectionError
        self._seen.add(writer)
        await asyncio.sleep(0.01)
        writer.write(WHOLE)


# -- a connection that has died while it was idle ----------------------------------------------------------------------


async def test_a_request_on_a_connection_that_was_dead_already_is_sent_once_more(transport: Http1Transport) -> None:
    async with upstream(Dying()) as peer:
        for _ in range(3):
            assert await ask(transport, post(peer.url)) == (200, b"good")
        # The first; the second in vain and again; the third, on the connection of the second, likewise.
        assert (len(peer.requests), peer.connections) == (5, 3)


async def test_the_other_idle_connections_are_not_tried_after_one_was_dead(transport: Http1Transport) -> None:
    async with upstream(Dying()) as peer:
        await asyncio.gather(*[ask(transport, post(peer.url)) for _ in range(4)])
        assert peer.connections == 4
        assert await ask(transport, post(peer.url)) == (200, b"good")
        assert (len(peer.requests), peer.connections) == (6, 5)
        assert len(transport._pool.connections) == 1


async def test_after_one_byte_of_an_answer_nothing_is_sent_again(transport: Http1Transport) -> None:
    async with upstream(Dying(first_words=b"H")) as peer:
        assert await ask(transport, post(peer.url)) == (200, b"good")
        with pytest.raises(TransportFailure) as caught:
            await ask(transport, post(peer.url))
        assert (caught.value.kind, len(peer.requests)) == (FailureKind.RESET, 2)


# -- what is nobody's answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
async def test_what_follows_an_answer_is_never_the_answer_to_another_request(transport: Http1Transport, rest: bytes) -> None:
    first = True

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        writer.write(OK + b"Content-Length: 4\r\n\r\ngood" + (rest if first else b""))
        first = False

    async with upstream(script) as peer:
        for _ in range(3):
            assert await ask(transport, post(peer.url)) == (200, b"good")
        assert peer.connections == 2


@pytest.mark.parametrize("noise", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate", b"x"])
async def test_what_a_server_says_unasked_is_never_an_answer(transport: Http1Transport, noise: bytes) -> None:
    said = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 4\r\n\r\ngood")
        if not said.is_set():
            await asyncio.sleep(0.01)
            writer.write(noise)
            await writer.drain()
            said.set()

    async with upstream(script) as peer:
        assert await ask(transport, post(peer.url)) == (200, b"good")
        await said.wait()
        await asyncio.sleep(0.01)
        assert await ask(transport, post(peer.url)) == (200, b"good")
        assert peer.connections == 2


# -- bodies of requests ---------------------------------------------------------------------------------------------------


async def test_an_answer_may_come_before_the_request_is_written(transport: Http1Transport) -> None:
    done = asyncio.Event()

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 4\r\n\r\nlong")
        await done.wait()
        writer.transport.abort()

    server = await asyncio.start_server(refuses, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    assert await ask(transport, post(url, body=b"x" * 30_000_000)) == (413, b"long")
    assert [line.idle for line in transport._pool._origins.values()] == [[]]
    done.set()
    server.close()


@pytest.mark.parametrize("size", [10, 65_535, 65_536, 300_000, 9_000_000])
async def test_bodies_of_all_sizes_arrive_and_never_wait_for_an_acknowledgement(
    transport: Http1Transport, size: int
) -> None:
    async with upstream(says(WHOLE)) as peer:
        passed = []
        for _ in range(5):
            began = asyncio.get_running_loop().time()
            assert await ask(transport, post(peer.url, body=os.urandom(4) * (size // 4))) == (200, b"good")
            passed.append(asyncio.get_running_loop().time() - began)
        assert all(len(request.partition(b"\r\n\r\n")[2]) == size // 4 * 4 for request in peer.requests)
        assert peer.connections == 1
    # Held up by Nagle and a delayed acknowledgement each would take 40 ms.
    assert median(passed) < 0.035 or size > 1_000_000


async def test_a_stream_of_small_pieces_is_not_held_up(transport: Http1Transport) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0)

    async with upstream(script) as peer:
        await ask(transport, post(peer.url))
        passed = []
        for _ in range(5):
            began = asyncio.get_running_loop().time()
            assert await ask(transport, post(peer.url, stream=True)) == (200, b"ab")
            passed.append(asyncio.get_running_loop().time() - began)
        assert median(passed) < 0.035
        inner = only_connection(transport)._transport
        assert inner is not None
        assert inner.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- time and cancellation ------------------------------------------------------------------------------------------------


async def test_a_deadline_that_passes_while_nobody_reads_ends_the_connection_and_keeps_what_came(
    transport: Http1Transport,
) -> None:
    async with upstream(says(CHUNKED, b"4\r\ngood\r\n")) as peer:
        answer = await transport.send(post(peer.url, stream=True, total_s=0.1))
        await asyncio.wait_for(peer.left.wait(), 1)
        chunks = pieces_of(answer)
        assert await anext(chunks) == b"good"
        with pytest.raises(TransportFailure) as caught:
            await anext(chunks)
        assert caught.value.kind is FailureKind.TOTAL_TIMEOUT


async def test_a_deadline_that_passes_while_connecting_counts_as_never_sent(transport: Http1Transport) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(2)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    await asyncio.sleep(0.02)
    with pytest.raises(TransportFailure) as caught:
        await ask(transport, post(f"http://127.0.0.1:{listener.getsockname()[1]}/", total_s=0.05))
    assert caught.value.kind in NEVER_SENT
    for one in (listener, *fillers):
        one.close()


@pytest.mark.parametrize("script", [says(), says(CHUNKED), says(CHUNKED, b"4\r\ngood\r\n")], ids=["sent", "head", "body"])
async def test_a_call_cancelled_at_any_await_leaves_no_connection(transport: Http1Transport, script: Script) -> None:
    async with upstream(script) as peer:
        for after in range(12):
            call = asyncio.ensure_future(ask(transport, post(peer.url)))
            for _ in range(after):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
        async with asyncio.timeout(2):
            while transport._pool.connections or peer.open:
                await asyncio.sleep(0.001)


async def test_timers_of_calls_that_ended_are_gone(transport: Http1Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        for _ in range(20):
            await ask(transport, post(peer.url))
        connection = only_connection(transport)
        assert connection._timer is not None  # the one of a connection: now it watches how long it is idle
        assert connection._timer_at <= asyncio.get_running_loop().time() + 30.0


async def test_headers_of_a_call_alone_are_sent_in_the_place_of_the_shared_ones(transport: Http1Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        to = Destination("POST", peer.url, {"x-a": "shared", "x-b": "b"})
        for own in ({}, {"x-c": "1"}, {"x-a": "own"}, {"x-c": "2"}):
            await ask(transport, UpstreamCall(to, b"{}", False, SHORT, 5.0, own))
        heads = [request.partition(b"\r\n\r\n")[0].split(b"\r\n") for request in peer.requests]
        told = [sorted(line for line in head if line.startswith(b"x-")) for head in heads]
        shared = [b"x-a: shared", b"x-b: b"]
        assert told == [shared, [*shared, b"x-c: 1"], [b"x-a: own", b"x-b: b"], [*shared, b"x-c: 2"]]


# -- what is not sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"x": "a\nb"}, {"a b": "c"}, {"host": "evil"}, {"transfer-encoding": "chunked"}])
async def test_a_request_that_cannot_be_written_opens_no_connection(
    transport: Http1Transport, headers: dict[str, str]
) -> None:
    async with upstream(says(WHOLE)) as peer:
        with pytest.raises(TransportFailure) as caught:
            await transport.send(UpstreamCall(Destination("POST", peer.url, headers), b"{}", False, SHORT, 5.0))
        assert caught.value.kind is FailureKind.PROTOCOL
        assert peer.connections == 0


async def test_a_compressed_answer_is_refused_and_its_connection_dropped_at_once(transport: Http1Transport) -> None:
    async with upstream(says(CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n")) as peer:
        with pytest.raises(TransportFailure, match="gzip") as caught:
            await transport.send(post(peer.url, stream=True))
        assert caught.value.kind is FailureKind.PROTOCOL
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not transport._pool.connections


async def test_head_is_answered_by_a_head(transport: Http1Transport) -> None:
    async with upstream(says(OK + b"Content-Length: 4\r\n\r\n")) as peer:
        for _ in range(2):
            answer = await transport.send(UpstreamCall(Destination("HEAD", peer.url, {}), b"", False, SHORT, 5.0))
            assert (answer.status, await answer.read(10)) == (200, b"")
        assert peer.connections == 2
