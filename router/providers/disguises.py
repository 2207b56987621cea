"""Errors in a 200: an error instead of an answer, an error event, an answer that a filter left empty. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.providers.refusals import MOST_TEXT, Cause, Refusal, cause_of, decoded, message_of, words_in
from router.providers.waits import asked_wait_s

_IMPLIED: Mapping[Cause, int] = {
    Cause.RATE_LIMITED: 429,
    Cause.QUOTA: 429,
    Cause.OVERLOADED: 503,
    Cause.AUTH: 401,
    Cause.NOT_FOUND: 404,
    Cause.SERVER: 502,
}


def disguised(body: bytes) -> Refusal | None:
    """The error that a whole 200 answer, or the first event of a stream, is instead of an answer; None where it is one."""
    if b'"error"' not in body:
        return None
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    error = answer.error
    if not error or bytes(error) in _NOTHING or any(map(bool, (answer.choices, answer.content, answer.output, answer.data))):
        return None
    if answer.object is not None or answer.candidates or answer.message:
        return None
    return error_event(body)


def is_error(data: bytes) -> bool:
    """Whether an event without a name is one: Chat's have an `error`, those of others a type."""
    told = decoded(data) if b'"error"' in data else None
    return isinstance(told, dict) and bool(told.get("error") or told.get("type") == "error")


def error_event(body: bytes) -> Refusal:
    """What the data of an error event, or an error inside a 200, means. Never raises."""
    told = decoded(body)
    words = list(words_in(told, 0))
    status = next((int(w) for w in words if w.isdecimal() and 400 <= int(w) <= 599), 0)
    cause = cause_of(status or 400, words, message_of(told, body))
    if not status:
        is_blamed = cause in (Cause.CONTEXT_WINDOW, Cause.CONTENT_POLICY) or "invalid_request_error" in words
        status = _IMPLIED.get(cause, 400 if is_blamed else 502)
        if status == 502:
            cause = Cause.SERVER
    return Refusal(cause, status, asked_wait_s({}, told, 0))


def error_body(body: bytes) -> bytes:
    """What an error event says as the body of an answer: in an envelope, as it would have come with a status."""
    told = decoded(body)
    if isinstance(told, dict) and told.get("error"):
        return body
    named = {n: told.get(n) for n in ("message", "type", "param", "code")} if isinstance(told, dict) else {}
    if not named.get("message"):
        named["message"] = body[:MOST_TEXT].decode(errors="replace").strip()
    return msgspec.json.encode({"error": named})


class _Answer(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    candidates: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    object: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_NOTHING = frozenset({b"null", b"{}", b'""', b"false", b"[]"})


class _Blocked(msgspec.Struct):
    """What three dialects say of a choice, or of the whole."""

    choices: list["_Choice"] = []
    stop_reason: str | None = None
    content: list[msgspec.Raw] | None = None
    output: list[msgspec.Raw] | None = None
    incomplete_details: "_Why | None" = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: "_Message | None" = None


class _Message(msgspec.Struct):
    content: Any = None
    tool_calls: Any = None


class _Why(msgspec.Struct):
    reason: str | None = None


_BLOCKED = msgspec.json.Decoder(_Blocked)


def blocked(answer: bytes) -> bool:
    """Whether a whole answer of a caller's dialect holds nothing, because a filter or the model's author stopped it."""
    if b"content_filter" not in answer and b"refusal" not in answer:
        return False
    try:
        told = _BLOCKED.decode(answer)
    except (msgspec.MsgspecError, RecursionError):
        return False
    if told.choices:
        return all(c.finish_reason == "content_filter" and not _says(c.message) for c in told.choices)
    if told.stop_reason == "refusal":
        return not told.content
    return told.incomplete_details is not None and told.incomplete_details.reason == "content_filter" and not told.output


def _says(message: _Message | None) -> bool:
    return message is not None and bool(message.content or message.tool_calls)
