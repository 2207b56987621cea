"""The load: keep-alive connections over raw HTTP/1.1, each sending its next request as soon as it has its answer.

Every answer is checked: a status other than 200, a cut body or a stream without its end is counted as failed.
"""

import asyncio
import base64
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from time import perf_counter
from typing import Self, cast

from bench.upstream import content_length

PATH = "/v1/chat/completions"
_FINISHED = b"data: [DONE]"
_IMAGE_SEED = 7


@dataclass(frozen=True, slots=True)
class Call:
    """Requests as heads and bodies, each taken in turn by all connections together. All `bodies` have one length."""

    heads: tuple[bytes, ...]
    bodies: tuple[bytes, ...]
    is_stream: bool

    @classmethod
    def chat(
        cls,
        models: Sequence[str],
        keys: Sequence[str],
        *,
        stream: bool = False,
        body_bytes: int = 1024,
        image: bool = False,
        headers: Sequence[str] = (),
    ) -> "Call":
        """Chat requests of exactly `body_bytes` bytes; with `image` nearly all of it is one image in base64."""
        bodies = tuple(_body(model, body_bytes, stream=stream, image=image) for model in models)
        lines = "".join(f"{header}\r\n" for header in headers)
        heads = tuple(
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{lines}"
            f"Authorization: Bearer {key}\r\nContent-Length: {body_bytes}\r\n\r\n".encode()
            for key in keys
        )
        return cls(heads, bodies, stream)


def _body(model: str, body_bytes: int, *, stream: bool, image: bool) -> bytes:
    ending = b',"stream":true' * stream
    if image:
        before, after = (
            b'{"model":"%b","messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},'
            b'{"type":"image_url","image_url":{"url":"data:image/png;base64,' % model.encode(),
            b'"}}]}]%b}' % ending,
        )
    else:
        before, after = (
            b'{"model":"%b","messages":[{"role":"user","content":"' % model.encode(),
            b'"}]%b}' % ending,
        )
    room = body_bytes - len(before) - len(after)
    return before + (_base64(room) if image else b"x" * room) + after


def _base64(length: int) -> bytes:
    """`length` characters of a random picture, the same in every run."""
    return base64.b64encode(random.Random(_IMAGE_SEED).randbytes(length))[:length]


@dataclass(slots=True)
class Tally:
    """What one window of load has seen, in milliseconds from the first byte sent: to the last byte of each answer, and to
    the first byte of a stream's body."""

    failed: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    first_bytes_ms: list[float] = field(default_factory=list)
    first_failure: bytes = b""

    @property
    def finished(self) -> int:
        return len(self.latencies_ms)


class Caller(asyncio.Protocol):
    """One connection. It reports each answer to the tally that is current when the answer ends."""

    def __init__(self, requests: Iterator[tuple[bytes, bytes]], is_stream: bool, tally_of: Callable[[], Tally]) -> None:
        self.started = asyncio.Event()
        self.finished = asyncio.Event()
        self.goes_on = True
        self.at_rest = asyncio.Event()
        self._requests = requests
        self._is_stream = is_stream
        self._tally_of = tally_of
        self._transport: asyncio.Transport | None = None
        self._answer = bytearray()
        self._body_at = 0
        self._end: int | None = None
        self._sent_at = 0.0
        self._first_byte_at = 0.0

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
        self.started.set()
        self.finished.set()
        self.at_rest.set()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._body_at == 0:
            self._read_head()
        if self._body_at:
            if not self._first_byte_at and len(self._answer) > self._body_at:
                self._first_byte_at = perf_counter()
            if self._is_whole():
                self._finish()

    def _send(self) -> None:
        assert self._transport is not None
        self._answer.clear()
        self._body_at, self._end, self._first_byte_at = 0, None, 0.0
        request = next(self._requests)
        self._sent_at = perf_counter()
        self._transport.writelines(request)

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
        is_good = self._answer.startswith(b"HTTP/1.1 200 ") and (not self._is_stream or _FINISHED in self._answer[-200:])
        if not is_good:
            self._fail()
            return
        tally = self._tally_of()
        tally.latencies_ms.append((perf_counter() - self._sent_at) * 1000)
        if self._is_stream:
            tally.first_bytes_ms.append((self._first_byte_at - self._sent_at) * 1000)
        self.finished.set()
        if self._transport is not None and self.goes_on:
            self._send()
        else:
            self.at_rest.set()

    def _fail(self) -> None:
        """A failed answer ends its connection: an overloaded gateway is not to be hammered."""
        tally = self._tally_of()
        tally.failed += 1
        tally.first_failure = tally.first_failure or bytes(self._answer[:400]) or b"the connection was closed"
        self.hang_up()


class Load:
    """Callers at work from entering to leaving the block; `tally` is replaced to open a new window."""

    def __init__(self, port: int, parts: Sequence[tuple[Call, int]]) -> None:
        """`parts` are calls, each with the number of connections that make it."""
        self.tally = Tally()
        self._port = port
        self._parts = parts
        self._callers: list[Caller] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for call, connections in self._parts:
            requests = zip(cycle(call.heads), cycle(call.bodies), strict=False)
            make_caller = partial(Caller, requests, call.is_stream, lambda: self.tally)
            for _ in range(connections):
                _transport, caller = await loop.create_connection(make_caller, "127.0.0.1", self._port)
                self._callers.append(caller)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for caller in self._callers:
            caller.hang_up()
        await asyncio.sleep(0)

    async def come_to_rest(self) -> None:
        """No new requests; return when those under way are answered."""
        for caller in self._callers:
            caller.goes_on = False
        await asyncio.gather(*(caller.at_rest.wait() for caller in self._callers))

    async def all_started(self) -> None:
        """Every caller has the head of an answer, or has failed."""
        await asyncio.gather(*(caller.started.wait() for caller in self._callers))

    async def all_finished_once(self) -> None:
        """Every caller has a whole answer, or has failed."""
        await asyncio.gather(*(caller.finished.wait() for caller in self._callers))
