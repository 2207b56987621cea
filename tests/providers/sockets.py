"""A socket that is none: what a connection does to it is remembered, what it hears is played by the test."""

import asyncio

import msgspec

from router.domain.flow import pieces_of
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.http1.answer import Http1Answer
from router.providers.http1.connection import Http1Connection

CALL = UpstreamCall(Destination("POST", "http://h/", {}), b"{}", True, Timeouts(first_byte=5.0, idle=5.0), 30.0)


def calling(**changes: object) -> UpstreamCall:
    return msgspec.structs.replace(CALL, **changes)


async def head(answer: Http1Answer) -> None:
    """Until it is here."""
    while not answer.status:
        await answer.coming()


async def outcome(answer: Http1Answer) -> tuple[int, bytes, FailureKind | None]:
    """All there is of an answer: what came before a break is part of it. Fails where an answer neither ends nor breaks."""
    body = b""
    try:
        async with asyncio.timeout(1):
            await head(answer)
            async for piece in pieces_of(answer):
                assert piece
                body += piece
    except TransportFailure as failure:
        return answer.status, body, failure.kind
    return answer.status, body, None


class FakeSocket(asyncio.Transport):
    """Tells its protocol of the end at once, as no real one does but every one may."""

    def __init__(self, protocol: Http1Connection, *, takes: int = 1 << 60) -> None:
        super().__init__()
        self._protocol = protocol
        self._takes = takes
        self.written = b""
        self.largest = 0
        self.is_paused = False
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        self.largest = max(self.largest, len(data))
        if len(self.written) > self._takes:
            self._protocol.pause_writing()

    def drained(self, more: int) -> None:
        """The peer has read; `more` bytes fit in now."""
        self._takes += more
        self._protocol.resume_writing()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def abort(self) -> None:
        if not self.is_aborted:
            self.is_aborted = True
            self._protocol.connection_lost(None)


class Owner:
    """Implements http1_connection.Owner: counts what comes back."""

    def __init__(self, keep_alive_s: float = 30.0) -> None:
        self.keep_alive_s = keep_alive_s
        self.free: list[Http1Connection] = []
        self.gone: list[Http1Connection] = []

    def released(self, connection: Http1Connection) -> None:
        connection.rest()
        self.free.append(connection)

    def lost(self, connection: Http1Connection) -> None:
        self.gone.append(connection)


class Wire:
    """A connection on a fake socket, with one request sent."""

    def __init__(self, call: UpstreamCall = CALL, *, owner: Owner | None = None, takes: int = 1 << 60) -> None:
        self.owner = owner or Owner()
        self.connection = Http1Connection(asyncio.get_running_loop(), self.owner)
        self.socket = FakeSocket(self.connection, takes=takes)
        self.connection.connection_made(self.socket)
        self.answer = self.ask(call)

    def ask(self, call: UpstreamCall = CALL) -> Http1Answer:
        answer = Http1Answer(asyncio.get_running_loop(), call, asyncio.get_running_loop().time())
        assert isinstance(call.body, bytes)
        self.connection.send(answer, b"HEAD\r\n\r\n", call.body)
        return answer

    def listens(self) -> bool:
        return not self.socket.is_paused

    def hears(self, *pieces: bytes) -> None:
        """As far as the connection listens."""
        for piece in pieces:
            if not self.socket.is_aborted:
                self.connection.data_received(piece)

    def ends(self) -> None:
        """The peer closes."""
        if not self.socket.is_aborted:
            self.connection.eof_received()
            self.socket.abort()
