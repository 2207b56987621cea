"""Connections between requests: how many, who gets them, in which order; and that nobody who leaves takes one along."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.http1.request import Origin
from router.providers.http1.transport import Http1Transport
from tests.providers.conftest import assert_clean
from tests.providers.hostile import Script, Upstream, says, upstream
from tests.providers.sockets import FakeSocket

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


def get(url: str, *, connect: float = 2.0) -> UpstreamCall:
    return UpstreamCall(Destination("GET", url, {}), b"", False, Timeouts(connect=connect), 5.0)


async def ask(transport: Http1Transport, url: str, **more: float) -> bytes:
    answer = await transport.send(get(url, **more))
    return await answer.read(100)


@asynccontextmanager
async def bounded(total: int, each: int = 100, keep_alive_s: float = 30.0) -> AsyncIterator[Http1Transport]:
    made = Http1Transport(max_connections=total, max_per_origin=each, keep_alive_s=keep_alive_s)
    try:
        yield made
    finally:
        await assert_clean(made)


class Gate:
    """A script that answers when told to."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []
        self.arrived = asyncio.Condition()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        event = asyncio.Event()
        async with self.arrived:
            self.held.append(event)
            self.arrived.notify_all()
        await event.wait()
        writer.write(WHOLE)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(2), self.arrived:
            await self.arrived.wait_for(lambda: len(self.held) >= count)

    def open(self) -> None:
        for event in self.held:
            event.set()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_connection_used_last_is_used_next() -> None:
    gate = Gate()
    async with upstream(gate) as peer, bounded(10) as transport:
        asked = [asyncio.ensure_future(ask(transport, peer.url)) for _ in range(3)]
        await gate.until(3)
        for event in list(gate.held):
            event.set()
            await turns(5)
        await asyncio.gather(*asked)
        line = next(iter(transport._pool._origins.values()))
        oldest, newest = line.idle[0], line.idle[-1]
        taken = line.take()
        assert taken is newest
        assert taken is not None
        line.released(taken)
        assert (line.idle[0], line.idle[-1]) == (oldest, newest)
        assert peer.connections == 3


async def test_no_more_connections_than_the_bound_and_who_came_first_is_served_first() -> None:
    gate, order = Gate(), []

    async def one(transport: Http1Transport, peer: Upstream, number: int) -> None:
        await ask(transport, peer.url)
        order.append(number)

    async with upstream(gate) as peer, bounded(100, each=2) as transport:
        asked = [asyncio.ensure_future(one(transport, peer, number)) for number in range(6)]
        await gate.until(2)
        await turns()
        assert (peer.connections, len(gate.held)) == (2, 2)
        for served in range(6):
            await gate.until(served + 1)
            gate.held[served].set()
        await asyncio.gather(*asked)
        assert order == list(range(6))
        assert peer.connections == 2


async def test_waiting_for_a_connection_ends_with_the_connect_timer() -> None:
    gate = Gate()
    async with upstream(gate) as peer, bounded(100, each=1) as transport:
        first = asyncio.ensure_future(ask(transport, peer.url))
        await gate.until(1)
        with pytest.raises(TransportFailure) as caught:
            await ask(transport, peer.url, connect=0.03)
        assert caught.value.kind is FailureKind.CONNECT_TIMEOUT
        gate.open()
        assert await first == b"abc"


async def test_who_is_cancelled_while_waiting_leaves_the_connection_to_the_next() -> None:
    gate = Gate()
    async with upstream(gate) as peer, bounded(100, each=1) as transport:
        first, second, third = (asyncio.ensure_future(ask(transport, peer.url)) for _ in range(3))
        await gate.until(1)
        second.cancel()
        await asyncio.wait([second])
        gate.open()
        await gate.until(2)
        gate.open()
        assert list(await asyncio.gather(first, third)) == [b"abc"] * 2
        assert peer.connections == 1


@pytest.mark.parametrize("cancelled_first", [False, True])
async def test_a_connection_that_comes_as_its_asker_is_cancelled_goes_to_the_next(cancelled_first: bool) -> None:
    async with upstream(says(WHOLE)) as peer, bounded(100, each=1) as transport:
        await ask(transport, peer.url)
        line = next(iter(transport._pool._origins.values()))
        connection = line.take()
        assert connection is not None
        second, third = (asyncio.ensure_future(line.acquire()) for _ in range(2))
        await turns(2)
        if cancelled_first:
            second.cancel()
        line.released(connection)
        second.cancel()
        assert await third is connection
        assert second.cancelled()
        line.released(connection)
        assert line.idle == [connection]


@pytest.mark.parametrize("cancelled_first", [False, True])
async def test_a_slot_that_comes_as_its_asker_is_cancelled_is_not_lost(cancelled_first: bool) -> None:
    async with upstream(says(WHOLE)) as peer, bounded(1) as transport:
        pool = transport._pool
        line = pool.at(transport._place(get(peer.url).to).line.origin)
        assert await line.acquire() is None
        waiting = asyncio.ensure_future(line.acquire())
        await turns(2)
        if cancelled_first:
            waiting.cancel()
        pool.count(line, -1)
        pool.grant()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (waiting.cancelled(), pool.open) == (True, 0)
        assert await ask(transport, peer.url) == b"abc"


async def test_a_connection_that_ends_while_it_is_dialled_gives_its_slot_back_once() -> None:
    async with bounded(5) as transport:
        line = transport._pool.at(Origin("h", 1, is_tls=False))
        assert await line.acquire() is None
        connection = line.dial()
        connection.connection_made(FakeSocket(connection))
        line.undo(connection)
        assert (transport._pool.open, line.open) == (0, 0)


