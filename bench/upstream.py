"""A fake provider as lean as Python allows: fixed answers over raw HTTP/1.1, to chat requests and to some other dialects'.

The name of the model decides: `-paced` an event each 5 ms, `-slow` one each second, `-long` 500 events, `-first` one event
and the others a moment later.
"""

import argparse
import asyncio
import json
import signal
from collections.abc import Iterable
from typing import cast

import uvloop

from bench.spoken import WORDS, spoken

EVENTS = 20
LONG_EVENTS = 500
PACE_S = 0.005
SLOW_S = 1.0
SLOW_EVENTS = 60
# What decides stands at the beginning and the end of a body, also where there is a megabyte between them.
_EDGE = 300

_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


def json_answer() -> bytes:
    """A whole response of about 600 bytes of JSON with usage."""
    message: dict[str, object] = {"role": "assistant", "content": "".join(WORDS) * 3, "refusal": None, "annotations": []}
    usage = {
        "prompt_tokens": 211,
        "completion_tokens": 33,
        "total_tokens": 244,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    }
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_760_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": usage,
            "system_fingerprint": "fp_bench",
        },
        separators=(",", ":"),
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def stream_events(count: int = EVENTS) -> list[bytes]:
    """`count` chat chunks, the last with its finish reason, as HTTP chunks; without usage and `[DONE]`."""
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": WORDS[n % len(WORDS)]} for n in range(count - 2)]
    return [_event(delta, None) for delta in deltas] + [_event({}, "stop")]


def _event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    return _frame({**_CHUNK, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]})


def _frame(content: object) -> bytes:
    return _chunk(b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_CHUNK = {
    "id": "chatcmpl-bench",
    "object": "chat.completion.chunk",
    "created": 1_760_000_000,
    "model": "gpt-4o-mini-2024-07-18",
}
JSON_ANSWER = json_answer()
STREAM = stream_events()
BURST = _STREAM_HEAD + b"".join(STREAM)
LONG_BURST = _STREAM_HEAD + b"".join(stream_events(LONG_EVENTS))
USAGE = _frame({**_CHUNK, "choices": [], "usage": {"prompt_tokens": 211, "completion_tokens": 33, "total_tokens": 244}})
DONE = _chunk(b"data: [DONE]\n\n")
OTHERS = spoken(EVENTS, LONG_EVENTS)


def _wants_stream(edges: bytes) -> bool:
    return b'"stream":true' in edges or b'"stream": true' in edges


class Provider(asyncio.Protocol):
    """One connection; requests are framed by Content-Length and answered one after the other."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body_at = self._end = 0
        self._path = b""
        self._transport: asyncio.Transport | None = None
        self._pacer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._pacer is not None:
            self._pacer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._is_whole():
            edges = bytes(self._buffer[self._body_at : min(self._body_at + _EDGE, self._end)])
            edges += bytes(self._buffer[max(self._body_at, self._end - _EDGE) : self._end])
            del self._buffer[: self._end]
            self._body_at = self._end = 0
            if (other := OTHERS.get(self._path)) is None:
                self._answer(edges)
            elif _wants_stream(edges):
                self._write(other.long_burst if b'-long"' in edges else other.burst)
            else:
                self._write(other.answer)

    def _is_whole(self) -> bool:
        if not self._end:
            head_end = self._buffer.find(b"\r\n\r\n")
            if head_end < 0:
                return False
            self._body_at = head_end + 4
            self._path = bytes(self._buffer[: self._buffer.find(b"\r\n")]).split(b" ")[1]
            self._end = self._body_at + content_length(bytes(self._buffer[:head_end]))
        return len(self._buffer) >= self._end

    def _answer(self, edges: bytes) -> None:
        if not _wants_stream(edges):
            self._write(JSON_ANSWER)
            return
        ending = (USAGE if b"include_usage" in edges else b"") + DONE
        if b'-slow"' in edges:
            self._pace(iter([_STREAM_HEAD, *(STREAM[:-1] * 4)[:SLOW_EVENTS], STREAM[-1], ending + _LAST_CHUNK]), SLOW_S)
        elif b'-paced"' in edges:
            self._pace(iter([_STREAM_HEAD + STREAM[0], *STREAM[1:], ending + _LAST_CHUNK]), PACE_S)
        elif b'-first"' in edges:
            self._pace(iter([_STREAM_HEAD + STREAM[0], b"".join(STREAM[1:]) + ending + _LAST_CHUNK]), PACE_S)
        else:
            self._write((LONG_BURST if b'-long"' in edges else BURST) + ending + _LAST_CHUNK)

    def _pace(self, parts: Iterable[bytes], pause_s: float) -> None:
        part = next(iter(parts), None)
        if part is not None:
            self._write(part)
            self._pacer = asyncio.get_running_loop().call_later(pause_s, self._pace, parts, pause_s)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def content_length(head: bytes) -> int:
    """Of a request or response head; 0 where there is none."""
    start = head.lower().find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    end = head.find(b"\r\n", start + 2)
    return int(head[start + 17 : end if end >= 0 else len(head)])


async def serve(port: int) -> None:
    """Answer on loopback until SIGTERM."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(Provider, "127.0.0.1", port, backlog=4096)
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    await stopped.wait()
    listener.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    uvloop.run(serve(arguments.parse_args().port))
