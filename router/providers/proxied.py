"""Calls through an HTTP proxy, over aiohttp's client: behind the same port, for providers that have a `proxy` and no others.

aiohttp's defaults that are corrected here: redirects (a 307 would carry an api-key elsewhere), cookies, decompression (a
bomb), unbounded `read`, the total of 300 s, and `trust_env`, which would send a password from ~/.netrc to the provider.
A POST is sent once: the proxy's idle connections may be dead, and whether the request went on cannot be told.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from io import BytesIO
from urllib.parse import unquote

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from router.domain.flow import Take
from router.domain.upstream import FailureKind, TransportFailure, Upload, UpstreamAnswer, UpstreamCall
from router.providers.http1.failures import KindTable, detail, nearest
from router.providers.http1.parser import MAX_HEADERS, MAX_LINE_BYTES
from router.providers.http1.request import header_lines, origin_of
from router.providers.http1.tls_trust import TrustStore

KEEP_ALIVE_S = 15.0
MAX_CONNECTIONS = 20_000
READ_BUFFER_BYTES = 64 * 2**10
_LARGE_BODY = 2**20
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_UNCHECKED = "a host that the file does not name is not asked through a proxy, where its address cannot be checked"


@lru_cache(maxsize=4096)
def _checked(url: str) -> URL:
    """Raises ValueError for what the other transport would not send either."""
    origin_of(url, "")
    return URL(url, encoded=True)


class ProxiedTransport:
    """Implements `domain.ports.Transport`. Create it inside the running loop; `close` ends every connection.

    `proxy` is `http://[user:password@]host:port`. It is asked to forward what is plain and to open a tunnel for TLS, whose
    certificates are the provider's: the proxy sees no more than names.
    """

    def __init__(self, proxy: str, *, keep_alive_s: float = KEEP_ALIVE_S, max_connections: int = MAX_CONNECTIONS) -> None:
        self._loop = asyncio.get_running_loop()
        self._trust = TrustStore()
        address = URL(proxy)
        self._proxy = address.with_user(None)
        user, password = unquote(address.raw_user or ""), unquote(address.raw_password or "")
        # Under this name the connector finds them, and sends them as `Proxy-Authorization` in its own requests alone.
        login = {"Authorization": aiohttp.encode_basic_auth(user, password, "utf-8")}
        self._proxy_headers = login if user or password else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=keep_alive_s, ttl_dns_cache=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=_AUTOMATIC,
            read_bufsize=READ_BUFFER_BYTES,
            max_headers=MAX_HEADERS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
        )

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        """See the port. A stream's head must come within `first_byte`, another answer's within `total_s`."""
        to = call.to
        if not to.trusted_host:
            raise TransportFailure(FailureKind.CONNECT, _UNCHECKED)
        try:
            header_lines(call.headers)  # for its checks alone
            url = _checked(to.url)
        except ValueError as error:
            raise TransportFailure(FailureKind.PROTOCOL, f"not sent: {error}") from None
        deadline = self._loop.time() + call.total_s
        timer = asyncio.timeout_at(deadline)
        try:
            async with timer:
                if isinstance(call.body, Upload):
                    response = await self._upload(call, url, call.body, timer)
                else:
                    _await_head(call, timer)
                    response = await self._ask(call, url, call.headers, _payload(call.body))
        except TimeoutError:
            if not timer.expired():
                raise
            is_first = (timer.when() or deadline) < deadline
            raise TransportFailure(FailureKind.FIRST_BYTE_TIMEOUT if is_first else FailureKind.TOTAL_TIMEOUT) from None
        answer = _Answer(response, call, deadline, timer.when() or deadline)
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            answer.close()
            raise TransportFailure(FailureKind.PROTOCOL, f"an answer in {encoding[:32]!r} though identity was asked for")
        return answer

    async def close(self) -> None:
        await self._session.close()

    async def _upload(self, call: UpstreamCall, url: URL, body: Upload, timer: asyncio.Timeout) -> aiohttp.ClientResponse:
        """The body is asked for pieces by us and not by aiohttp, whose writer goes on after the head has come."""
        feed = _Feed(body, call.timeouts.idle, partial(_await_head, call, timer))
        headers = dict(call.headers) if body.length is None else {**call.headers, "content-length": str(body.length)}
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(feed.run())
                try:
                    return await self._ask(call, url, headers, feed.pieces())
                finally:
                    feeding.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _ask(
        self, call: UpstreamCall, url: URL, headers: Mapping[str, str], data: BytesIO | bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        """Until the head is here. Raises TransportFailure, and TimeoutError for whoever has the timer."""
        try:
            trust = await self._trust.context(call.to.ca_file, call.to.ca_digest) if url.scheme == "https" else True
            return await self._session.request(
                call.to.method,
                url,
                data=data,
                headers=headers,
                allow_redirects=False,
                ssl=trust,
                timeout=aiohttp.ClientTimeout(total=None, connect=_to_connect(call), ceil_threshold=60),
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            )
        except FOREIGN as error:
            raise failure_of(error, FailureKind.TOTAL_TIMEOUT) from None


def _payload(body: bytes) -> bytes | BytesIO | None:
    """aiohttp writes large bytes in one go and warns; from a file object it writes piece by piece."""
    return BytesIO(body) if len(body) > _LARGE_BODY else (body or None)


def _to_connect(call: UpstreamCall) -> float:
    """Whichever timer runs out before there is a connection: the request has certainly not been sent."""
    head_by = min(call.total_s, call.timeouts.first_byte) if call.stream else call.total_s
    return min(call.timeouts.connect, head_by)


def _await_head(call: UpstreamCall, timer: asyncio.Timeout) -> None:
    """A stream's first byte is due from now on."""
    due = asyncio.get_running_loop().time() + call.timeouts.first_byte
    until = timer.when()
    if call.stream and until is not None and due < until and not timer.expired():
        timer.reschedule(due)