async def test_who_has_waited_longest_gets_the_slot_whatever_origin_he_waits_for() -> None:
    async with bounded(1) as transport:
        lines = [transport._pool.at(Origin("h", port, is_tls=False)) for port in range(4)]
        assert await lines[0].acquire() is None
        waiting = [asyncio.ensure_future(lines[n].acquire()) for n in (2, 1, 3, 1)]
        for number, waiter in enumerate(waiting):
            await turns(2)
            assert [w.done() for w in waiting] == [n < number for n in range(4)]
            transport._pool.count(lines[(0, 2, 1, 3)[number]], -1)
            transport._pool.grant()
            assert await waiter is None
        transport._pool.count(lines[1], -1)


async def test_a_free_connection_makes_room_for_another_origin() -> None:
    async with upstream(says(WHOLE)) as one, upstream(says(WHOLE)) as other, bounded(1) as transport:
        for _ in range(3):
            assert await ask(transport, one.url) == b"abc"
            assert await ask(transport, other.url) == b"abc"
        assert (one.connections, other.connections) == (3, 3)


async def test_who_waits_for_another_origin_gets_the_slot_of_a_connection_that_becomes_free() -> None:
    gate = Gate()
    async with upstream(gate) as busy, upstream(says(WHOLE)) as other, bounded(2) as transport:
        first = [asyncio.ensure_future(ask(transport, busy.url)) for _ in range(2)]
        await gate.until(2)
        waiting = [asyncio.ensure_future(ask(transport, other.url)) for _ in range(3)]
        await turns()
        assert other.connections == 0
        gate.held[0].set()
        assert await asyncio.gather(*waiting) == [b"abc"] * 3
        gate.open()
        await asyncio.gather(*first)


async def test_a_connection_that_cannot_be_made_gives_its_slot_back() -> None:
    async with upstream(says(WHOLE)) as peer:
        port = urlsplit(peer.url).port
    async with bounded(1) as transport:
        for _ in range(3):
            with pytest.raises(TransportFailure) as caught:
                await ask(transport, f"http://127.0.0.1:{port}/")
            assert caught.value.kind is FailureKind.CONNECT
        async with upstream(says(WHOLE)) as peer:
            assert await ask(transport, peer.url) == b"abc"


async def test_a_connection_that_its_peer_closed_while_idle_is_forgotten() -> None:
    async def answers_and_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE)
        await writer.drain()
        raise ConnectionError

    async with upstream(answers_and_closes) as peer, bounded(10) as transport:
        for _ in range(3):
            assert await ask(transport, peer.url) == b"abc"
            await peer.left.wait()
            async with asyncio.timeout(1):
                while transport._pool.connections:
                    await asyncio.sleep(0.001)
        assert (peer.connections, len(peer.requests)) == (3, 3)


async def test_idle_connections_are_closed_when_their_time_is_over() -> None:
    async with upstream(says(WHOLE)) as peer, bounded(10, keep_alive_s=0.03) as transport:
        await ask(transport, peer.url)
        await asyncio.wait_for(peer.left.wait(), 1)
        assert await ask(transport, peer.url) == b"abc"
        assert peer.connections == 2


async def test_closing_while_somebody_has_just_got_a_slot_counts_to_nothing() -> None:
    async with bounded(1) as transport:
        line = transport._pool.at(Origin("127.0.0.1", 9, is_tls=False))
        assert await line.acquire() is None
        waiting = [asyncio.ensure_future(ask(transport, "http://127.0.0.1:9/")) for _ in range(3)]
        await turns(2)
        transport._pool.count(line, -1)
        transport._pool.grant()
        await transport.close()
        waiting[1].cancel()
        came = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in came] == [TransportFailure, asyncio.CancelledError, TransportFailure]


async def test_closing_while_somebody_who_waits_is_being_cancelled_is_quiet() -> None:
    gate = Gate()
    async with upstream(gate) as peer, bounded(100, each=1) as transport:
        first, second = (asyncio.ensure_future(ask(transport, peer.url)) for _ in range(2))
        await gate.until(1)
        second.cancel()
        await transport.close()
        gate.open()
        came = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(one) for one in came] == [TransportFailure, asyncio.CancelledError]


@pytest.mark.parametrize("script", [says(), says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")], ids=["head", "body"])
async def test_closing_the_transport_ends_what_runs_and_tells_it(script: Script) -> None:
    async with upstream(script) as peer:
        transport = Http1Transport(max_per_origin=1)
        running = asyncio.ensure_future(ask(transport, peer.url))
        waiting = asyncio.ensure_future(ask(transport, peer.url))
        async with asyncio.timeout(1):
            while not peer.requests:
                await asyncio.sleep(0.001)
        await transport.close()
        for one in (running, waiting):
            with pytest.raises(TransportFailure):
                await asyncio.wait_for(one, 1)
        await asyncio.wait_for(peer.left.wait(), 1)
        await assert_clean(transport)


async def test_many_askers_few_connections_some_cancelled_and_nothing_is_lost() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.001)
        writer.write(WHOLE)

    async with upstream(slow) as one, upstream(slow) as other, bounded(5, each=4) as transport:
        urls = [one.url, other.url]
        asked = [asyncio.ensure_future(ask(transport, urls[n % 3 == 0])) for n in range(120)]
        for number, task in enumerate(asked):
            if number % 4 == 3:
                asyncio.get_running_loop().call_later(number / 3000, task.cancel)
        came = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
        assert all(answer == b"abc" for number, answer in enumerate(came) if number % 4 != 3)
        assert all(answer == b"abc" or isinstance(answer, asyncio.CancelledError) for answer in came)
        assert transport._pool.open <= 5
