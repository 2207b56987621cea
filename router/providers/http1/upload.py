"""A body sent as it comes: framed, held up by a provider that is slow to take it, stopped by an answer that comes early."""

import asyncio
from collections.abc import Iterator
from math import inf

from router.domain.upstream import FailureKind, TransportFailure, Upload, UpstreamCall
from router.providers.http1.answer import Http1Answer, Stale
from router.providers.http1.connection import JOINED_BYTES, SLICE_BYTES, Http1Connection

_LAST_CHUNK = b"0\r\n\r\n"


async def upload(body: Upload, connection: Http1Connection, answer: Http1Answer, head: bytes, call: UpstreamCall) -> None:
    """Send a request and its body; returns when the head of the answer is here, with the body sent or not.

    Raises TransportFailure (IDLE_TIMEOUT where the provider takes nothing for `idle`, PROTOCOL where the body belies its
    length), and what the body raises. Stale only where the body was not asked for anything.
    """
    feed = _Feed(body, connection, answer, call)
    answer.first_byte_by(inf)  # it is not due before the request is sent
    connection.send_head(answer, head)
    try:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed.run())
            try:
                while not answer.status:
                    await answer.coming()
            finally:
                feeding.cancel()
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        if isinstance(first, Stale) and feed.is_asked:
            raise TransportFailure(first.kind, first.detail) from None
        raise first from None


class _Feed:
    def __init__(self, body: Upload, connection: Http1Connection, answer: Http1Answer, call: UpstreamCall) -> None:
        self.is_asked = False
        self._body = body
        self._connection = connection
        self._answer = answer
        self._first_byte = call.timeouts.first_byte if call.stream else inf
        self._idle = call.timeouts.idle

    async def run(self) -> None:
        """To the end of the body, or until no more of it is wanted."""
        connection, left = self._connection, self._body.length
        is_chunked = left is None
        self.is_asked = True
        async for piece in self._body.pieces:
            if left is not None:
                left -= len(piece)
                if left < 0:
                    # One byte too many would be the beginning of another request.
                    raise TransportFailure(FailureKind.PROTOCOL, "not sent: the body is longer than its length")
            for framed in _framed(piece, is_chunked=is_chunked):
                connection.write(framed)
                if connection.is_choked:
                    await self._room()
            if not connection.owes_body:
                return
        if left:
            raise TransportFailure(FailureKind.PROTOCOL, "not sent to its end: the body is shorter than its length")
        if is_chunked:
            connection.write(_LAST_CHUNK)
        connection.end_body()
        now = asyncio.get_running_loop().time()
        self._answer.first_byte_by(now + self._first_byte)
        connection.arm(self._answer.head_by)

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(self._idle):
                await self._connection.has_room()
        except TimeoutError:
            raise TransportFailure(FailureKind.IDLE_TIMEOUT, "the provider takes no more of the request") from None


def _framed(piece: bytes, *, is_chunked: bool) -> Iterator[bytes | memoryview]:
    """What is written for a piece. Nothing for an empty one: an empty chunk is the end of a body."""
    if len(piece) < JOINED_BYTES:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
        return
    view = memoryview(piece)
    if is_chunked:
        yield b"%x\r\n" % len(piece)
    for start in range(0, len(view), SLICE_BYTES):
        yield view[start : start + SLICE_BYTES]
    if is_chunked:
        yield b"\r\n"
