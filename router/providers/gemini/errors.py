"""Google's errors (google.rpc.Status) in common words: what they are about stands in their details, or in their texts."""

import re
from typing import Any

import msgspec

from router.providers.codec import ToldError
from router.providers.gemini.wording import KINDS

_MOST_TEXT = 1000
_WINDOW = re.compile(r"input token count .{0,40}exceeds|exceeds the maximum number of (?:input )?tokens", re.IGNORECASE)
_RETRY_IN = re.compile(r"retry in ([0-9]+(?:\.[0-9]+)?)s", re.IGNORECASE)
_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)s\Z")
_CODES = {
    "API_KEY_INVALID": "invalid_api_key",
    "API_KEY_SERVICE_BLOCKED": "invalid_api_key",
    "RATE_LIMIT_EXCEEDED": "rate_limit_exceeded",
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",
    "NOT_FOUND": "model_not_found",
}


def decode_error(status: int, body: bytes) -> ToldError:
    """Never raises: what is no envelope is told as the text it is. A stream that is an array holds the envelope in it."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body[:_MOST_TEXT].decode("utf-8", "replace").strip()
        return ToldError(text or f"HTTP {status}")
    if isinstance(told, list) and told:
        told = told[0]
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return ToldError(error if isinstance(error, str) and error else f"HTTP {status}")
    return _of(error, status)


def _of(error: dict[str, Any], status: int) -> ToldError:
    message, word = _text(error.get("message")) or f"HTTP {status}", _text(error.get("status"))
    details = _details(error.get("details"))
    reason = _text(details.get("ErrorInfo", {}).get("reason"))
    if _WINDOW.search(message):
        code: str | None = "context_length_exceeded"
    else:
        code = _CODES.get(reason) or _CODES.get(word) or reason.lower() or word.lower() or None
    return ToldError(
        message,
        KINDS.get(word, "api_error") if word else None,
        code,
        _field(details.get("BadRequest", {}).get("fieldViolations")),
        retry_after_s=_delay(details.get("RetryInfo", {}).get("retryDelay"), message),
    )


def _details(details: object) -> dict[str, dict[str, Any]]:
    """By the last word of their types: `type.googleapis.com/google.rpc.RetryInfo`."""
    items = details if isinstance(details, list) else ()
    return {_text(item.get("@type")).rpartition(".")[2]: item for item in items if isinstance(item, dict)}


def _delay(told: object, message: str) -> float | None:
    found = _SECONDS.match(told) if isinstance(told, str) else _RETRY_IN.search(message)
    return float(found[1]) if found is not None else None


def _field(violations: object) -> str | None:
    for item in violations if isinstance(violations, list) else ():
        if isinstance(item, dict) and _text(item.get("field")):
            return _text(item.get("field"))
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
