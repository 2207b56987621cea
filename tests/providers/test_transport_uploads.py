"""Bodies that are sent as they come: framed, held up by a slow provider, given up for an early answer, never sent twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, Upload, UpstreamCall
from tests.providers.hostile import says, says_once, upstream

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
REFUSAL = b"HTTP/1.1 413 Too large\r\nContent-Length: 4\r\n\r\nlong"
PATIENT = Timeouts(connect=1.0, first_byte=5.0, idle=5.0)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Pieces:
    """What is uploaded: the pieces, and then whatever `ending` does. `asked` counts, `is_over` once nobody asks any more."""

    def __init__(self, *pieces: bytes, ending: Callable[[], Awaitable[None]] | None = None) -> None:
        self._pieces = pieces
        self._ending = ending
        self.asked = 0
        self.is_over = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                self.asked += 1
                yield piece
            if self._ending is not None:
                await self._ending()
        finally:
            self.is_over.set()


async def stalls() -> None:
    await asyncio.Event().wait()


def post(
    url: str,
    body: Pieces,
    *,
    length: int | None = None,
    stream: bool = False,
    timeouts: Timeouts = PATIENT,
    total_s: float = 5,
) -> UpstreamCall:
    return UpstreamCall(Destination("POST", url, {"x-a": "b"}), Upload(body, length), stream, timeouts, total_s)


async def ask(transport: Transport, call: UpstreamCall) -> tuple[int, bytes]:
    answer = await transport.send(call)
    try:
        return answer.status, await answer.read(2**20)
    finally:
        answer.close()


async def failure(transport: Transport, call: UpstreamCall) -> FailureKind:
    with pytest.raises(TransportFailure) as caught:
        await asyncio.wait_for(ask(transport, call), 3)
    return caught.value.kind


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """One that looks at the bytes itself; whatever it leaves open is closed."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handler(reader, writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    finally:
        await asyncio.sleep(0.02)  # who has connected and left again may just be arriving
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("pieces", [(), (b"",), (b"ab", b"", b"c"), (b"x" * 200_000, b"y"), (b"z" * 10_000,) * 200])
async def test_a_body_arrives_whole_with_its_length_known_or_not(
    transport: Transport, pieces: tuple[bytes, ...], is_known: bool
) -> None:
    whole = b"".join(pieces)
    async with upstream(says(WHOLE)) as peer:
        for _ in range(2):
            call = post(peer.url, Pieces(*pieces), length=len(whole) if is_known else None)
            assert await ask(transport, call) == (200, b"abc")
        assert peer.connections == 1
    for request in peer.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert body == whole
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
        assert names == {b"host", b"x-a", b"content-length" if is_known else b"transfer-encoding"}


async def test_a_provider_that_is_slow_to_take_it_holds_the_body_up(transport: Transport) -> None:
    go_on = asyncio.Event()
    size, count = 2**16, 800

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        await reader.readexactly(size * count)
        writer.write(WHOLE)

    body = Pieces(*[bytes(size)] * count)
    async with server(handler) as url:
        asking = asyncio.ensure_future(ask(transport, post(url, body, length=size * count)))
        before = -1
        while body.asked != before:  # until the buffers on the way are full
            before = body.asked
            await asyncio.sleep(0.1)
        assert 0 < body.asked < count
        go_on.set()
        assert await asyncio.wait_for(asking, 5) == (200, b"abc")
        assert body.asked == count


@pytest.mark.parametrize("length", [None, 10_000_000])
async def test_an_early_answer_is_delivered_and_stops_the_body_and_ends_the_connection(
    transport: Transport, length: int | None
) -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"first")
        writer.write(REFUSAL)
        await writer.drain()
        while await reader.read(2**16):
            pass

    async with server(handler) as url:
        for _ in range(2):
            body = Pieces(b"first", ending=stalls)
            assert await asyncio.wait_for(ask(transport, post(url, body, length=length)), 3) == (413, b"long")
            await asyncio.wait_for(body.is_over.wait(), 1)
        assert connections == 2


async def test_after_an_early_head_the_body_is_asked_for_no_more(transport: Transport) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(REFUSAL[:-4])
        await writer.drain()

    async with server(handler) as url:
        body = Pieces(b"first", ending=stalls)
        answer = await transport.send(post(url, body))
        assert answer.status == 413
        assert body.is_over.is_set()
        answer.close()


