"""The canonical answer as a Chat Completions answer."""

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
    Logprob,
    Part,
    Refusal,
    Text,
    ToolCall,
)
from router.domain.usage import Usage
from router.providers.call_ids import made_call_id
from router.providers.openai_chat_codec.media import url_of
from router.providers.openai_chat_codec.reasoning import google_signature, written_reasoning
from router.providers.shown import as_text

_WORDS = {
    Finish.STOP: "stop",
    Finish.STOP_SEQUENCE: "stop",
    Finish.LENGTH: "length",
    Finish.CONTEXT: "length",
    Finish.TOOLS: "tool_calls",
    Finish.FILTERED: "content_filter",
    Finish.REFUSED: "content_filter",
    Finish.PAUSED: "stop",
    Finish.MALFORMED: "stop",
    Finish.UNKNOWN: "stop",
}
_TIERS = {name: name for name in ("auto", "default", "flex", "scale", "priority", "fast")} | {"standard": "default"}
_OWN_WORDS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


def encode_result(result: ChatResult, query: ChatQuery) -> bytes:
    """The body of the answer."""
    body: dict[str, Any] = {
        "id": result.id,
        "object": "chat.completion",
        "created": result.created,
        "model": result.model,
        "choices": [_choice(choice, index, result.family, query) for index, choice in enumerate(result.choices)],
    }
    if result.usage is not None:
        body["usage"] = usage_object(result.usage)
    if tier := tier_word(result.service_tier):
        body["service_tier"] = tier
    if result.fingerprint:
        body["system_fingerprint"] = result.fingerprint
    return msgspec.json.encode(body)


def _choice(choice: Choice, index: int, family: Family, query: ChatQuery) -> dict[str, Any]:
    word = finish_word(choice.finish, choice.said, family, is_legacy=query.is_legacy)
    return {
        "index": index,
        "message": _message(choice.parts, query, index),
        "logprobs": _logprobs(choice.parts),
        "finish_reason": word,
    }


def _message(parts: tuple[Part, ...], query: ChatQuery, choice: int) -> dict[str, Any]:
    texts = [as_text(part) if isinstance(part, Document) else part for part in parts if isinstance(part, Text | Document)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    message |= written_reasoning(parts)
    message |= google_signature(next((part.signature for part in reversed(texts) if part.signature), ""))
    if images := [part for part in parts if isinstance(part, Image)]:
        message["images"] = [image_object(image, index) for index, image in enumerate(images)]
    if annotations := _annotations(texts):
        message["annotations"] = annotations
    spoken = next((part for part in parts if isinstance(part, Audio)), None)
    if spoken is not None:
        message["audio"] = audio_object(spoken)
    calls = [part for part in parts if isinstance(part, ToolCall)]
    if calls and query.is_legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        ids = CallIds(query, choice)
        message["tool_calls"] = [call_object(call, ids.of(call)) for call in calls]
    return message


class CallIds:
    """The id of each call of one choice, made where its provider gave none."""

    __slots__ = ("_turn", "_made")

    def __init__(self, query: ChatQuery, choice: int) -> None:
        self._turn = len(query.turns)
        self._made = choice * 1000

    def of(self, call: ToolCall) -> str:
        if call.id:
            return call.id
        self._made += 1
        return made_call_id(self._turn, self._made - 1)


def call_object(call: ToolCall, call_id: str) -> dict[str, Any]:
    if call.is_custom:
        return {"id": call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    shape = {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return shape | (google_signature(call.signature) if call.family is Family.GEMINI else {})


def image_object(image: Image, index: int) -> dict[str, Any]:
    """An image that a model made, as OpenRouter tells it; OpenAI's own schema has none."""
    return {"type": "image_url", "image_url": {"url": url_of(image.source)}, "index": index}


def audio_object(spoken: Audio) -> dict[str, Any]:
    return {
        "id": spoken.id,
        "expires_at": spoken.expires_at or 0,
        "data": spoken.source.data,
        "transcript": spoken.transcript,
    }


def _annotations(texts: list[Text]) -> list[Any]:
    """Offsets are those of the text that cites; the message is all texts put together."""
    found: list[Any] = []
    before = 0
    for part in texts:
        found += [citation_object(citation, before, len(part.text)) for citation in part.citations]
        before += len(part.text)
    return found


def citation_object(citation: Citation, before: int, length: int) -> Any:
    """One annotation. Where its author gives no offsets it stands for the whole text that cites; OpenAI has some."""
    is_short = citation.url and (citation.start is None or citation.end is None)
    if citation.family is Family.CHAT and not is_short:
        return citation.raw
    start = 0 if citation.start is None else citation.start
    end = length if citation.end is None else citation.end
    told: dict[str, Any] = {
        "start_index": before + start,
        "end_index": before + end,
        "url": citation.url,
        "title": citation.title,
    }
    if citation.quote:
        told["content"] = citation.quote
    return {"type": "url_citation", "url_citation": told}


def _logprobs(parts: tuple[Part, ...]) -> dict[str, Any] | None:
    found = [logprob for part in parts if isinstance(part, Text) for logprob in part.logprobs]
    return logprobs_object(found) if found else None


def logprobs_object(found: "list[Logprob] | tuple[Logprob, ...]") -> dict[str, Any]:
    return {
        "content": [_logprob(one) | {"top_logprobs": [_logprob(top) for top in one.top]} for one in found],
        "refusal": None,
    }


def _logprob(one: Logprob) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.logprob, "bytes": one.data}


def finish_word(finish: Finish, said: str, family: Family, *, is_legacy: bool) -> str:
    """A provider of this dialect is told in its own words."""
    if family is Family.CHAT and said in _OWN_WORDS:
        return said
    return "function_call" if is_legacy and finish is Finish.TOOLS else _WORDS[finish]


def tier_word(tier: str) -> str:
    """The tier in a word that callers of this dialect know, "" for none."""
    return _TIERS.get(tier, "")


def usage_object(usage: Usage) -> dict[str, Any]:
    read = {"cached_tokens": usage.cached_input_tokens, "audio_tokens": usage.audio_input_tokens}
    if usage.cache_write_tokens:
        read["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": read,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
