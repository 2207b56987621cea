"""The load: keep-alive connections over raw HTTP/1.1, each sending its next request as soon as it has its answer.

Every answer is checked: a status other than 200, a cut body or a stream without its end is counted as failed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Self, cast

from bench.upstream import content_length

_FINISHED = b"data: [DONE]"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as bytes, and whether its answer is a stream."""

    wire: bytes
    is_stream: bool

    @classmethod
    def chat(cls, model: str, key: str, *, stream: bool = False, body_bytes: int = 1024) -> "Call":
        """A chat request with a body of `body_bytes` bytes."""
        head, tail = (
            b'{"model":"%b","messages":[{"role":"user","content":"' % model.encode(),
            b'"}]%b}' % (b',"stream":true' * stream),
        )
        body = head + b"x" * (body_bytes - len(head) - len(tail)) + tail
        wire = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
        )
        return cls(wire, stream)


@dataclass(slots=True)
class Tally:
    """What one window of load has seen. `latencies_ms` are from the first byte sent to the last received."""

    failed: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    first_failure: bytes = b""

    @property
    def finished(self) -> int:
        return len(self.latencies_ms)


class Caller(asyncio.Protocol):
    """One connection. It reports each answer to the tally that is current when the answer ends."""

    def __init__(self, call: Call, tally_of: Callable[[], Tally]) -> None:
        self.started = asyncio.Event()
        self._call = call
        self._tally_of = tally_of
        self._transport: asyncio.Transport | None = None
        self._answer = bytearray()
        self._body_at = 0
        self._end: int | None = None
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._fail()
        self._transport = None

    def hang_up(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._body_at == 0:
            self._read_head()
        if self._body_at and self._is_whole():
            self._finish()

    def _send(self) -> None:
        assert self._transport is not None
        self._answer.clear()
        self._body_at, self._end = 0, None
        self._sent_at = perf_counter()
        self._transport.write(self._call.wire)

    def _read_head(self) -> None:
        head_end = self._answer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._answer[:head_end])
        self._body_at = head_end + 4
        is_chunked = b"chunked" in head.lower()
        self._end = None if is_chunked else self._body_at + content_length(head)
        self.started.set()

    def _is_whole(self) -> bool:
        if self._end is not None:
            return len(self._answer) >= self._end
        return self._answer.endswith(b"\r\n0\r\n\r\n")

    def _finish(self) -> None:
        is_good = self._answer.startswith(b"HTTP/1.1 200 ") and (not self._call.is_stream or _FINISHED in self._answer)
        if not is_good:
            self._fail()
            return
        self._tally_of().latencies_ms.append((perf_counter() - self._sent_at) * 1000)
        if self._transport is not None:
            self._send()

    def _fail(self) -> None:
        """A failed answer ends its connection: an overloaded gateway is not to be hammered."""
        tally = self._tally_of()
        tally.failed += 1
        tally.first_failure = tally.first_failure or bytes(self._answer[:400])
        self.hang_up()


class Load:
    """`connections` callers at work from entering to leaving the block; `tally` is replaced to open a new window."""

    def __init__(self, port: int, call: Call, connections: int) -> None:
        self.tally = Tally()
        self._port = port
        self._call = call
        self._connections = connections
        self._callers: list[Caller] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _transport, caller = await loop.create_connection(self._make_caller, "127.0.0.1", self._port)
            self._callers.append(caller)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for caller in self._callers:
            caller.hang_up()
        await asyncio.sleep(0)

    async def all_started(self) -> None:
        """Every caller has the head of an answer."""
        await asyncio.gather(*(caller.started.wait() for caller in self._callers))

    def _make_caller(self) -> Caller:
        return Caller(self._call, lambda: self.tally)
