"""Whole frames to the caller as they arrive; a sign of life in silence; a break is an error event, never a false end."""

import asyncio
import re
from contextlib import suppress
from math import inf

import msgspec
from aiohttp import HttpVersion11, web

from router.domain.errors import CutOff, GatewayError
from router.domain.flow import Flow
from router.domain.requests import Api
from router.server.errors import STATUSES, error_object
from router.server.whole_answer import CLOSING, KEPT, head_of

HEARTBEAT_S = 15.0
HIGH_WATER = 64 * 2**10
COMMENT = b": keep-alive\n\n"
_CHUNKED = "Transfer-Encoding: chunked\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_GONE = "the caller has gone"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_SEQUENCE_NUMBER = re.compile(rb'"sequence_number":\s*+(\d{1,15})')


def error_frame(api: Api, error: GatewayError, after: bytes = b"") -> bytes:
    """The error as an event of the caller's dialect. `after`: the frames relayed last; a Responses event is numbered."""
    if api is Api.MESSAGES:
        told = {"type": STATUSES[error.code][1], "message": error.message}
        return b"event: error\ndata: " + msgspec.json.encode({"type": "error", "error": told}) + b"\n\n"
    body = error_object(error)
    if api is Api.RESPONSES:
        numbers = _SEQUENCE_NUMBER.findall(after)
        flat: dict[str, object] = {"type": "error", "sequence_number": int(numbers[-1]) + 1 if numbers else 0}
        flat |= {name: body[name] for name in ("code", "message", "param")}
        # The reference has the flat members; OpenAI itself sends the nested object, and on that alone its SDKs raise.
        return b"event: error\ndata: " + msgspec.json.encode(flat | {"error": body}) + b"\n\n"
    return b"data: " + msgspec.json.encode({"error": body}) + b"\n\n"


class OpenStreams(set["EventStream"]):
    """The streams that are being relayed. One timer looks at all of them, so that most come and go without one."""

    __slots__ = ("looks_at", "_timer")

    def __init__(self) -> None:
        super().__init__()
        self.looks_at = inf
        self._timer: asyncio.TimerHandle | None = None

    def look_by(self, due: float) -> None:
        """Look at all of them no later than at `due`, in the time of the loop."""
        if due < self.looks_at:
            if self._timer is not None:
                self._timer.cancel()
            self.looks_at = due
            self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        self._timer, self.looks_at = None, inf
        if self:
            self.look_by(min(stream.look() for stream in self))


class EventStream:
    """One stream to one caller: the head leaves with the first frames, each write is one chunk of the HTTP/1.1 body. To a
    caller of HTTP/1.0 the body ends with the connection. A slow reader slows the provider down.

    It is looked at now and then for silence (a comment is sent) and for a caller that does not read (the connection is cut).
    """

    __slots__ = (
        "written",
        "_among",
        "_request",
        "_transport",
        "_api",
        "_head",
        "_is_chunked",
        "_write_stall_s",
        "_heartbeat_s",
        "_now",
        "_quiet_since",
        "_full_since",
        "_task",
        "_interruption",
        "_last",
        "_has_ended",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        status: int,
        lines: str,
        api: Api,
        *,
        among: OpenStreams,
        may_stay: bool,
        write_stall_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """`lines` are the headers, each with its end, complete but for Transfer-Encoding and Date; `may_stay`: the
        connection, if its caller wants it; `among`: the streams that are being relayed. Raises ConnectionResetError where
        the caller has gone."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError(_GONE)
        self._among = among
        self._request = request
        self._transport = transport
        self._api = api
        self._is_chunked = request.version >= HttpVersion11
        is_kept = may_stay and self._is_chunked and request.keep_alive
        self._head = head_of(status, lines, _CHUNKED if self._is_chunked else "", is_kept=is_kept)
        """What of it has not been sent."""
        self.written = KEPT if is_kept else CLOSING
        self._write_stall_s = write_stall_s
        self._heartbeat_s = heartbeat_s
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._quiet_since = loop.time()
        self._full_since: float | None = None
        self._task = asyncio.current_task()
        self._interruption: CutOff | None = None
        self._last = b""
        self._has_ended = False

    @property
    def connection(self) -> web.RequestHandler:
        """That of its caller."""
        return self._request.protocol

    async def relay(self, frames: Flow) -> None:
        """Write until the frames end. Raises the GatewayError that ended them, after telling the caller of it, and
        ConnectionResetError where the caller has gone."""
        among = self._among
        among.add(self)
        if (due := self._quiet_since + min(self._heartbeat_s, self._write_stall_s)) < among.looks_at:
            among.look_by(due)
        try:
            while (last := await frames.pour(self._write)) is None:
                await self._until_read()
            if not self._ended(last):
                await self._until_read()
        except GatewayError as error:
            await self._end_with(error)
            raise
        except asyncio.CancelledError:
            if self._interruption is None or self._task is None:
                raise
            self._task.uncancel()
            await self._end_with(self._interruption)
            raise self._interruption from None
        finally:
            among.discard(self)

    def interrupt(self) -> None:
        """End the stream from our side, with an error event: the daemon's drain time is over."""
        if self._interruption is None and self._task is not None:
            self._interruption = CutOff()
            self._task.cancel()

    def _write(self, frames: bytes, end: bytes = b"") -> bool:
        """Whether the caller reads as fast as it is written to. `end`: that of the body."""
        transport = self._transport
        if transport.is_closing():
            raise ConnectionResetError(_GONE)
        if frames and self._is_chunked:
            transport.write(b"%b%x\r\n%b\r\n%b" % (self._head, len(frames), frames, end))
        else:
            transport.write(self._head + frames + end)
        self._head = b""
        self._last = frames
        self._quiet_since = self._now()
        return transport.get_write_buffer_size() <= HIGH_WATER

    async def _end_with(self, error: GatewayError) -> None:
        if not self._has_ended and not self._ended(error_frame(self._api, error, self._last)):
            await self._until_read()

    def _ended(self, last: bytes) -> bool:
        """The last frames, if any are left, and the end of the body in one write; whether the caller reads as fast."""
        self._has_ended = True
        return self._write(last, _LAST_CHUNK if self._is_chunked else b"")

    async def _until_read(self) -> None:
        """Until the caller has read most of what was sent."""
        self._full_since = self._now()
        await self._request.protocol._drain_helper()  # noqa: SLF001  aiohttp has no public way to wait for its socket
        self._full_since = None
        self._quiet_since = self._now()

    def look(self) -> float:
        """Do what is due; when to look again."""
        now, full_since = self._now(), self._full_since
        if full_since is not None:
            due = full_since + self._write_stall_s
            if now >= due:
                self._transport.abort()
                return inf
        else:
            if now - self._quiet_since >= self._heartbeat_s:
                self._comment()
            due = self._quiet_since + self._heartbeat_s
        # The caller may stop reading right after this look, so the next one is never further off than a stall may last.
        return now + min(max(due - now, min(1.0, self._heartbeat_s)), self._write_stall_s)

    def _comment(self) -> None:
        """Frames are always written whole, so this stands between two of them."""
        last = self._last
        with suppress(ConnectionError):
            self._write(PING if self._api is Api.MESSAGES else COMMENT)
        self._last = last
