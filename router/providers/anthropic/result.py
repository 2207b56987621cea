"""A whole message in common words, and back."""

from typing import Any

import msgspec

from router.domain.chat import (
    Audio,
    ChatQuery,
    ChatResult,
    Choice,
    Citation,
    Document,
    Family,
    Finish,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from router.domain.errors import InvalidRequest
from router.domain.usage import Usage
from router.providers.anthropic.carried import Carried, packed, sealed
from router.providers.anthropic.content_in import read_answered
from router.providers.anthropic.counts import message_counts
from router.providers.anthropic.wording import TIERS_GIVEN, finish_of, stop_reason_of, told
from router.providers.shown import as_text

Json = dict[str, Any]
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class StopDetails(msgspec.Struct):
    explanation: str | None = None


class Said(msgspec.Struct):
    """What a usage object says beside its counts."""

    service_tier: str | None = None


class Message(msgspec.Struct):
    """`content` is unread; `role` and `type` are always the same."""

    type: str = ""
    id: str = ""
    model: str = ""
    content: list[msgspec.Raw] = msgspec.field(default_factory=list)
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: msgspec.Raw = msgspec.Raw()


_MESSAGE = msgspec.json.Decoder(Message)
_SAID = msgspec.json.Decoder(Said)


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer."""
    try:
        message = _MESSAGE.decode(answer)
        parts = [read_answered(raw, f"content[{index}]") for index, raw in enumerate(message.content)]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the answer is no message: {error}") from None
    except InvalidRequest as error:
        raise ValueError(f"the answer is no message: {error.message}") from None
    if message.type != "message":
        raise ValueError(f"the answer is of the type {message.type[:64]!r}, not a message")
    refusal = refusal_of(message.stop_details)
    finish = finish_of(message.stop_reason)
    choice = Choice(
        (*parts, refusal) if refusal is not None else tuple(parts), finish, message.stop_reason or "", message.stop_sequence
    )
    counts = message_counts(message.usage)
    return ChatResult(
        family=Family.ANTHROPIC,
        id=message.id,
        model=message.model,
        choices=(choice,),
        usage=counts.usage() if counts is not None else None,
        service_tier=tier_of(message.usage),
    )


def refusal_of(details: StopDetails | None) -> Refusal | None:
    """Why nothing is said: Anthropic tells it beside the content."""
    return Refusal(details.explanation) if details is not None and details.explanation else None


def tier_of(usage: msgspec.Raw) -> str:
    try:
        tier = _SAID.decode(usage).service_tier if usage else None
    except msgspec.MsgspecError:
        return ""
    return TIERS_GIVEN.get(tier or "", tier or "")


_TIERS = frozenset({"standard", "priority", "batch"})
"""What Anthropic's callers know; other providers have tiers of their own."""


def encode_result(result: ChatResult, query: ChatQuery) -> bytes:
    """Anthropic's callers ask for one choice; of several the first is told."""
    choice = result.choices[0] if result.choices else Choice((), Finish.UNKNOWN)
    message = opening(result.id, result.model)
    message["content"] = [block for part in choice.parts for block in written(part, result.family)]
    message |= ending(choice.finish, choice.said, choice.stop_sequence)
    message["stop_details"] = stop_details(choice, result.family)
    message["usage"] = usage_object(result.usage, result.service_tier)
    return msgspec.json.encode(message)


def opening(message_id: str, model: str) -> Json:
    """A message without content."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def ending(finish: Finish, said: str, stop_sequence: str | None) -> Json:
    return {
        "stop_reason": stop_reason_of(finish, said),
        "stop_sequence": stop_sequence if finish is Finish.STOP_SEQUENCE else None,
    }


def stop_details(choice: Choice, family: Family) -> Json | None:
    words = "".join(part.text for part in choice.parts if isinstance(part, Refusal) and family is Family.ANTHROPIC)
    return explained(words) if words else None


def explained(words: str) -> Json:
    return {"type": "refusal", "category": None, "explanation": words}


def usage_object(usage: Usage | None, tier: str = "") -> Json:
    """Anthropic counts what a cache had a part in beside the input."""
    counts = usage or Usage()
    cached = min(counts.cached_input_tokens, counts.input_tokens)
    written_tokens = min(counts.cache_write_tokens, counts.input_tokens - cached)
    for_an_hour = min(counts.cache_write_1h_tokens, written_tokens)
    said: Json = {
        "input_tokens": counts.input_tokens - cached - written_tokens,
        "cache_creation_input_tokens": written_tokens,
        "cache_read_input_tokens": cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written_tokens - for_an_hour,
            "ephemeral_1h_input_tokens": for_an_hour,
        },
        "output_tokens": counts.output_tokens,
    }
    if counts.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": counts.reasoning_tokens}
    word = told(TIERS_GIVEN, tier) or tier
    if word in _TIERS:
        said["service_tier"] = word
    return said


def written(part: Part, family: Family) -> list[Json | msgspec.Raw]:
    """The blocks of a part of an answer: none where a caller of Anthropic's has no use for it."""
    match part:
        case Text():
            return [text_block(part.text, part.citations), *sealed_text(part.signature, family)]
        case Reasoning():
            return [thought(part)]
        case ToolCall():
            block: Json = {"type": "tool_use", "id": part.id, "name": part.name, "input": object_of(part.arguments)}
            return [*sealed_call(part), block]
        case Refusal():
            return [] if family is Family.ANTHROPIC else [text_block(part.text)]
        case Audio():
            return [text_block(part.transcript)] if part.transcript else []
        case Image() | Document():
            return [text_block(as_text(part).text)]
        case Opaque():
            return [part.raw] if part.family is Family.ANTHROPIC else []
        case _:
            return []


def text_block(text: str, citations: tuple[Citation, ...] = ()) -> Json:
    own = [citation.raw for citation in citations if citation.family is Family.ANTHROPIC]
    return {"type": "text", "text": text} | ({"citations": own} if own else {})


def thought(part: Reasoning) -> Json:
    if part.family is Family.ANTHROPIC and part.encrypted and not part.signature:
        return {"type": "redacted_thinking", "data": part.encrypted}
    return {"type": "thinking", "thinking": part.text, "signature": sealed(part)}


def sealed_call(part: ToolCall, signature: str = "") -> list[Json | msgspec.Raw]:
    """The signature of another family's tool call, in a block of its own that its caller gives back."""
    signature = signature or part.signature
    if not signature or part.family in (None, Family.ANTHROPIC):
        return []
    data = packed(Carried(part.family or Family.ANTHROPIC, signature, call_id=part.id))
    return [{"type": "redacted_thinking", "data": data}]


def sealed_text(signature: str, family: Family) -> list[Json | msgspec.Raw]:
    """The signature of another family's text, in a block behind it that its caller gives back."""
    if not signature:
        return []
    return [{"type": "redacted_thinking", "data": packed(Carried(family, signature))}]


def object_of(arguments: str) -> Any:
    """The arguments as an object. What is none is wrapped in the way Anthropic's own documentation does it."""
    if not arguments.strip():
        return {}
    try:
        _OBJECT.decode(arguments)
    except (msgspec.MsgspecError, RecursionError):
        return {"INVALID_JSON": arguments}
    return msgspec.Raw(arguments.encode())
