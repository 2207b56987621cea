"""A small answer with its head, formatted once and written in one call: what most requests get.

aiohttp builds a header multidict, serialises it and passes head and body through its payload writer; for an answer whose
bytes are all known that is a quarter of the server's work.
"""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

MAX_BODY = 64 * 2**10
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def field_lines(headers: Mapping[str, str]) -> str | None:
    """The headers as lines, the last without its end; None where one holds a line end of its own."""
    values = "".join(headers.values())
    if "\n" in values or "\r" in values or "\0" in values:
        return None
    return "\r\n".join(map(": ".join, headers.items()))


def head_of(status: int, lines: str, framing: str, *, is_kept: bool) -> bytes:
    """The head of an HTTP/1.1 answer, blank line included. `framing`: the line that says how long the body is."""
    closing = "" if is_kept else "Connection: close\r\n"
    return f"{_STATUS_LINES[status]}{lines}\r\n{closing}{framing}Date: {rfc822_formatted_time()}\r\n\r\n".encode()


class WholeAnswer(web.StreamResponse):
    """`lines` are the headers, complete but for Content-Length and Date."""

    def __init__(self, status: int, lines: str, body: bytes) -> None:
        super().__init__(status=status)
        self._lines = lines
        self._whole = body
        self._is_written = False

    @property
    def prepared(self) -> bool:
        """True from the start: nobody may add to what is complete."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it. Raises ConnectionResetError when the caller has gone."""
        if self._is_written:
            return None
        self._is_written = True
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        head = head_of(self._status, self._lines, f"Content-Length: {len(self._whole)}\r\n", is_kept=bool(self._keep_alive))
        transport.write(head + self._whole)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def whole_answer(request: web.BaseRequest, status: int, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """The answer in the cheapest form that can carry it.

    A caller that does not read what it was sent before gets aiohttp's, which waits for it.
    """
    transport = request.transport
    if (
        len(body) <= MAX_BODY
        and status in _STATUS_LINES
        and request.version == HttpVersion11
        and request.method != hdrs.METH_HEAD
        and (transport is None or transport.get_write_buffer_size() == 0)
        and (lines := field_lines(headers)) is not None
    ):
        return WholeAnswer(status, lines, body)
    return web.Response(status=status, headers=headers, body=body)
