"""Where the top-level members of a JSON object stand in its bytes, so that one value can be spliced without a re-encode."""

import re
from collections.abc import Iterator
from json import loads
from typing import NamedTuple

Span = tuple[int, int]

OUTLINED_FROM = 64 * 2**10
_KEPT = 256
_TAIL = 8
_DENSE = 128

# One token that matters to nesting: a whole string, or a bracket, or a comma or colon.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)
_STRING_VALUE = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)
_SPACE = b" \t\r\n"


class Member(NamedTuple):
    """`name` as decoded; `escaped` when it was not written plainly; spans are half-open byte offsets."""

    name: str
    escaped: bool
    key: Span
    value: Span


def outline(body: bytes) -> bytes:
    """The body without the middle of its long strings, to search for names and for how values begin; as it is where it is
    small, and from where there are so many quotes that searching costs less than leaving out.

    What is left out is behind the first 256 bytes of a run without quotes, and holds no colon but in those: no name, and
    nothing that stands between a name and its value. The outline need not be valid JSON.
    """
    find, size = body.find, len(body)
    if size < OUTLINED_FROM:
        return body
    kept: list[bytes] = []
    kept_from = at = 0
    for _ in range(size // _DENSE):
        end = find(b'"', at)
        if end < 0:
            end = size
        if end - at > _KEPT and find(b":", at + _KEPT, end) < 0:
            kept.append(body[kept_from : at + _KEPT])
            # The end of a run may be the backslash that makes the quote behind it a part of the string.
            kept_from = end - _TAIL
        at = end + 1
        if at >= size:
            break
    return b"".join([*kept, body[kept_from:]]) if kept else body


def top_level_members(body: bytes) -> Iterator[Member]:
    """Yield the members of the object in `body`, which must already be known to be valid JSON."""
    depth = 0
    key: Span | None = None
    value_start: int | None = None
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0 and key is not None and value_start is not None:
                yield _member(body, key, value_start, token.start())
                return
        elif depth != 1:
            continue
        elif first == 0x22:
            if value_start is None:
                key = token.span()
        elif first == 0x3A:
            value_start = token.end()
        elif key is not None and value_start is not None:
            yield _member(body, key, value_start, token.start())
            key, value_start = None, None


def string_value(body: bytes, quoted: bytes) -> Span | None:
    """Where the string stands that is the value of the first `quoted` name; None where that has another value."""
    found = _STRING_VALUE.match(body, body.find(quoted) + len(quoted))
    return found.span(1) if found is not None else None


def member_span(body: bytes, name: str) -> Span | None:
    """The value span of the top-level member `name`, None if absent."""
    if b'"' + name.encode() + b'"' not in body and b"\\u" not in body:
        return None
    return next((member.value for member in top_level_members(body) if member.name == name), None)


def _member(body: bytes, key: Span, start: int, end: int) -> Member:
    while body[start] in _SPACE:
        start += 1
    while body[end - 1] in _SPACE:
        end -= 1
    written = body[key[0] : key[1]]
    return Member(loads(written), b"\\" in written, key, (start, end))
