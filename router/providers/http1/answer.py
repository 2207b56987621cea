"""One answer as its reader sees it. It knows its connection only while the body is still arriving: once the last byte is
here the two part, so that nothing done to a finished answer can reach a connection that serves somebody else by now."""

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Protocol

from router.domain.flow import Take
from router.domain.upstream import FailureKind, TransportFailure, UpstreamCall

HIGH_WATER = 256 * 2**10
_NO_HEADERS: Mapping[str, str] = {}


class Stale(TransportFailure):
    """The connection was closed before the request reached the provider, as far as can be told."""


class Source(Protocol):
    """The connection, to its answer."""

    def arm(self, due: float) -> None:
        """Look at `due_of` no later than at `due`."""
        ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def drop(self) -> None:
        """End the connection now, and say nothing to the answer."""
        ...


class Http1Answer:
    """Implements domain.upstream.UpstreamAnswer; filled by a connection, read by one reader at a time."""

    __slots__ = (
        "status",
        "headers",
        "is_bodiless",
        "source",
        "is_whole",
        "is_stale",
        "head_by",
        "_loop",
        "_until",
        "_idle",
        "_is_awaited_whole",
        "_pieces",
        "_size",
        "_wake_at",
        "_failure",
        "_waiter",
        "_waiting",
        "_taker",
        "_fault",
        "_has_body",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, call: UpstreamCall, started: float) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = _NO_HEADERS
        self.is_bodiless = call.to.method == "HEAD"
        self.source: Source | None = None
        self.is_whole = False
        self.is_stale = False
        self._loop = loop
        self.head_by = self._until = started + call.total_s
        """When the head has been too long in coming: no later than the deadline."""
        self._idle = inf
        self._is_awaited_whole = not call.stream and isinstance(call.body, bytes)
        """Whether one who waits for the head is not woken before the body is here too, if the head tells a small one."""
        # Only a stream has these; another answer waits until the deadline.
        if call.stream:
            self.head_by = min(self._until, started + call.timeouts.first_byte)
            self._idle = call.timeouts.idle
        self._pieces: list[bytes] = []
        self._size = 0
        self._wake_at = 1
        self._failure: tuple[FailureKind, str] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._waiting = 0.0
        self._taker: Take | None = None
        """Who is handed what comes; only while its `pour` waits, and nothing is held."""
        self._fault: Exception | None = None
        self._has_body = False

    # -- the reader -------------------------------------------------------------------------------------------

    def coming(self) -> "asyncio.Future[None]":
        """What to wait for while the head is not here, as `status` tells; to be asked again if it then still is not.

        Raises TransportFailure, of which Stale means that the request may be sent once more.
        """
        if self._failure is not None:
            raise Stale(*self._failure) if self.is_stale else TransportFailure(*self._failure)
        # Nobody asks since when: for a head only its own time counts.
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def read(self, limit: int) -> bytes:
        if not self.is_whole and _length_in(self.headers) <= limit:
            await self._fill(limit)
        if not self.is_whole or self._size > limit:
            self.close()
            raise TransportFailure(FailureKind.TOO_LARGE, f"the answer is over {limit} bytes")
        return self._take()

    async def pour(self, take: Take) -> bytes | None:
        self._wake_at = 1
        while not self.is_whole:
            # What came before a break is handed out before the break is.
            if self._size:
                if not take(self._take()):
                    return None
            elif self._failure is not None:
                raise TransportFailure(*self._failure)
            elif not await self._handed_over(take):
                return None
        return self._take()

    async def _handed_over(self, take: Take) -> bool:
        """Until `take` wants no more, and then False, or no more is to come but the end. Raises what `take` raises."""
        self._taker = take
        try:
            await self._wake_up()
            wants_more = self._taker is not None
        finally:
            self._taker = None
            fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return wants_more

    def close(self) -> None:
        if self.source is not None:
            self.source.drop()
            self.fail(FailureKind.RESET, "the answer was closed before its end")

    async def _fill(self, limit: int) -> None:
        """Until all of the body is here, or too much of it: the reader is woken once."""
        self._wake_at = limit + 1
        try:
            if self.source is not None:
                self.source.resume()
            while self._size <= limit and not self.is_whole:
                if self._failure is not None:
                    raise TransportFailure(*self._failure)
                await self._wake_up()
        finally:
            self._wake_at = 1

    def _take(self) -> bytes:
        pieces, self._size = self._pieces, 0
        if not pieces:
            return b""
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.source is not None:
            self.source.resume()
        return whole

    def _wake_up(self) -> asyncio.Future[None]:
        """What its reader waits for."""
        self._waiting = self._loop.time()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    # -- the connection ---------------------------------------------------------------------------------------

    def due_of(self, now: float) -> tuple[float, FailureKind]:
        """When the wait that is on now has lasted too long, and what that is called.

        While the reader is busy elsewhere (its own caller may be slow) only the deadline counts.
        """
        if not self._has_body:
            if self.head_by < self._until:
                return self.head_by, FailureKind.FIRST_BYTE_TIMEOUT
        else:
            is_waiting = self._waiter is not None and not self._waiter.done()
            idle = (self._waiting if is_waiting else now) + self._idle
            if idle < self._until:
                return idle, FailureKind.IDLE_TIMEOUT
        return self._until, FailureKind.TOTAL_TIMEOUT

    def first_byte_by(self, due: float) -> None:
        """Another time for the head, for a request that takes long to send."""
        self.head_by = min(self._until, due)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """The head is here, and more of the answer is to come."""
        self.status = status
        self.headers = headers
        if self._is_awaited_whole and 0 < _length_in(headers) <= HIGH_WATER:
            self._wake_at = HIGH_WATER + 1
        else:
            self.wake()

    def arrived(self, piece: bytes) -> None:
        """A piece of the body, which is not the last."""
        source = self.source
        if not self._has_body and source is not None:
            self._has_body = True
            source.arm(self._loop.time() + self._idle)
        if self._taker is not None:
            try:
                if self._taker(piece):
                    self._waiting = self._loop.time()
                    return
            except Exception as fault:  # noqa: BLE001  it is the reader's, and raised there
                self._fault = fault
            self._taker = None
            self.wake()
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if source is None:
            return
        if self._size > HIGH_WATER and self._size >= self._wake_at:
            source.pause()
        if self._size >= self._wake_at:
            self.wake()
        else:
            self._waiting = self._loop.time()

    def finish(self, last: bytes) -> None:
        """The body is whole with its `last` piece; the connection is no longer this answer's."""
        self.source = None
        self.is_whole = True
        if last:
            self._pieces.append(last)
            self._size += len(last)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, kind: FailureKind, detail: str = "") -> None:
        """There will be no more; the first reason given stays."""
        self.source = None
        if self._failure is None and not self.is_whole:
            self._failure = kind, detail
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _length_in(headers: Mapping[str, str]) -> int:
    """Of the body as its head tells it; 0 where it does not."""
    return int(headers.get("content-length", 0))
