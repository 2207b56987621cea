"""The sockets to providers, on asyncio protocols and httptools: a request costs one write, one parse and one wake-up.

A request is sent once, unless it went out on a reused connection which died before any byte of an answer, and within
`STALE_WITHIN_S`: its peer had closed it for being idle, so it is sent once more, on a connection that is new or has just
finished another answer; never an upload that was asked for a piece. No redirects, cookies, decompression, proxies.
"""

import asyncio
from functools import lru_cache
from typing import NamedTuple

from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.http1.answer import Http1Answer, Stale
from router.providers.http1.connection import Http1Connection
from router.providers.http1.dial import Dialer
from router.providers.http1.pool import OriginPool, Pool
from router.providers.http1.request import head_end, header_lines, opening, origin_of
from router.providers.http1.tls_trust import TrustStore
from router.providers.http1.upload import upload

KEEP_ALIVE_S = 30.0  # below the 60 to 75 s of servers, so that it is mostly us who close
MAX_CONNECTIONS = 20_000
MAX_PER_ORIGIN = 10_000
_CLOSING_TURNS = 10
_PLACES = 1024


class _Place(NamedTuple):
    """What is the same for every call to one destination."""

    line: OriginPool
    opening: bytes
    head: bytes
    """The opening and the headers."""


class Http1Transport:
    """Implements `domain.ports.Transport`. Create it inside the running loop; `close` ends every connection."""

    def __init__(
        self,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
        max_connections: int = MAX_CONNECTIONS,
        max_per_origin: int = MAX_PER_ORIGIN,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(
            self._loop, keep_alive_s=keep_alive_s, max_connections=max_connections, max_per_origin=max_per_origin
        )
        self._dialer = Dialer(TrustStore())
        self._place = lru_cache(_PLACES)(self._find_place)

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        """See the port. A stream's first byte must come within `first_byte`, another answer within `total_s`."""
        started, to, body = self._loop.time(), call.to, call.body
        try:
            line, first, head = self._place(to)
            if own := call.own_headers:
                is_more = own.keys().isdisjoint(to.headers)
                head = head + header_lines(own) if is_more else first + header_lines(call.headers)
        except ValueError as error:
            raise TransportFailure(FailureKind.PROTOCOL, f"not sent: {error}") from None
        head += head_end(to.method, len(body) if isinstance(body, bytes) else body.length)
        is_again = False
        while True:
            connection = line.take() or await self._connect(line, call, started)
            answer = Http1Answer(self._loop, call, started)
            try:
                if isinstance(body, bytes):
                    connection.send(answer, head, body)
                    while not answer.status:
                        await answer.coming()
                else:
                    await upload(body, connection, answer, head, call)
                break
            except Stale:
                if is_again:
                    raise
                # The other free connections have been idle for longer still.
                is_again = True
                line.drop_idle()
            except BaseException:
                answer.close()
                raise
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            answer.close()
            raise TransportFailure(FailureKind.PROTOCOL, f"an answer in {encoding[:32]!r} though identity was asked for")
        return answer

    async def close(self) -> None:
        self._pool.close()
        for _ in range(_CLOSING_TURNS):
            if not self._pool.connections:
                break
            await asyncio.sleep(0)  # the loop tells a connection of its end in a later turn

    def _find_place(self, to: Destination) -> _Place:
        """Raises ValueError for what cannot be sent."""
        origin, target = origin_of(to.url, to.ca_file, to.ca_digest, is_guarded=not to.trusted_host)
        first = opening(to.method, origin, target)
        return _Place(self._pool.at(origin), first, first + header_lines(to.headers))

    async def _connect(self, line: OriginPool, call: UpstreamCall, started: float) -> Http1Connection:
        """A connection that is free, waiting in line for it, or a new one.

        Whichever timer runs out here is told as CONNECT_TIMEOUT: the request has certainly not been sent.
        """
        head_by = call.total_s if not call.stream else min(call.total_s, call.timeouts.first_byte)
        try:
            async with asyncio.timeout_at(min(self._loop.time() + call.timeouts.connect, started + head_by)):
                while (free := await line.acquire()) is not None:
                    if free.is_open:
                        return free
                return await self._dial(line)
        except TimeoutError:
            raise TransportFailure(FailureKind.CONNECT_TIMEOUT, f"no connection to {line.origin} in time") from None

    async def _dial(self, line: OriginPool) -> Http1Connection:
        connection = line.dial()
        try:
            await self._dialer.dial(line.origin, connection)
            self._pool.require_open()
            if not connection.is_open:
                raise TransportFailure(FailureKind.CONNECT, f"{line.origin} closed a new connection at once")
        except BaseException:
            line.undo(connection)
            raise
        return connection
