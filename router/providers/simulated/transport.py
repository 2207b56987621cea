"""The simulated provider behind the Transport port: in this process, without a socket, with its faults as failures."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from router.domain.flow import Take
from router.domain.ports import Clock, Ids
from router.domain.upstream import FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.simulated.exchange import Ending, Exchange, next_burst
from router.providers.simulated.options import SimulateOptions
from router.providers.simulated.provider import Received, Simulator

Sleep = Callable[[float], Awaitable[None]]


class SimulatedTransport:
    """Implements domain.ports.Transport. Only the path of a call's URL counts; its host is never looked up."""

    def __init__(self, options: SimulateOptions, clock: Clock, ids: Ids, sleep: Sleep = asyncio.sleep) -> None:
        self._simulator = Simulator(options)
        self._clock = clock
        self._ids = ids
        self._sleep = sleep

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        created = self._clock.now_us() // 1_000_000
        headers = {name.lower(): value for name, value in call.headers.items()}
        body = call.body if isinstance(call.body, bytes) else b"".join([piece async for piece in call.body.pieces])
        received = Received(call.to.method, urlsplit(call.to.url).path, headers, body, created)
        exchange = self._simulator.answer(received)
        begun = self._clock.monotonic()
        limit, kind = call.total_s, FailureKind.TOTAL_TIMEOUT
        if call.stream and call.timeouts.first_byte < limit:
            limit, kind = call.timeouts.first_byte, FailureKind.FIRST_BYTE_TIMEOUT
        never_comes = exchange.status == 0 and exchange.ending is Ending.SILENCE
        if never_comes or exchange.head_after > limit:
            await self._sleep(max(limit, 0.0))
            raise TransportFailure(kind, "the simulated provider does not answer")
        if exchange.head_after > 0:
            await self._sleep(exchange.head_after)
        if exchange.status == 0:
            raise TransportFailure(FailureKind.RESET, "the simulated provider reset the connection")
        return _SimulatedAnswer(exchange, call, begun, self._ids.new(), (self._clock, self._sleep))

    async def close(self) -> None:
        """Nothing is held."""


class _SimulatedAnswer:
    """Implements domain.upstream.UpstreamAnswer. `begun` is when the call was sent, on the clock's monotonic scale."""

    def __init__(
        self, exchange: Exchange, call: UpstreamCall, begun: float, request_id: str, time: tuple[Clock, Sleep]
    ) -> None:
        self.status = exchange.status
        self.headers: Mapping[str, str] = head_of(exchange, f"req_{request_id}")
        self._exchange = exchange
        self._clock, self._sleep = time
        self._head_at = self._clock.monotonic()
        self._deadline = begun + call.total_s
        self._idle = call.timeouts.idle if call.stream else float("inf")
        self._is_closed = False
        self._index = 0
        self._burst, self._left = b"", 0
        """What is handed over now, and how often still."""

    async def read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while size <= limit and (chunk := await self._next()):
            parts.append(chunk)
            size += len(chunk)
        if size > limit:
            raise TransportFailure(FailureKind.TOO_LARGE, f"the answer is over {limit} bytes")
        return b"".join(parts)

    async def pour(self, take: Take) -> bytes | None:
        while chunk := await self._next():
            if not take(chunk):
                return None
        return b""

    async def _next(self) -> bytes:
        """The next chunk of the body when it is due, b"" at its end."""
        pieces = self._exchange.pieces
        while not self._left:
            if self._index == len(pieces):
                return await self._ending()
            due = pieces[self._index].at
            await self._wait(due - (self._clock.monotonic() - self._head_at))
            elapsed = max(self._clock.monotonic() - self._head_at, due)
            self._index, burst = next_burst(pieces, self._index, elapsed)
            self._burst, self._left = burst.data, burst.times if burst.data else 0
        self._left -= 1
        return b"" if self._is_closed else self._burst

    async def _ending(self) -> bytes:
        if self._is_closed or self._exchange.ending is Ending.COMPLETE:
            return b""
        if self._exchange.ending is Ending.SILENCE:
            await self._wait(float("inf"))
        raise TransportFailure(FailureKind.RESET, "the simulated provider broke the answer off")

    def close(self) -> None:
        self._is_closed = True

    async def _wait(self, seconds: float) -> None:
        """Wait for what comes next; TransportFailure when a timer runs out before it."""
        if seconds <= 0:
            return
        left = max(self._deadline - self._clock.monotonic(), 0.0)
        if seconds > min(left, self._idle):
            await self._sleep(min(left, self._idle))
            kind = FailureKind.IDLE_TIMEOUT if self._idle < left else FailureKind.TOTAL_TIMEOUT
            raise TransportFailure(kind, "the simulated provider fell silent")
        await self._sleep(seconds)


def head_of(exchange: Exchange, request_id: str) -> dict[str, str]:
    """The answer's headers, names in lower case."""
    return {
        "content-type": exchange.content_type,
        "x-request-id": request_id,
        "openai-version": "2020-10-01",
        "openai-processing-ms": str(round(exchange.head_after * 1000)),
        **dict(exchange.headers),
    }
