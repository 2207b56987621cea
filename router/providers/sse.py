"""Server-sent events: where whole frames end, and what is in them. Bytes pass as they came; nothing is decoded here."""

import re
from collections.abc import Iterator

import msgspec

from router.domain.upstream import FailureKind, TransportFailure

MAX_EVENT_BYTES = 8 * 2**20

# Two line ends in a row. The groups are atomic: CR LF is one line end and must never be read as two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_LAST_DATA = re.compile(rb"(?:^|[\r\n])data: ?([^\r\n]*)\Z")


class FrameSplitter:
    """Cuts a byte stream behind blank lines.

    What `feed` and `end` return is, put together, the input byte for byte and the same for every way of cutting it into
    chunks, but for a tail that `end` throws away. After `feed` has returned, everything returned so far is whole frames.
    """

    __slots__ = ("_tail", "_max_event")

    def __init__(self, max_event: int = MAX_EVENT_BYTES) -> None:
        self._tail = bytearray()
        self._max_event = max_event

    @property
    def tail(self) -> bytes:
        """The incomplete frame held back."""
        return bytes(self._tail)

    def feed(self, chunk: bytes) -> bytes:
        """The whole frames received and not yet returned, b"" if none; `chunk` itself where it is just that.

        Raises TransportFailure TOO_LARGE when an event without an end is over the cap.
        """
        tail = self._tail
        if not tail and chunk.endswith((b"\n\n", b"\r\n\r\n")):
            return chunk
        searched = max(0, len(tail) - 3)
        tail += chunk
        cut = _last_cut(tail, searched)
        if cut == 0:
            whole = b""
        elif cut == len(tail) == len(chunk):
            tail.clear()
            return chunk
        else:
            whole = bytes(tail[:cut])
            del tail[:cut]
        if len(tail) > self._max_event:
            raise TransportFailure(FailureKind.TOO_LARGE, f"an event of the stream is over {self._max_event} bytes")
        return whole

    def end(self) -> bytes:
        """What a clean end of the body makes of the tail: b"" unless it is a whole event that only lacks its blank line.

        Some providers end with `data: [DONE]` and one line end, or none, and their clients understand it. A tail cut inside
        a line is not an event. Call it only when the body ended as its framing promised.
        """
        if not self._tail:
            return b""
        tail = bytes(self._tail)
        self._tail.clear()
        if tail.endswith((b"\n", b"\r")):
            return tail
        last = _LAST_DATA.search(tail)
        return tail if last is not None and (last[1] == b"[DONE]" or _is_json(last[1])) else b""


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _last_cut(tail: bytearray, searched: int) -> int:
    """The offset behind the last blank line, 0 if there is none. `searched`: no blank line ends before it."""
    cut = tail.rfind(b"\n\n", searched) + 2
    if tail.find(b"\r", searched) < 0:
        return cut if cut > 1 else 0
    cut = 0
    for found in _BLANK_LINE.finditer(tail, _line_end_start(tail, searched)):
        cut = found.end()
    # A CR at the very end may be half of a CR LF. Held, unless the line end before it was a lone CR: then so is this.
    if cut == len(tail) and tail.endswith(b"\r") and not tail.endswith(b"\r\r"):
        return _cut_before(tail, searched)
    return cut


def _cut_before(tail: bytearray, searched: int) -> int:
    cut = 0
    for found in _BLANK_LINE.finditer(tail, _line_end_start(tail, searched), len(tail) - 1):
        cut = found.end()
    return cut


def _line_end_start(tail: bytearray, offset: int) -> int:
    """`offset`, moved out of the middle of a CR LF."""
    inside = 0 < offset < len(tail) and tail[offset] == 0x0A and tail[offset - 1] == 0x0D
    return offset - 1 if inside else offset


def frames(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The events in `block` as (event name, data), by the WHATWG rules: comments skipped, data lines joined by LF.

    An event whose blank line is missing at the end of `block` counts too; one without data does not.
    """
    name = b""
    data: list[bytes] = []
    if block.startswith(b"data: ") and block.find(b"\n") == len(block) - 2 and block.endswith(b"\n") and b"\r" not in block:
        yield b"", block[6:-2]
        return
    block = block.removeprefix(_BOM)
    for line in _LINE_END.split(block) if b"\r" in block else block.split(b"\n"):
        if not line:
            if data:
                yield name, b"\n".join(data)
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    if data:
        yield name, b"\n".join(data)


def blocks(block: bytes) -> Iterator[bytes]:
    """`block` cut into single frames, each with its blank line; joined they are `block` again."""
    start = 0
    for end in _blank_line_ends(block):
        yield block[start:end]
        start = end
    if start < len(block):
        yield block[start:]


def events(block: bytes, start: int) -> list[tuple[bytes, bytes, bytes]]:
    """The frames of `block` from `start` on, each with its event: (frame, event name, data); without data both are empty."""
    rest = block[start:] if start else block
    if rest.find(b"\r") >= 0:
        return [_event_of(frame) for frame in blocks(rest)]
    *whole, last = rest.split(b"\n\n")
    found = [
        (line + b"\n\n", b"", line[6:]) if line.startswith(b"data: ") and line.find(b"\n") < 0 else _event_of(line + b"\n\n")
        for line in whole
    ]
    if last:
        found.append(_event_of(last))
    return found


def _event_of(frame: bytes) -> tuple[bytes, bytes, bytes]:
    return frame, *next(frames(frame), (b"", b""))


def _blank_line_ends(block: bytes) -> Iterator[int]:
    if b"\r" in block:
        yield from (found.end() for found in _BLANK_LINE.finditer(block))
        return
    end = block.find(b"\n\n")
    while end >= 0:
        yield end + 2
        end = block.find(b"\n\n", end + 2)
