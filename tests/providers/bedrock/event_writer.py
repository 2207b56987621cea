"""Writes AWS's binary event stream, for those who act as Bedrock."""

import json
from datetime import UTC, datetime
from struct import pack
from typing import Any
from uuid import UUID
from zlib import crc32


def message(headers: dict[str, Any], payload: bytes) -> bytes:
    """Headers by their Python type; a pair (type, value) writes an integer of that type."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = pack(">II", len(head) + len(payload) + 16, len(head))
    whole = prelude + pack(">I", crc32(prelude)) + head + payload
    return whole + pack(">I", crc32(whole))


def event(kind: str, payload: dict[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(payload).encode())


def exception(kind: str, payload: dict[str, Any]) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(payload).encode())


def _header(name: str, value: Any) -> bytes:
    raw = name.encode()
    return bytes([len(raw)]) + raw + _value(value)


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return b"\0" if value else b"\1"
        case (int() as kind, int() as number):
            return bytes([kind]) + pack({2: ">b", 3: ">h", 4: ">i", 5: ">q"}[kind], number)
        case bytes():
            return b"\6" + pack(">H", len(value)) + value
        case str():
            return b"\7" + pack(">H", len(value.encode())) + value.encode()
        case datetime():
            return b"\x08" + pack(">q", round((value - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000))
        case UUID():
            return b"\x09" + value.bytes
        case _:
            raise TypeError(value)
