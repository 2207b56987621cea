"""A stream's answer: the head leaves with the first frames, each write is one chunk of the HTTP/1.1 body.

As with whole answers, what is known to be sound is formatted once instead of being passed through aiohttp's payload writer.
"""

from aiohttp import ClientConnectionResetError, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

from router.server.headers import headers_in
from router.server.whole_answer import head_of

HIGH_WATER = 64 * 2**10
_END = b"0\r\n\r\n"


class LiveAnswer(web.StreamResponse):
    """`lines` are the headers, complete but for Transfer-Encoding and Date."""

    def __init__(self, status: int, lines: str) -> None:
        super().__init__(status=status)
        self._lines = lines
        self._head = b""
        self._request: web.BaseRequest | None = None
        self._has_ended = False

    @property
    def prepared(self) -> bool:
        """True from the start: nobody may add to what is complete."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Format the head; it leaves with the first write."""
        if self._request is None:
            self._request = request
            if self._keep_alive is None:
                self._keep_alive = request.keep_alive
            is_kept = bool(self._keep_alive)
            self._head = head_of(self.status, self._lines, "Transfer-Encoding: chunked\r\n", is_kept=is_kept)
        return None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send one chunk; waits while the caller does not read. Raises ClientConnectionResetError when it has gone."""
        if data:
            await self._send(b"".join((self._head, b"%x\r\n" % len(data), data, b"\r\n")))

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._has_ended:
            self._has_ended = True
            await self._send(self._head + _END)

    async def _send(self, block: bytes) -> None:
        request = self._request
        transport = request.transport if request is not None else None
        if request is None or transport is None or transport.is_closing():
            raise ClientConnectionResetError("the caller has gone")
        self._head = b""
        transport.write(block)
        if transport.get_write_buffer_size() > HIGH_WATER:
            await request.protocol._drain_helper()  # noqa: SLF001  aiohttp has no public way to wait for its socket


def live_answer(request: web.BaseRequest, status: int, lines: str) -> web.StreamResponse:
    """The answer in the cheapest form that can carry it."""
    if request.version == HttpVersion11 and request.method != hdrs.METH_HEAD and status == 200:
        return LiveAnswer(status, lines)
    return web.StreamResponse(status=status, headers=headers_in(lines))
