"""A small answer, head and body, formatted once and written in one call: what most requests get.

aiohttp builds a header multidict, serialises it and passes head and body through its payload writer; for an answer whose
bytes are all known that is a quarter of the server's work.
"""

from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from router.server.headers import headers_in

MAX_BODY = 64 * 2**10
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def head_of(status: int, lines: str, framing: str, *, is_kept: bool) -> bytes:
    """The head of an HTTP/1.1 answer, blank line included. `lines`: its headers, each with its end; `framing`: the line that
    says how long the body is."""
    closing = "" if is_kept else "Connection: close\r\n"
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{line}{lines}{closing}{framing}Date: {rfc822_formatted_time()}\r\n\r\n".encode()


class Written(web.StreamResponse):
    """What a handler gives aiohttp for an answer that it has written itself: nothing is left to do but to go on, or not."""

    def __init__(self, *, is_kept: bool) -> None:
        super().__init__()
        self._keep_alive = is_kept

    @property
    def prepared(self) -> bool:
        """Nobody may add to what is complete."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


KEPT, CLOSING = Written(is_kept=True), Written(is_kept=False)
"""One for all answers: whether the connection stays is all they say."""


def closing(response: web.StreamResponse) -> web.StreamResponse:
    """The same, and its connection ends with it."""
    if isinstance(response, Written):
        return CLOSING
    response.force_close()
    return response


def whole_answer(request: web.BaseRequest, status: int, lines: str, body: bytes, *, may_stay: bool) -> web.StreamResponse:
    """The answer, written in the cheapest way that can carry it. `lines` are its headers, each with its end, complete but
    for Content-Length and Date; `may_stay`: the connection, if its caller wants it.

    A caller that does not read what it was sent before gets aiohttp's, which waits for it.
    """
    message, transport = request._message, request.transport  # noqa: SLF001  its properties cost more than the writing
    if transport is None or transport.is_closing():
        return CLOSING
    if (
        len(body) > MAX_BODY
        or status not in _STATUS_LINES
        or message.version != HttpVersion11
        or message.method == hdrs.METH_HEAD
        or transport.get_write_buffer_size()
    ):
        response = web.Response(status=status, headers=headers_in(lines), body=body)
        if not may_stay:
            response.force_close()
        return response
    is_kept = may_stay and not message.should_close
    transport.write(head_of(status, lines, f"Content-Length: {len(body)}\r\n", is_kept=is_kept) + body)
    return KEPT if is_kept else CLOSING
