"""Streams of one JSON object a line, as Ollama sends them."""

from collections.abc import Iterator

import msgspec

from router.domain.upstream import FailureKind, TransportFailure
from router.providers.sse import MAX_EVENT_BYTES
from router.providers.translated import Framing


class LineSplitter:
    """Cuts a byte stream behind its line ends, as FrameSplitter does behind blank lines."""

    __slots__ = ("_tail", "_max_line")

    def __init__(self, max_line: int = MAX_EVENT_BYTES) -> None:
        self._tail = bytearray()
        self._max_line = max_line

    def feed(self, chunk: bytes) -> bytes:
        """The whole lines received and not yet returned. Raises TransportFailure TOO_LARGE for a line over the cap."""
        cut = chunk.rfind(b"\n") + 1
        whole = b""
        if cut:
            whole = bytes(self._tail) + chunk[:cut]
            self._tail.clear()
        self._tail += chunk[cut:]
        if len(self._tail) > self._max_line:
            raise TransportFailure(FailureKind.TOO_LARGE, f"a line of the stream is over {self._max_line} bytes")
        return whole

    def end(self) -> bytes:
        """The tail, where it is a whole object that only lacks its line end; else b""."""
        tail = bytes(self._tail)
        self._tail.clear()
        try:
            msgspec.json.decode(tail)
        except (msgspec.DecodeError, RecursionError):
            return b""
        return tail


def lines(block: bytes) -> Iterator[bytes]:
    """`block` cut into single lines, each with its end; joined they are `block` again."""
    start = 0
    while end := block.find(b"\n", start) + 1:
        yield block[start:end]
        start = end
    if start < len(block):
        yield block[start:]


def count_lines(block: bytes) -> int:
    return block.count(b"\n") + 1


NDJSON = Framing("application/x-ndjson", LineSplitter, lines, count_lines)