class CallerGone(OSError):
    """What a body may raise."""


@pytest.mark.parametrize("error", [CallerGone("gone"), TimeoutError("slow"), ValueError("odd")])
async def test_what_the_body_raises_is_raised_and_its_connection_is_dropped(transport: Transport, error: Exception) -> None:
    received = bytearray()
    left = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(2**16):
                received.extend(piece)
        except ConnectionError:
            pass
        left.set()

    async def fails() -> None:
        raise error

    async with server(handler) as url:
        with pytest.raises(type(error)) as caught:
            await ask(transport, post(url, Pieces(b"a" * 5, ending=fails)))
        assert caught.value is error
        await asyncio.wait_for(left.wait(), 1)
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("pieces", [(b"abcd",), (b"ab", b"cd", b"ef"), (b"ab",)])
async def test_a_body_that_belies_its_length_is_refused_and_no_byte_too_many_is_sent(
    transport: Transport, pieces: tuple[bytes, ...]
) -> None:
    received = bytearray()
    busy = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy += 1
        try:
            while piece := await reader.read(2**16):
                received.extend(piece)
        except ConnectionError:
            pass
        busy -= 1

    async with server(handler) as url:
        assert await failure(transport, post(url, Pieces(*pieces), length=3)) is FailureKind.PROTOCOL
        async with asyncio.timeout(1):
            while busy:
                await asyncio.sleep(0.001)
    assert len(received.partition(b"\r\n\r\n")[2]) <= 3


async def test_a_body_is_never_sent_again(transport: Transport) -> None:
    """Not even where a reused connection turns out to be dead."""
    async with upstream(says_once(WHOLE)) as peer:
        assert await ask(transport, post(peer.url, Pieces(b"one"))) == (200, b"abc")
        body = Pieces(b"two")
        assert await failure(transport, post(peer.url, body)) is FailureKind.RESET
        assert (len(peer.requests), body.asked) == (2, 1)


async def test_a_provider_that_takes_nothing_is_idle(transport: Transport) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async with server(handler) as url:
        body = Pieces(*[bytes(2**18)] * 200)
        hurried = Timeouts(connect=1.0, first_byte=5.0, idle=0.2)
        assert await failure(transport, post(url, body, timeouts=hurried)) is FailureKind.IDLE_TIMEOUT
        await asyncio.wait_for(body.is_over.wait(), 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_that_stalls_is_cut_at_the_deadline(transport: Transport, stream: bool) -> None:
    hurried = Timeouts(connect=1.0, first_byte=0.05, idle=0.05)
    async with upstream(says(WHOLE)) as peer:
        body = Pieces(b"a", ending=stalls)
        call = post(peer.url, body, stream=stream, timeouts=hurried, total_s=0.2)
        assert await failure(transport, call) is FailureKind.TOTAL_TIMEOUT
        await asyncio.wait_for(body.is_over.wait(), 1)


async def test_a_streams_first_byte_is_due_once_the_body_is_sent(transport: Transport) -> None:
    async def sleeps() -> None:
        await asyncio.sleep(0.3)

    hurried = Timeouts(connect=1.0, first_byte=0.15, idle=5.0)
    async with upstream(says(WHOLE)) as peer:
        call = post(peer.url, Pieces(b"a", ending=sleeps), stream=True, timeouts=hurried)
        assert await ask(transport, call) == (200, b"abc")
    async with upstream(says()) as silent:
        call = post(silent.url, Pieces(b"a", ending=sleeps), stream=True, timeouts=hurried)
        assert await failure(transport, call) is FailureKind.FIRST_BYTE_TIMEOUT


async def test_a_call_cancelled_while_its_body_is_sent_leaves_neither(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        for after in range(0, 40, 3):
            body = Pieces(b"a", ending=stalls)
            sending = asyncio.ensure_future(ask(transport, post(peer.url, body)))
            for _ in range(after):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            assert sending.cancelled()
            assert body.is_over.is_set() or not body.asked
        async with asyncio.timeout(2):
            while peer.open:
                await asyncio.sleep(0.001)
