"""AWS's binary event stream: where whole messages end, and what is in them. Both checksums are checked.

A message is its length and that of its headers (4 bytes each, big-endian), the CRC32 of these eight, headers, payload, and
the CRC32 of everything before. https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from router.domain.upstream import FailureKind, TransportFailure

MEDIA_TYPE = "application/vnd.amazon.eventstream"
MAX_MESSAGE_BYTES = 24 * 2**20 + 128 * 2**10
"""What AWS's own clients take: 24 MiB of payload and 128 KiB of headers."""

_PRELUDE = Struct(">III")
_CHECKSUM = Struct(">I")
_OVERHEAD = _PRELUDE.size + _CHECKSUM.size
_MOST_HEADERS = 128 * 2**10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

HeaderValue = bool | int | bytes | str | datetime | UUID


class Message(NamedTuple):
    headers: dict[str, HeaderValue]
    payload: bytes


class MessageSplitter:
    """Holds back what is no whole message yet. What is returned is the input, byte for byte, however it was cut."""

    __slots__ = ("_tail", "_need")

    def __init__(self) -> None:
        self._tail = bytearray()
        self._need = _PRELUDE.size

    def feed(self, chunk: bytes) -> bytes:
        """The whole messages received and not yet returned, b"" if none.

        Raises TransportFailure: PROTOCOL where no message can begin as this one does, TOO_LARGE for one over the cap.
        """
        tail = self._tail
        tail += chunk
        if len(tail) < self._need:
            return b""
        end = 0
        while len(tail) - end >= _PRELUDE.size:
            try:
                size = _size(tail, end)
            except ValueError as error:
                raise TransportFailure(FailureKind.PROTOCOL, str(error)) from None
            if size > MAX_MESSAGE_BYTES:
                raise TransportFailure(FailureKind.TOO_LARGE, f"a message of the stream is over {MAX_MESSAGE_BYTES} bytes")
            if len(tail) - end < size:
                self._need = size
                break
            end += size
        else:
            self._need = _PRELUDE.size
        whole = bytes(tail[:end])
        del tail[:end]
        return whole

    def end(self) -> bytes:
        """A message that was cut is none."""
        self._tail.clear()
        return b""


def messages(block: bytes) -> Iterator[bytes]:
    """Whole messages, one by one. Raises ValueError where they are none."""
    at = 0
    while at < len(block):
        size = _size(block, at)
        yield block[at : at + size]
        at += size


def count_messages(block: bytes) -> int:
    return sum(1 for _ in messages(block))


def parse_message(frame: bytes) -> Message:
    """One whole message. Raises ValueError where it is none, or was changed on its way."""
    if len(frame) < _OVERHEAD:
        raise ValueError(f"a message of {len(frame)} bytes, and the shortest has {_OVERHEAD}")
    size, header_size, _ = _PRELUDE.unpack_from(frame)
    if size != len(frame) or _size(frame, 0) != size:
        raise ValueError(f"a message of {len(frame)} bytes that says it has {size}")
    (told,) = _CHECKSUM.unpack_from(frame, size - _CHECKSUM.size)
    if crc32(memoryview(frame)[: size - _CHECKSUM.size]) != told:
        raise ValueError("the checksum of a message is wrong")
    behind = _PRELUDE.size + header_size
    return Message(_headers(frame[_PRELUDE.size : behind]), frame[behind : size - _CHECKSUM.size])


def _size(block: bytes | bytearray, at: int) -> int:
    """The length of the message that begins at `at`."""
    if len(block) - at < _PRELUDE.size:
        raise ValueError("a message ends within its beginning")
    size, header_size, told = _PRELUDE.unpack_from(block, at)
    if crc32(block[at : at + 8]) != told:
        raise ValueError("the checksum of a message's beginning is wrong")
    if size < _OVERHEAD + header_size or header_size > _MOST_HEADERS:
        raise ValueError(f"a message of {size} bytes cannot have {header_size} bytes of headers")
    return int(size)


_FIXED = {2: Struct(">b"), 3: Struct(">h"), 4: Struct(">i"), 5: Struct(">q"), 8: Struct(">q"), 9: Struct(">16s")}
_LENGTH = Struct(">H")
_TEXT, _BYTES, _TIME, _UUID = 7, 6, 8, 9


def _headers(data: bytes) -> dict[str, HeaderValue]:
    """Raises ValueError for a type that is not known, a name that occurs twice, and what ends too early."""
    found: dict[str, HeaderValue] = {}
    at = 0
    while at < len(data):
        name_at = at + 1
        at = name_at + data[at]
        name, kind = data[name_at:at].decode(), data[at] if at < len(data) else -1
        if name in found:
            raise ValueError(f"the header {name[:64]!r} occurs twice")
        found[name], at = _value(kind, data, at + 1)
    return found


def _value(kind: int, data: bytes, at: int) -> tuple[HeaderValue, int]:
    """The value of a header of the type `kind` that begins at `at`, and where it ends."""
    if kind in (0, 1):
        return kind == 0, at
    if kind in (_BYTES, _TEXT):
        begin = at + _LENGTH.size
        length = _LENGTH.unpack(data[at:begin])[0] if begin <= len(data) else len(data)
        end = begin + length
        raw = data[begin:end]
    else:
        shape = _FIXED.get(kind)
        if shape is None:
            raise ValueError(f"a header of the type {kind}, which is none")
        end = at + shape.size
        raw = data[at:end]
    if end > len(data):
        raise ValueError("the headers of a message end within one of them")
    if kind == _TEXT:
        return raw.decode(), end
    if kind == _BYTES:
        return raw, end
    number = _FIXED[kind].unpack(raw)[0]
    if kind == _UUID:
        return UUID(bytes=number), end
    return (_time(number) if kind == _TIME else number), end


def _time(milliseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise ValueError("a header holds a time that is none") from None
