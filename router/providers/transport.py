"""The sockets to providers: one pooled aiohttp session, our own timers, capped reads, one table of errors.

aiohttp's defaults that are corrected here: redirects (a 307 would carry an api-key elsewhere), cookies, decompression
(a bomb), unbounded `read`, the total of 300 s, the proxy environment. A POST is sent once: aiohttp repeats only
idempotent methods when a kept-alive connection turns out to be dead, and the transport repeats nothing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from io import BytesIO

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from router.domain.upstream import FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.tls_trust import TrustStore
from router.providers.transport_failures import KindTable, detail, nearest

KEEP_ALIVE_S = 30.0
MAX_CONNECTIONS = 20_000
MAX_HEADERS = 128
MAX_HEADER_BYTES = 8 * 2**10
READ_BUFFER_BYTES = 64 * 2**10
_LARGE_BODY = 2**20
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@lru_cache(maxsize=4096)
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=256)
def _connect_timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=60)


class AioTransport:
    """Implements `domain.ports.Transport`. Create it inside the running loop; `close` ends every connection."""

    def __init__(self, *, keep_alive_s: float = KEEP_ALIVE_S, max_connections: int = MAX_CONNECTIONS) -> None:
        self._loop = asyncio.get_running_loop()
        self._trust = TrustStore()
        connector = aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=keep_alive_s, ttl_dns_cache=10)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=_AUTOMATIC,
            read_bufsize=READ_BUFFER_BYTES,
            max_headers=MAX_HEADERS,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        """See the port. A stream's head must come within `first_byte`, another answer's within `total_s`."""
        started = self._loop.time()
        deadline = started + call.total_s
        head_by = min(deadline, started + call.timeouts.first_byte) if call.stream else deadline
        try:
            trust = await self._trust.context(call.ca_file) if call.url.startswith("https:") else True
            async with asyncio.timeout_at(head_by):
                response = await self._session.request(
                    call.method,
                    _parsed(call.url),
                    data=_payload(call.body),
                    headers=call.headers,
                    allow_redirects=False,
                    ssl=trust,
                    timeout=_connect_timeout(call.timeouts.connect),
                )
        except FOREIGN as error:
            late = FailureKind.FIRST_BYTE_TIMEOUT if head_by < deadline else FailureKind.TOTAL_TIMEOUT
            raise failure_of(error, late) from None
        answer = _Answer(response, call, deadline, head_by)
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            answer.close()
            raise TransportFailure(FailureKind.PROTOCOL, f"an answer in {encoding[:32]!r} though identity was asked for")
        return answer

    async def close(self) -> None:
        await self._session.close()


def _payload(body: bytes) -> bytes | BytesIO | None:
    """aiohttp writes large bytes in one go and warns; from a file object it writes piece by piece."""
    return BytesIO(body) if len(body) > _LARGE_BODY else (body or None)


class _Answer:
    """One answer and its timer: a single handle that is armed again only when it fires, never per chunk."""

    __slots__ = (
        "status",
        "headers",
        "_response",
        "_call",
        "_loop",
        "_until",
        "_first_by",
        "_waiting",
        "_has_body",
        "_late",
        "_timer",
    )

    def __init__(self, response: aiohttp.ClientResponse, call: UpstreamCall, until: float, first_by: float) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._until = until
        self._first_by = first_by
        self._waiting: float | None = None
        self._has_body = False
        self._late: FailureKind | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, limit: int) -> bytes:
        promised = self._response.content_length
        if promised is not None and promised > limit:
            raise self._too_large(limit)
        chunk = await self._next()
        if not chunk:
            return b""
        pieces, size = [chunk], len(chunk)
        while size <= limit and (chunk := await self._next()):
            pieces.append(chunk)
            size += len(chunk)
        if size > limit:
            raise self._too_large(limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._next():
            yield chunk

    def close(self) -> None:
        self._disarm()
        self._drop()

    async def _next(self) -> bytes:
        """The next piece of the body, b"" at its end. What has already arrived costs neither timer nor loop turn."""
        content = self._response.content
        self._waiting = self._loop.time()
        if self._timer is None and not content.is_eof():
            self._timer = self._loop.call_at(self._due(self._waiting)[0], self._tick)
        try:
            chunk: bytes = await content.readany()
        except FOREIGN as error:
            self._disarm()
            self._drop()
            late = self._late
            if late is not None:
                raise TransportFailure(late) from None
            raise failure_of(error, FailureKind.TOTAL_TIMEOUT) from None
        self._waiting = None
        if not chunk or not self._has_body:
            # At the end nothing is awaited any more; at the first byte `idle`, which may be shorter, takes over.
            self._has_body = True
            self._disarm()
        return chunk

    def _due(self, waiting: float) -> tuple[float, FailureKind]:
        """When a wait that began at `waiting` has lasted too long, and what that is called."""
        if self._call.stream:
            if not self._has_body and self._first_by < self._until:
                return self._first_by, FailureKind.FIRST_BYTE_TIMEOUT
            idle = waiting + self._call.timeouts.idle
            if self._has_body and idle < self._until:
                return idle, FailureKind.IDLE_TIMEOUT
        return self._until, FailureKind.TOTAL_TIMEOUT

    def _tick(self) -> None:
        now = self._loop.time()
        # While the reader is busy elsewhere (its own caller may be slow) only the deadline counts.
        due, kind = self._due(self._waiting if self._waiting is not None else now)
        if now < due:
            self._timer = self._loop.call_at(due, self._tick)
            return
        self._timer = None
        self._late = kind
        self._drop()

    def _too_large(self, limit: int) -> TransportFailure:
        self.close()
        return TransportFailure(FailureKind.TOO_LARGE, f"the answer is over {limit} bytes")

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        """Abort the connection, unless the body has come whole and the connection went back to the pool by itself."""
        response = self._response
        connection = response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        response.close()


# -- errors ---------------------------------------------------------------------------------------------------

FAILURES: KindTable = {
    aiohttp.ClientConnectorDNSError: FailureKind.DNS,
    aiohttp.ClientSSLError: FailureKind.TLS,
    aiohttp.ClientConnectorSSLError: FailureKind.TLS,
    aiohttp.ClientConnectorCertificateError: FailureKind.TLS,
    aiohttp.ServerFingerprintMismatch: FailureKind.TLS,
    ssl.SSLError: FailureKind.TLS,
    aiohttp.ClientConnectorError: FailureKind.CONNECT,
    aiohttp.InvalidURL: FailureKind.CONNECT,
    aiohttp.ConnectionTimeoutError: FailureKind.CONNECT_TIMEOUT,
    aiohttp.ServerTimeoutError: FailureKind.IDLE_TIMEOUT,
    aiohttp.ClientConnectionError: FailureKind.RESET,
    aiohttp.ClientPayloadError: FailureKind.RESET,
    aiohttp.ClientResponseError: FailureKind.PROTOCOL,
    aiohttp.ClientError: FailureKind.PROTOCOL,
    http_exceptions.PayloadEncodingError: FailureKind.PROTOCOL,
    http_exceptions.HttpProcessingError: FailureKind.PROTOCOL,
    OSError: FailureKind.RESET,
    ValueError: FailureKind.PROTOCOL,
    RuntimeError: FailureKind.CONNECT,  # the session is closed: the daemon is going down
}


FOREIGN = (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError, ValueError, RuntimeError)
"""All that is caught; whatever else aiohttp might raise is a bug of ours or its own and is reported as one."""


def failure_of(error: Exception, on_timeout: FailureKind) -> TransportFailure:
    """`on_timeout`: what a bare TimeoutError means where it was caught. An error that is in no row is a PROTOCOL failure."""
    if type(error) in (TimeoutError, asyncio.TimeoutError):
        return TransportFailure(on_timeout)
    return TransportFailure(kind_of(error) or FailureKind.PROTOCOL, detail(error, _said_by(error)))


def kind_of(error: BaseException) -> FailureKind | None:
    """The row that fits, None if there is none."""
    if isinstance(error, aiohttp.ClientPayloadError) and _is_malformed(error):
        return FailureKind.PROTOCOL
    return nearest(FAILURES, error)


def _is_malformed(error: aiohttp.ClientPayloadError) -> bool:
    """A body that breaks its framing, as against one that ends early: aiohttp wraps both alike."""
    cause = error.__cause__
    return isinstance(cause, http_exceptions.BadHttpMessage) and not isinstance(
        cause, http_exceptions.ContentLengthError | http_exceptions.TransferEncodingError
    )


def _said_by(error: Exception) -> str:
    """Without the URL and our headers, which some of aiohttp's own texts repeat."""
    return error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
