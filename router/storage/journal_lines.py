"""One line of a journal: a JSON array that begins with its tag, a space, the CRC-32 of the array in hex, a line feed.

A line that was torn by the death of its process fails its checksum. No secret is in any of them.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec
from msgspec import structs

from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt, mended
from router.storage.ledger_rows import storable

VERSION = 2


class Header(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="j"):
    """The first line of every segment."""

    version: int
    instance: str


class Opened(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="o"):
    attempt: OpenedAttempt


class Progressed(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="p"):
    """`output_tokens` is how many had come by `at`, microseconds since the epoch."""

    request: str
    attempt: int
    output_tokens: int
    at: int


class Ended(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="e"):
    request: str
    attempt: AttemptEntry


class Finished(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="f"):
    entry: LedgerEntry


Line = Header | Opened | Progressed | Ended | Finished

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def encoded(line: Line) -> bytes:
    """The line with its checksum. Lone surrogates, which are no text, are replaced, numbers beyond 64 bits clamped."""
    try:
        text = _encode(line)
    except (UnicodeEncodeError, OverflowError):
        text = _encode(_mended(line))
    return text + b" %x\n" % crc32(text)


def finished_lines(entries: Sequence[LedgerEntry]) -> list[bytes]:
    """The last line of each request."""
    try:
        return [text + b" %x\n" % crc32(text) for text in map(_encode, map(Finished, entries))]
    except (UnicodeEncodeError, OverflowError):
        return [encoded(Finished(entry)) for entry in entries]


def decoded(raw: bytes) -> Line | None:
    """The line in `raw` (without its line feed), None if it is torn, damaged or of a kind this release does not know."""
    text, _, checksum = raw.rpartition(b" ")
    if checksum != b"%x" % crc32(text):
        return None
    try:
        line: Line = _decode(text)
    except msgspec.MsgspecError:
        return None
    return line


def _mended(line: Line) -> Line:
    match line:
        case Finished(entry):
            return Finished(storable(entry))
        case Opened(attempt):
            return Opened(mended(attempt))
        case Ended(request, attempt=ended):
            return Ended(request, structs.replace(mended(ended), usage=mended(ended.usage)))
        case Progressed() | Header():
            return mended(line)