class _Feed:
    """Hands the pieces of an upload to aiohttp's writer, one at a time; nothing comes any more once `run` is cancelled."""

    def __init__(self, body: Upload, idle_s: float, sent: Callable[[], None]) -> None:
        self._body = body
        self._idle_s = idle_s
        self._sent = sent
        self._next = asyncio.Queue[bytes](1)
        self._is_wanted = asyncio.Event()

    async def run(self) -> None:
        await self._is_wanted.wait()
        left = self._body.length
        async for piece in self._body.pieces:
            if left is not None:
                left -= len(piece)
                if left < 0:
                    raise TransportFailure(FailureKind.PROTOCOL, "not sent: the body is longer than its length")
            if piece:
                await self._hand(piece)
        if left:
            raise TransportFailure(FailureKind.PROTOCOL, "not sent to its end: the body is shorter than its length")
        await self._hand(b"")
        self._sent()

    async def _hand(self, piece: bytes) -> None:
        try:
            async with asyncio.timeout(self._idle_s):
                await self._next.put(piece)
        except TimeoutError:
            raise TransportFailure(FailureKind.IDLE_TIMEOUT, "the provider takes no more of the request") from None

    async def pieces(self) -> AsyncIterator[bytes]:
        self._is_wanted.set()  # there is a connection
        while piece := await self._next.get():
            yield piece


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
        pieces, size = list[bytes](), 0
        while size <= limit and (piece := await self._next()):
            pieces.append(piece)
            size += len(piece)
        if size > limit:
            raise self._too_large(limit)
        return b"".join(pieces)

    async def pour(self, take: Take) -> bytes | None:
        while piece := await self._next():
            if not take(piece):
                return None
        return b""

    def close(self) -> None:
        """Abort the connection, unless the body has come whole and the connection went back to the pool by itself."""
        self._disarm()
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()

    async def _next(self) -> bytes:
        """The next piece of the body, b"" at its end. What has already arrived costs neither timer nor loop turn."""
        content = self._response.content
        self._waiting = self._loop.time()
        if self._timer is None and not content.is_eof():
            self._timer = self._loop.call_at(self._due(self._waiting)[0], self._tick)
        try:
            piece: bytes = await content.readany()
        except FOREIGN as error:
            self.close()
            if self._late is not None:
                raise TransportFailure(self._late) from None
            raise failure_of(error, FailureKind.TOTAL_TIMEOUT) from None
        self._waiting = None
        if not piece or not self._has_body:
            # At the end nothing is awaited any more; at the first byte `idle`, which may be shorter, takes over.
            self._has_body = True
            self._disarm()
        return piece

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
        self.close()

    def _too_large(self, limit: int) -> TransportFailure:
        self.close()
        return TransportFailure(FailureKind.TOO_LARGE, f"the answer is over {limit} bytes")

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# -- errors ---------------------------------------------------------------------------------------------------

FAILURES: KindTable = {
    aiohttp.ClientConnectorDNSError: FailureKind.DNS,
    aiohttp.ClientSSLError: FailureKind.TLS,
    aiohttp.ClientConnectorSSLError: FailureKind.TLS,
    aiohttp.ClientConnectorCertificateError: FailureKind.TLS,
    aiohttp.ServerFingerprintMismatch: FailureKind.TLS,
    ssl.SSLError: FailureKind.TLS,
    aiohttp.ClientConnectorError: FailureKind.CONNECT,
    aiohttp.ClientProxyConnectionError: FailureKind.CONNECT,
    aiohttp.ClientHttpProxyError: FailureKind.CONNECT,  # no tunnel: the provider has seen nothing
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
    if type(error) is TimeoutError:
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
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy opens no tunnel: {error.status} {error.message}"
    return error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
