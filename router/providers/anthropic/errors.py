"""Anthropic's errors in common words: what they are about is told by their texts alone, so those are read here."""

import re

import msgspec

from router.providers.codec import ToldError

_MOST_TEXT = 1000
_WINDOW = re.compile(r"prompt is too long|exceed(?:s|ed)? (?:the )?(?:model'?s? )?context (?:limit|window)", re.IGNORECASE)
_FUNDS = re.compile(r"credit balance is too low", re.IGNORECASE)
_POLICY = re.compile(r"content filtering policy|usage polic", re.IGNORECASE)
_MEMBER = re.compile(r"([a-z_]+(?:\.[A-Za-z0-9_]+)*): ")


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None


class _Envelope(msgspec.Struct):
    error: _Error | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def decode_error(status: int, body: bytes) -> ToldError:
    """Never raises: what is no envelope is told as the text it is."""
    try:
        error = _ENVELOPE.decode(body).error
    except (msgspec.MsgspecError, RecursionError):
        error = None
    if error is None or error.message is None:
        text = body[:_MOST_TEXT].decode("utf-8", "replace").strip()
        return ToldError(text or f"HTTP {status}", error.type if error is not None else None)
    message = error.message
    found = _MEMBER.match(message) if status == 400 else None
    return ToldError(message, error.type, _code_of(message), found[1] if found is not None else None)


def _code_of(message: str) -> str | None:
    """In the words that OpenAI made common."""
    if _WINDOW.search(message):
        return "context_length_exceeded"
    if _FUNDS.search(message):
        return "insufficient_quota"
    return "content_policy_violation" if _POLICY.search(message) else None
