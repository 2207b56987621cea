"""An error's body of a Chat Completions server in common words: OpenAI's envelope, and the shapes others made of it."""

from typing import Any

import msgspec

from router.providers.codec import ToldError

_MOST = 2000


def decode_error(status: int, body: bytes) -> ToldError:
    """Never raises."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body[:_MOST].decode(errors="replace").strip()
        return ToldError(text or f"the provider answered HTTP {status}")
    if isinstance(told, list) and told:
        told = told[0]
    return _of(told, status) if isinstance(told, dict) else ToldError(f"the provider answered HTTP {status}")


def _of(told: dict[str, Any], status: int) -> ToldError:
    inner = told.get("error")
    if isinstance(inner, str) and inner.strip():
        return ToldError(inner[:_MOST], _text(told.get("error_type")))
    found: dict[str, Any] = inner if isinstance(inner, dict) else told
    message = _text(found.get("message")) or _detail(found.get("detail")) or f"the provider answered HTTP {status}"
    code = found.get("code")
    return ToldError(
        message[:_MOST],
        _text(found.get("type")),
        _text(code) or (str(code) if type(code) is int else None),
        _text(found.get("param")),
    )


def _detail(detail: object) -> str | None:
    """FastAPI's: a text, or a list of what was wrong where."""
    if isinstance(detail, list):
        return "; ".join(_text(item.get("msg")) or "" for item in detail if isinstance(item, dict)) or None
    return _text(detail)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
