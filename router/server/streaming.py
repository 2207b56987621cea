"""Whole frames to the caller as they arrive; a sign of life in silence; a break is an error event, never a false end."""

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from router.domain.errors import GatewayError, NotReady
from router.domain.ports import Tasks
from router.domain.requests import Api
from router.server.errors import STATUSES, error_object

HEARTBEAT_S = 15.0
COMMENT = b": keep-alive\n\n"
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


class EventStream:
    """One stream to one caller. Writes are awaited, so a slow reader slows the provider down.

    One timer a stream watches for silence (a comment is sent) and for a write that does not move (the connection is cut).
    """

    def __init__(
        self,
        response: web.StreamResponse,
        request: web.BaseRequest,
        api: Api,
        *,
        tasks: Tasks,
        write_stall_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._response = response
        self._request = request
        self._api = api
        self._write_stall_s = write_stall_s
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._quiet_since = self._loop.time()
        self._writing_since: float | None = None
        self._task = asyncio.current_task()
        self._interruption: GatewayError | None = None
        self._timer = self._loop.call_later(min(heartbeat_s, write_stall_s), self._look)
        self._tasks = tasks
        self._is_over = False
        self._last = b""

    async def relay(self, frames: AsyncIterator[bytes]) -> None:
        """Write until the frames end. Raises the GatewayError that ended them, after telling the caller of it."""
        try:
            async for frame in frames:
                self._last = frame
                await self._write(frame)
            await self._response.write_eof()
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
            self._is_over = True
            self._timer.cancel()

    def interrupt(self) -> None:
        """End the stream from our side, with an error event: the daemon's drain time is over."""
        if self._interruption is None and self._task is not None:
            self._interruption = NotReady("the gateway is shutting down and the stream was cut")
            self._task.cancel()

    async def _end_with(self, error: GatewayError) -> None:
        await self._write(error_frame(self._api, error, self._last))
        await self._response.write_eof()

    async def _write(self, frame: bytes) -> None:
        self._writing_since = self._loop.time()
        await self._response.write(frame)
        self._writing_since = None
        self._quiet_since = self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        if self._writing_since is not None and now - self._writing_since >= self._write_stall_s:
            transport = self._request.transport
            if transport is not None:
                transport.abort()
            return
        if self._writing_since is None and now - self._quiet_since >= self._heartbeat_s:
            self._tasks.spawn(self._comment(), name="heartbeat")
        due = (
            self._quiet_since + self._heartbeat_s
            if self._writing_since is None
            else self._writing_since + self._write_stall_s
        )
        # A write may begin to stall right after this look, so the next one is never further off than a stall may last.
        self._timer = self._loop.call_later(
            min(max(due - now, min(1.0, self._heartbeat_s)), self._write_stall_s), self._look
        )

    async def _comment(self) -> None:
        """Frames are always written whole, so this stands between two of them."""
        if self._is_over or self._writing_since is not None:
            return
        try:
            await self._write(PING if self._api is Api.MESSAGES else COMMENT)
        except ConnectionError:
            return
