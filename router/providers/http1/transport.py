"""The sockets to providers, on asyncio protocols and httptools: a request costs one write, one parse and one wake-up.

A request is sent once, unless it went out on a reused connection which died before any byte of an answer, and within
`STALE_WITHIN_S`: its peer had closed it for being idle, so it is sent once more, on a connection that is new or has just
finished another answer; never an upload that was asked for a piece. No redirects, cookies, decompression, proxies.
"""

import asyncio
from functools import lru_cache

from router.domain.upstream import FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.http1.answer import Http1Answer, Stale
from router.providers.http1.connection import Http1Connection
from router.providers.http1.dial import Dialer
from router.providers.http1.pool import OriginPool, Pool
from router.providers.http1.request import opening, origin_of, request_head
from router.providers.http1.tls_trust import TrustStore
from router.providers.http1.upload import upload

KEEP_ALIVE_S = 30.0  # below the 60 to 75 s of servers, so that it is mostly us who close
MAX_CONNECTIONS = 20_000
MAX_PER_ORIGIN = 10_000
_CLOSING_TURNS = 10


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
        self._place = lru_cache(4096)(self._find_place)

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        """See the port. A stream's first byte must come within `first_byte`, another answer within `total_s`."""
        started = self._loop.time()
        try:
            line, first_lines = self._place(call.method, call.url, call.ca_file, call.ca_digest, call.trusted_host)
            body = call.body
            head = request_head(
                first_lines, call.method, call.headers, len(body) if isinstance(body, bytes) else body.length
            )
        except ValueError as error:
            raise TransportFailure(FailureKind.PROTOCOL, f"not sent: {error}") from None
        try:
            answer = await self._ask(line, head, call, started)
        except Stale:
            # The other free connections have been idle for longer still.
            line.drop_idle()
            answer = await self._ask(line, head, call, started)
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

    def _find_place(
        self, method: str, url: str, ca_file: str, ca_digest: str = "", is_trusted: bool = True
    ) -> tuple[OriginPool, str]:
        origin, target = origin_of(url, ca_file, ca_digest, is_guarded=not is_trusted)
        return self._pool.at(origin), opening(method, origin, target)

    async def _ask(self, line: OriginPool, head: bytes, call: UpstreamCall, started: float) -> Http1Answer:
        """One answer whose head has come. Raises Stale where the request may be sent once more."""
        connection = line.take() or await self._connect(line, call, started)
        answer = Http1Answer(self._loop, call, started)
        try:
            body = call.body
            if isinstance(body, bytes):
                connection.send(answer, head, body)
                await answer.head()
            else:
                await upload(body, connection, answer, head, call)
        except BaseException:
            answer.close()
            raise
        return answer

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
