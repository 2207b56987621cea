"""Log lines for a terminal: `time level event name=value ...`, a traceback below, indented."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_ELSEWHERE = frozenset({"time", "level", "event", "traceback"})
_PLAIN = re.compile(r"[^\s\"'=\x00-\x1f\x7f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def text_line(fields: Mapping[str, Any]) -> bytes:
    """One line from the fields of a JSON line. No value can begin a line: even a traceback's lines are indented."""
    head = f"{fields['time']} {fields['level'].upper():<7} {fields['event']}"
    pairs = [f"{name}={_value(value)}" for name, value in fields.items() if name not in _ELSEWHERE]
    below = "".join(f"\n    {_CONTROL.sub('?', line)}" for line in str(fields.get("traceback", "")).splitlines())
    return (" ".join([head, *pairs]) + below).encode()


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else msgspec.json.encode(value).decode()
    return msgspec.json.encode(value).decode()
