"""Bedrock's errors in common words. Their type stands in a header; their texts alone tell what they are about."""

import re

import msgspec

from router.providers.codec import ToldError

_MOST_TEXT = 1000
_WINDOW = re.compile(
    r"(?:input|prompt) is too long|too many (?:input )?tokens|maximum (?:context|number of input tokens)"
    r"|context (?:length|window)",
    re.IGNORECASE,
)
_POLICY = re.compile(r"content filter|blocked by .*guardrail|content polic", re.IGNORECASE)


class _Envelope(msgspec.Struct):
    message: str | None = None
    Message: str | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def decode_error(status: int, body: bytes) -> ToldError:
    """Never raises: what is no envelope is told as the text it is."""
    try:
        told = _ENVELOPE.decode(body)
        text = told.message or told.Message
    except (msgspec.MsgspecError, RecursionError):
        text = None
    message = text or body[:_MOST_TEXT].decode("utf-8", "replace").strip() or f"HTTP {status}"
    return ToldError(message, code=_code_of(message))


def _code_of(message: str) -> str | None:
    """In the words that OpenAI made common."""
    if _WINDOW.search(message):
        return "context_length_exceeded"
    return "content_policy_violation" if _POLICY.search(message) else None
