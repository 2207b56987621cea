"""The simulated provider behind the Transport port: bytes, pace and failures, on a clock that the test moves."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.domain.flow import pieces_of
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.simulated.options import parse_options
from router.providers.simulated.transport import SimulatedTransport
from tests.providers.simulation import AT_ONCE, chat


class HandClock:
    """Time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now_us(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class CountedIds:
    def __init__(self) -> None:
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def draw(self) -> float:
        return 0.0


CLOCK_START = 100.0
TIMEOUTS = Timeouts(first_byte=2.0, idle=3.0)


def transport(clock: HandClock, **settings: object) -> SimulatedTransport:
    return SimulatedTransport(parse_options(AT_ONCE | settings), clock, CountedIds(), clock.sleep)


def call(order: str = "", *, stream: bool = True, total_s: float = 60.0, **fields: Any) -> UpstreamCall:
    body = json.dumps(chat(stream=stream, metadata={"simulate": order or "none"}, **fields)).encode()
    url = "http://simulated.invalid/v1/chat/completions"
    return UpstreamCall(Destination("POST", url, {"Content-Type": "application/json"}), body, stream, TIMEOUTS, total_s)


async def drained(chunks: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in chunks]


async def failure_of(answer: UpstreamAnswer, into: list[bytes]) -> FailureKind:
    """How the body breaks off; what came before is added to `into`."""
    try:
        async for chunk in pieces_of(answer):
            into.append(chunk)  # noqa: PERF401  # a comprehension would lose what came before the failure
    except TransportFailure as failure:
        return failure.kind
    pytest.fail("the body ended well")


async def test_answer_has_its_head_and_body() -> None:
    answer = await transport(HandClock()).send(call(stream=False))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "req_" + f"{1:032x}"
    assert json.loads(await answer.read(100_000))["created"] == CLOCK_START
    answer.close()


async def test_body_over_the_limit_is_refused() -> None:
    answer = await transport(HandClock()).send(call(stream=False))
    with pytest.raises(TransportFailure) as caught:
        await answer.read(10)
    assert caught.value.kind is FailureKind.TOO_LARGE


async def test_without_a_pace_the_stream_is_one_chunk() -> None:
    answer = await transport(HandClock()).send(call())
    (chunk,) = await drained(pieces_of(answer))
    assert chunk.endswith(b"data: [DONE]\n\n")


async def test_paced_stream_takes_its_time_and_the_same_bytes() -> None:
    clock = HandClock()
    whole = await drained(pieces_of(await transport(HandClock()).send(call("output_tokens=10"))))
    answer = await transport(clock).send(call("output_tokens=10;tokens_per_second=10;latency=0.5;first_token=1"))
    assert clock.seconds == CLOCK_START + 0.5
    chunks = await drained(pieces_of(answer))
    assert b"".join(chunks) == whole[0]
    assert 11 <= len(chunks) <= 12
    assert clock.seconds == pytest.approx(CLOCK_START + 0.5 + 1 + 1.0)


@pytest.mark.parametrize(
    ("order", "stream", "total_s", "kind", "after_s"),
    [
        ("reset", True, 60, FailureKind.RESET, 0),
        ("timeout", True, 60, FailureKind.FIRST_BYTE_TIMEOUT, 2),
        ("timeout", True, 1, FailureKind.TOTAL_TIMEOUT, 1),
        ("timeout", False, 60, FailureKind.TOTAL_TIMEOUT, 60),
        ("slow_headers;delay=5", True, 60, FailureKind.FIRST_BYTE_TIMEOUT, 2),
        ("slow_headers;delay=90", False, 60, FailureKind.TOTAL_TIMEOUT, 60),
    ],
)
async def test_no_head_fails_in_time(order: str, stream: bool, total_s: float, kind: FailureKind, after_s: float) -> None:
    clock = HandClock()
    with pytest.raises(TransportFailure) as caught:
        await transport(clock).send(call(order, stream=stream, total_s=total_s))
    assert (caught.value.kind, clock.seconds - CLOCK_START) == (kind, after_s)


@pytest.mark.parametrize(
    ("order", "total_s", "kind", "after_s"),
    [
        ("silence;after_events=2", 60, FailureKind.IDLE_TIMEOUT, 3),
        ("silence;after_events=2", 1, FailureKind.TOTAL_TIMEOUT, 1),
        ("reset;after_events=2", 60, FailureKind.RESET, 0),
        ("cut_stream;after_events=2", 60, FailureKind.RESET, 0),
        ("tokens_per_second=0.1", 60, FailureKind.IDLE_TIMEOUT, 3),
    ],
)
async def test_broken_bodies_fail_in_time(order: str, total_s: float, kind: FailureKind, after_s: float) -> None:
    clock = HandClock()
    answer = await transport(clock).send(call(order, total_s=total_s))
    chunks: list[bytes] = []
    assert await failure_of(answer, chunks) is kind
    assert b"".join(chunks).count(b"\n\n") == 2
    assert clock.seconds - CLOCK_START == pytest.approx(after_s)


async def test_json_answer_may_be_silent_until_total() -> None:
    clock = HandClock()
    answer = await transport(clock).send(call("silence", stream=False))
    with pytest.raises(TransportFailure) as caught:
        await answer.read(100_000)
    assert (caught.value.kind, clock.seconds - CLOCK_START) == (FailureKind.TOTAL_TIMEOUT, 60)


async def test_closed_answer_gives_nothing_more() -> None:
    answer = await transport(HandClock()).send(call("tokens_per_second=10"))
    chunks = pieces_of(answer)
    await anext(chunks)
    answer.close()
    assert await drained(chunks) == []


async def test_models_are_listed() -> None:
    probe = UpstreamCall(Destination("GET", "http://simulated.invalid/v1/models", {}), b"", False, TIMEOUTS, 5.0)
    answer = await transport(HandClock(), models=["a"]).send(probe)
    assert [model["id"] for model in json.loads(await answer.read(10_000))["data"]] == ["a"]
