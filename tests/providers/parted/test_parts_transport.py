"""A call in parts: how many at once, what is noted of each, and what one failure makes of the whole."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from router.domain.flow import Take, pieces_of
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, Parts, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.parted.transport import AT_ONCE, PartsTransport


class Echo:
    """An answer whose body is the part's, in a wrapper."""

    def __init__(self, body: bytes, status: int = 200, failure: FailureKind | None = None) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json", "x-request-id": body.decode()}
        self._body = body
        self._failure = failure
        self.closed = 0

    async def read(self, limit: int) -> bytes:
        if self._failure is not None:
            raise TransportFailure(self._failure)
        return b"<" + self._body + b">"

    async def pour(self, take: Take) -> bytes:
        return await self.read(0)

    def close(self) -> None:
        self.closed += 1


Answering = Callable[[bytes], Echo | TransportFailure]


class Network:
    """Answers each part after the loop has turned a few times; notes how many were under way."""

    def __init__(self, answering: Answering = Echo, *, gate: asyncio.Event | None = None) -> None:
        self._answering = answering
        self._gate = gate
        self.bodies: list[bytes] = []
        self.given: list[Echo] = []
        self.under_way = self.most = 0

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        assert isinstance(call.body, bytes) and call.parts is None
        self.bodies.append(call.body)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self._gate is not None:
                await self._gate.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        answer = self._answering(call.body)
        if isinstance(answer, TransportFailure):
            raise answer
        self.given.append(answer)
        return answer

    async def close(self) -> None: ...


def call(parts: Parts | None, total_s: float = 9.0) -> UpstreamCall:
    body = b"whole" if parts is None else parts.bodies[0]
    return UpstreamCall(Destination("POST", "http://p/x", {}), body, False, Timeouts(), total_s, parts=parts)


def numbered(count: int) -> Parts:
    return Parts(tuple(b"%d" % number for number in range(count)))


async def test_every_part_is_asked_and_a_few_at_once() -> None:
    network, parts = Network(), numbered(25)
    answer = await PartsTransport(network).send(call(parts))
    assert (answer.status, await answer.read(0), answer.headers["x-request-id"]) == (200, b"", "0")
    assert network.most == AT_ONCE
    assert sorted(network.bodies) == sorted(parts.bodies)
    assert [parts.answered[number].body for number in range(25)] == [b"<%d>" % number for number in range(25)]
    assert not parts.unanswered
    assert all(given.closed == 1 for given in network.given)


async def test_a_call_without_parts_goes_as_it_is() -> None:
    network = Network()
    answer = await PartsTransport(network).send(call(None))
    assert await answer.read(99) == b"<whole>"


async def test_the_first_refusal_is_the_answer_and_nothing_more_is_begun() -> None:
    def refusing(body: bytes) -> Echo:
        return Echo(body, 429 if body == b"1" else 200)

    network, parts = Network(refusing), numbered(50)
    answer = await PartsTransport(network).send(call(parts))
    assert (answer.status, b"".join([chunk async for chunk in pieces_of(answer)])) == (429, b"<1>")
    assert len(network.bodies) <= 2 * AT_ONCE
    assert sorted([*parts.answered, 1]) == sorted(map(int, network.bodies))
    assert not parts.unanswered


@pytest.mark.parametrize(("kind", "may_have_been_seen"), [(FailureKind.RESET, True), (FailureKind.CONNECT, False)])
async def test_a_part_that_is_lost_is_noted_only_if_it_was_seen(kind: FailureKind, may_have_been_seen: bool) -> None:
    def losing(body: bytes) -> Echo | TransportFailure:
        return TransportFailure(kind) if body == b"2" else Echo(body)

    parts = numbered(9)
    with pytest.raises(TransportFailure) as lost:
        await PartsTransport(Network(losing)).send(call(parts))
    assert lost.value.kind is kind
    assert parts.unanswered == ({2} if may_have_been_seen else set())
    assert 2 not in parts.answered and 0 in parts.answered


async def test_an_answer_that_breaks_is_noted_as_sent() -> None:
    network = Network(lambda body: Echo(body, failure=FailureKind.RESET))
    parts = numbered(1)
    with pytest.raises(TransportFailure):
        await PartsTransport(network).send(call(parts))
    assert parts.unanswered == {0}
    assert network.given[0].closed == 1


async def test_the_time_is_that_of_the_whole_call() -> None:
    network, parts = Network(gate=asyncio.Event()), numbered(9)
    with pytest.raises(TransportFailure) as late:
        await PartsTransport(network).send(call(parts, total_s=0.01))
    assert late.value.kind is FailureKind.TOTAL_TIMEOUT
    assert network.under_way == 0
    assert len(parts.unanswered) == AT_ONCE


async def test_a_caller_who_leaves_ends_every_part() -> None:
    network, parts = Network(gate=asyncio.Event()), numbered(9)
    asking = asyncio.ensure_future(PartsTransport(network).send(call(parts)))
    while len(network.bodies) < AT_ONCE:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert network.under_way == 0
    assert len(network.bodies) == AT_ONCE == len(parts.unanswered)


async def test_an_error_that_is_not_the_network_s_is_raised_when_all_have_ended() -> None:
    def failing(body: bytes) -> Echo:
        if body == b"0":
            raise LookupError
        return Echo(body)

    network = Network(failing)
    with pytest.raises(LookupError):
        await PartsTransport(network).send(call(numbered(9)))
    assert network.under_way == 0
