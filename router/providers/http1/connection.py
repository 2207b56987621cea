"""One HTTP/1.1 connection to a provider: writes a request, hands on its answer, and is whole again or gone.

After an answer a connection stays only if everything it has seen is accounted for: the answer was framed by length or
chunks, nothing followed it, the request had been written to its end, and nobody said `close`. Otherwise it is dropped.
"""

import asyncio
from math import inf
from typing import Protocol, cast

from router.domain.upstream import FailureKind
from router.providers.http1.answer import Http1Answer
from router.providers.http1.parser import AnswerParser

JOINED_BYTES = 64 * 2**10
SLICE_BYTES = 256 * 2**10
STALE_WITHIN_S = 1.0
"""A reused connection that dies this soon, and before any byte of an answer, had been closed before the request reached
its peer. One that dies later may have died of the request, which then may have been carried out."""

_TIMER_SLACK_S = 0.001  # uvloop's timers count milliseconds


class Owner(Protocol):
    """Where connections live between answers."""

    keep_alive_s: float

    def released(self, connection: "Http1Connection") -> None:
        """It may be used again."""
        ...

    def lost(self, connection: "Http1Connection") -> None:
        """It is closed; may be said twice."""
        ...


class Http1Connection(asyncio.Protocol):
    """Idle, or busy with one answer.

    One timer serves its whole life. It is only ever moved to fire earlier, and when it fires it asks what is due; so a
    request that ends in time costs no timer.
    """

    __slots__ = (
        "is_open",
        "served",
        "idle_since",
        "_loop",
        "_owner",
        "_transport",
        "_parser",
        "_answer",
        "_sent_at",
        "_has_bytes",
        "_unsent",
        "owes_body",
        "is_choked",
        "_room",
        "_is_paused",
        "_timer",
        "_timer_at",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self.is_open = False
        self.served = 0
        self.idle_since = 0.0
        self._loop = loop
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = AnswerParser()
        self._answer: Http1Answer | None = None
        self._sent_at = 0.0
        self._has_bytes = False
        self._unsent: memoryview | None = None
        self.owes_body = False
        """Whether the body that `send_head` has announced is wanted, and not yet at its end."""
        self.is_choked = False
        self._room: asyncio.Future[None] | None = None
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    # -- life -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        answer = self._answer
        self._let_go()
        self._transport = None
        self._parser.stop()
        if answer is not None:
            passed = self._loop.time() - self._sent_at
            answer.is_stale = self.served > 0 and not self._has_bytes and passed < STALE_WITHIN_S
            answer.fail(FailureKind.RESET, _why_lost(exc, has_bytes=self._has_bytes))
        self._owner.lost(self)

    def rest(self) -> None:
        """Be idle from now on, until it is used again or has been idle for too long."""
        self.idle_since = self._loop.time()
        due = self.idle_since + self._owner.keep_alive_s
        if due < self._timer_at:
            self.arm(due)

    def drop(self) -> None:
        """End the connection now, and say nothing to the answer."""
        self._let_go()
        if self._transport is not None:
            self._transport.abort()

    def break_off(self, kind: FailureKind, detail: str = "") -> None:
        """End the connection now, and tell the answer why."""
        answer = self._answer
        self.drop()
        if answer is not None:
            answer.fail(kind, detail)

    def _let_go(self) -> None:
        self.is_open = False
        self._answer = self._unsent = None
        self.owes_body = False
        self._tell_room()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = inf

    # -- the request ------------------------------------------------------------------------------------------

    def send(self, answer: Http1Answer, head: bytes, body: bytes) -> None:
        """Write a request; what comes back goes to `answer`. Only for a connection that is open and idle."""
        transport = self._transport
        if transport is None or self._answer is not None:
            raise RuntimeError("a request on a connection that is not idle")
        self._answer = answer
        answer.source = self
        self._has_bytes = False
        self._parser.expect(bodiless=answer.is_bodiless)
        self._sent_at = self._loop.time()
        if answer.head_by < self._timer_at:
            self.arm(answer.head_by)
        if len(body) < JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            self._unsent = memoryview(body)
            self._write_on()

    def send_head(self, answer: Http1Answer, head: bytes) -> None:
        """Write the head of a request whose body follows by `write`, until `end_body`."""
        self.send(answer, head, b"")
        self.owes_body = True

    def write(self, data: bytes | memoryview) -> None:
        """More of the body, as framed as it is to be. Nothing where no more is wanted."""
        if self.owes_body and self._transport is not None:
            self._transport.write(data)

    def end_body(self) -> None:
        self.owes_body = False

    async def has_room(self) -> None:
        """Until the socket takes more of the body, or nothing more of it is wanted."""
        while self.is_choked and self.owes_body:
            self._room = self._loop.create_future()
            await self._room

    def _tell_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _write_on(self) -> None:
        """As much of a large body as the socket takes, in views: it is not copied here."""
        while self._unsent and not self.is_choked and self._transport is not None:
            piece, self._unsent = self._unsent[:SLICE_BYTES], self._unsent[SLICE_BYTES:]
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self.is_choked = True

    def resume_writing(self) -> None:
        self.is_choked = False
        self._write_on()
        self._tell_room()

    # -- the answer -------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None:
            # A server does not speak unasked: whatever this is, no later request may take it for its answer.
            self.drop()
            return
        self._has_bytes = True
        complaint = parser.feed(data)
        if parser.status:
            piece = b""
            if pieces := parser.pieces:
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
            if parser.is_whole:
                answer.status, answer.headers = parser.status, parser.headers
                self._end(answer, piece, may_stay=parser.keeps_alive and not complaint)
                return
            if not answer.status:
                answer.begin(parser.status, parser.headers)
            if piece:
                answer.arrived(piece)
        if complaint:
            self.break_off(FailureKind.PROTOCOL, complaint)

    def eof_received(self) -> None:
        """The peer has said its last. Over TLS uvloop asks for its close_notify; asyncio's own loop does not."""
        self.is_open = False
        answer = self._answer
        if answer is not None and self._parser.ends_by_close:
            self._end(answer, b"", may_stay=False)

    def _end(self, answer: Http1Answer, last: bytes, *, may_stay: bool) -> None:
        """The answer is whole with its last piece: part from it, then stay or go."""
        self._answer = None
        answer.finish(last)
        if may_stay and self.is_open and not (self._unsent or self.is_choked or self.owes_body):
            self.served += 1
            if self._is_paused:
                self.resume()
            self._owner.released(self)
        else:
            self.drop()

    def pause(self) -> None:
        """Read no more until `resume`: the answer's reader is slow."""
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    # -- time -------------------------------------------------------------------------------------------------

    def arm(self, due: float) -> None:
        """Ask what is due at `due`, if nothing asks before."""
        if due < self._timer_at and self.is_open:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, inf
        now = self._loop.time() + _TIMER_SLACK_S
        answer = self._answer
        if answer is None:
            due = self.idle_since + self._owner.keep_alive_s
            if now >= due:
                self.drop()
        else:
            due, kind = answer.due_of(now)
            if now >= due:
                self.break_off(kind)
        self.arm(due)


def _why_lost(exc: Exception | None, *, has_bytes: bool) -> str:
    place = "in the middle of its answer" if has_bytes else "before any answer"
    return f"the provider closed the connection {place}" + (f": {type(exc).__name__}" if exc is not None else "")
