"""A binary event stream read plainly: lengths and headers as Amazon documents them. The checksums are not looked at."""

import json
import struct
from collections.abc import Iterator
from typing import Any

_WIDTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_SIZED = frozenset({6, 7})


def payloads(stream: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each event or exception, and its JSON."""
    at = 0
    while at < len(stream):
        total, headers = struct.unpack(">II", stream[at : at + 8])
        named = _headers(stream[at + 12 : at + 12 + headers])
        body = stream[at + 12 + headers : at + total - 4]
        yield named.get(":event-type") or named.get(":exception-type", ""), json.loads(body or b"{}")
        at += total


def _headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        name = block[at + 1 : at + 1 + block[at]].decode()
        at += 1 + block[at]
        kind = block[at]
        width = struct.unpack(">H", block[at + 1 : at + 3])[0] if kind in _SIZED else _WIDTHS[kind]
        at += 3 if kind in _SIZED else 1
        found[name] = block[at : at + width].decode(errors="replace")
        at += width
    return found
