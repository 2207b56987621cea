"""The simulated provider over HTTP, for processes of its own: faults on the wire, and a log of what came and what went."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from router.domain.ports import Clock
from router.providers.simulated.exchange import Ending, Exchange, next_burst
from router.providers.simulated.options import SimulateOptions
from router.providers.simulated.provider import Received, Simulator
from router.providers.simulated.transport import head_of

_BODY_LIMIT = 64 * 2**20
_KEEP_ALIVE_S = 75.0
_SHUTDOWN_S = 0.05  # 0 would wait for ever
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "cookie"})
_LINGER_ZERO = struct.pack("ii", 1, 0)


class EventLog:
    """Append-only JSON lines. A line is one write to an O_APPEND file, so it is whole whoever is killed."""

    def __init__(self, path: str) -> None:
        # A regular file ignores O_NONBLOCK; a pipe that nobody reads must not stop the server.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(path, flags, 0o600)

    def write(self, line: Mapping[str, Any]) -> None:
        os.write(self._fd, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class _Noted(msgspec.Struct):
    """What the log repeats of a body."""

    model: Any = None
    stream: Any = None
    user: Any = None
    metadata: Any = None


_noted = msgspec.json.Decoder(_Noted)


@dataclass(slots=True)
class _Delivery:
    """What of one answer has really been written."""

    n: int
    exchange: Exchange
    tokens: int = 0
    frames: int = 0


class SimulateServer:
    """Serves one Simulator. Times in the log are `at`, wall-clock microseconds; `n` numbers the requests from 1.

    `received` lines come when a request's body is complete; then one of `finished` (all was written), `cut` (a fault
    broke it off) or `cancelled` (the caller left; also how a silence ends), with what had been written by then.
    """

    def __init__(
        self,
        options: SimulateOptions,
        clock: Clock,
        log: EventLog | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._simulator = Simulator(options)
        self._clock = clock
        self._log = log
        self._sleep = sleep
        self._count = 0
        self._name = ""
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port. Raises OSError."""
        server = web.Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        bound: int = self._runner.addresses[0][1]
        self._name = str(bound)
        return bound

    async def stop(self) -> None:
        """Drop every connection and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._count += 1
        n = self._count
        body = await request.read()
        now = self._clock.now_us()
        self._note_received(n, now, request, body)
        received = Received(request.method, request.path, request.headers, body, now // 1_000_000)
        delivery = _Delivery(n, self._simulator.answer(received))
        try:
            response = await self._deliver(request, delivery)
        except (asyncio.CancelledError, ConnectionError) as left:
            self._note_end("cancelled", delivery)
            if isinstance(left, asyncio.CancelledError):
                raise
            return web.Response(status=499)
        self._note_end("finished" if delivery.exchange.ending is Ending.COMPLETE else "cut", delivery)
        return response

    async def _deliver(self, request: web.BaseRequest, delivery: _Delivery) -> web.StreamResponse:
        exchange = delivery.exchange
        if exchange.head_after > 0:
            await self._sleep(exchange.head_after)
        headers = head_of(exchange, f"req_{self._name}_{delivery.n:06d}")
        pieces = exchange.pieces
        if exchange.ending is Ending.COMPLETE and not exchange.is_stream and len(pieces) <= 1:
            # The common answer leaves as one write, head and body together.
            whole = web.Response(status=exchange.status, headers=headers, body=pieces[0].data if pieces else b"")
            await whole.prepare(request)
            await whole.write_eof()
            delivery.tokens = sum(piece.tokens for piece in pieces)
            return whole
        response = web.StreamResponse(status=exchange.status or 200, headers=headers)
        if exchange.status:
            if exchange.length is not None:
                response.content_length = exchange.length
            await response.prepare(request)
            await self._write(response, delivery)
        await self._end(request, response, exchange.ending)
        return response

    async def _write(self, response: web.StreamResponse, delivery: _Delivery) -> None:
        begun = self._clock.monotonic()
        pieces, index = delivery.exchange.pieces, 0
        while index < len(pieces):
            due = pieces[index].at
            wait = due - (self._clock.monotonic() - begun)
            if wait > 0:
                await self._sleep(wait)
            index, burst = next_burst(pieces, index, max(self._clock.monotonic() - begun, due))
            for _ in range(burst.times):
                await response.write(burst.data)
            delivery.tokens += burst.tokens
            delivery.frames += burst.frames

    async def _end(self, request: web.BaseRequest, response: web.StreamResponse, ending: Ending) -> None:
        if ending is Ending.COMPLETE:
            await response.write_eof()
        elif ending is Ending.SILENCE:
            # Ends when the caller leaves: the connection's loss cancels this handler.
            await asyncio.get_running_loop().create_future()
        elif request.transport is not None:
            if ending is Ending.RESET:
                sock = request.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
                request.transport.abort()
            else:
                request.transport.close()

    def _note_received(self, n: int, now: int, request: web.BaseRequest, body: bytes) -> None:
        if self._log is None:
            return
        try:
            noted = _noted.decode(body) if body else _Noted()
        except (msgspec.MsgspecError, RecursionError):
            noted = _Noted()
        line: dict[str, Any] = {"at": now, "event": "received", "n": n, "method": request.method, "path": request.path_qs}
        line |= {"model": noted.model, "stream": noted.stream is True, "bytes": len(body)}
        line["request_headers"] = {name.lower(): _masked(name.lower(), value) for name, value in request.headers.items()}
        for name in ("x-request-id", "traceparent"):
            if name in request.headers:
                line[name] = request.headers[name]
        for name, value in (("user", noted.user), ("metadata", noted.metadata)):
            if value is not None:
                line[name] = value
        self._log.write(line)

    def _note_end(self, event: str, delivery: _Delivery) -> None:
        if self._log is None:
            return
        exchange = delivery.exchange
        self._log.write(
            {
                "at": self._clock.now_us(),
                "event": event,
                "n": delivery.n,
                "status": exchange.status,
                "tokens_sent": delivery.tokens,
                "frames_sent": delivery.frames,
                "usage": exchange.usage,
            }
        )


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """aiohttp's own request, with room for large bodies."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY_LIMIT)


def _masked(name: str, value: str) -> str:
    """A credential as its last four characters: enough to tell two apart."""
    if name not in _SECRET_HEADERS:
        return value
    scheme, has_scheme, secret = value.rpartition(" ")
    return f"{scheme}{has_scheme}***{secret[-4:]}" if len(secret) > 8 else f"{scheme}{has_scheme}***"
