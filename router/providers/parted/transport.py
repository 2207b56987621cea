"""Sends a call in parts: as many at once as is polite, each its own HTTP request, and one answer for all of them."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

import msgspec

from router.domain.flow import Take, pieces_of
from router.domain.ports import Transport
from router.domain.upstream import (
    NEVER_SENT,
    Answered,
    FailureKind,
    Parts,
    TransportFailure,
    UpstreamAnswer,
    UpstreamCall,
)

AT_ONCE = 4
"""Calls of one request under way at a time."""

MOST_BYTES = 256 * 2**20
"""Of all answers together."""

_MOST_REFUSAL_BYTES = 2**20
_JSON = {"content-type": "application/json"}


class PartsTransport:
    """Wraps a provider's transport. A call without parts is none of its business."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def send(self, call: UpstreamCall) -> Coroutine[Any, Any, UpstreamAnswer]:
        """An answer with an empty body once every part has one, which `call.parts` holds then; else the first refusal as it
        is. Raises the first TransportFailure. What is under way then is waited for: it is paid for, and its count is known.
        """
        return self._inner.send(call) if call.parts is None else self._send(call, call.parts)

    async def close(self) -> None:
        await self._inner.close()

    async def _send(self, call: UpstreamCall, parts: Parts) -> UpstreamAnswer:
        sending = _Sending(self._inner, call, parts)
        try:
            async with asyncio.timeout(call.total_s):
                await sending.run()
        except TimeoutError:
            raise TransportFailure(FailureKind.TOTAL_TIMEOUT, "not every part was answered in time") from None
        if sending.failure is not None:
            raise sending.failure
        return sending.refusal or WholeAnswer(200, _head_of(parts), b"")


class WholeAnswer:
    """An answer that has been read."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def read(self, limit: int) -> bytes:
        return self._body

    async def pour(self, take: Take) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """There is no connection any more."""


class _Sending:
    """The parts of one call on their way. After the first that fails no other is begun."""

    def __init__(self, transport: Transport, call: UpstreamCall, parts: Parts) -> None:
        self.refusal: WholeAnswer | None = None
        self.failure: TransportFailure | None = None
        self._transport = transport
        self._call = call
        self._parts = parts
        self._left = MOST_BYTES
        self._coming: Iterator[tuple[int, bytes]] = enumerate(parts.bodies)

    async def run(self) -> None:
        lanes = min(AT_ONCE, len(self._parts.bodies))
        if lanes == 1:
            await self._work()
        else:
            ends = await asyncio.gather(*(self._work() for _ in range(lanes)), return_exceptions=True)
            for error in filter(None, ends):
                raise error

    async def _work(self) -> None:
        for number, body in self._coming:
            await self._ask(number, body)
            if self.refusal is not None or self.failure is not None:
                return

    async def _ask(self, number: int, body: bytes) -> None:
        unanswered = self._parts.unanswered
        unanswered.add(number)
        call = msgspec.structs.replace(self._call, body=body, parts=None, stream=False)
        try:
            answer = await self._transport.send(call)
        except TransportFailure as failure:
            if failure.kind in NEVER_SENT:
                unanswered.discard(number)
            self.failure = self.failure or failure
            return
        try:
            if not 200 <= answer.status < 300:
                unanswered.discard(number)
                refusal = WholeAnswer(answer.status, answer.headers, await _beginning(answer))
                self.refusal = self.refusal or refusal
                return
            whole = await answer.read(self._left)
        except TransportFailure as failure:
            self.failure = self.failure or failure
            return
        finally:
            answer.close()
        self._left -= len(whole)
        unanswered.discard(number)
        self._parts.answered[number] = Answered(whole, answer.headers)


def _head_of(parts: Parts) -> Mapping[str, str]:
    """The first part's, as it is told who asks: the provider's id of the request among them."""
    return {**parts.answered[0].headers, **_JSON} if parts.answered else _JSON


async def _beginning(answer: UpstreamAnswer) -> bytes:
    size, pieces = 0, []
    async for piece in pieces_of(answer):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_REFUSAL_BYTES:
            break
    return b"".join(pieces)
