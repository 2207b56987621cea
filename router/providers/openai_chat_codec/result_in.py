"""A whole Chat Completions answer read into the canonical form."""

from typing import Any

import msgspec

from router.domain.chat import (
    Audio,
    ChatResult,
    Choice,
    Citation,
    Family,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
)
from router.domain.usage import Usage
from router.providers.answers import estimated_output_tokens
from router.providers.openai_chat_codec.members import raw
from router.providers.openai_chat_codec.reasoning import read_reasoning
from router.providers.openai_chat_codec.shapes import (
    FAILURES,
    TOLD,
    Call,
    Function,
    Option,
    Said,
    Sound,
    Told,
    arguments_of,
    citations_of,
    finish_of,
    found_in,
    images_of,
    logprobs_of,
    seconds_of,
    signed,
    text_of,
)
from router.providers.usage import with_output


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer."""
    try:
        told = TOLD.decode(answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer is no chat completion: {error}") from error
    if told.choices is None:
        raise ValueError("the answer is no chat completion: it has no choices")
    found = found_in(told)
    return ChatResult(
        family=Family.CHAT,
        id=text_of(told.id),
        model=text_of(told.model),
        choices=tuple(_choice(option, found) for option in told.choices),
        usage=_usage(told, answer),
        created=seconds_of(told.created),
        service_tier=text_of(told.service_tier),
        fingerprint=text_of(told.system_fingerprint),
    )


def _usage(told: Told, answer: bytes) -> Usage | None:
    counts = told.counts()
    usage = counts.usage() if counts is not None else None
    return with_output(usage, lambda: estimated_output_tokens(answer)) if usage is not None else None


def _choice(option: Option, found: tuple[Citation, ...]) -> Choice:
    word = text_of(option.finish_reason)
    if option.error or word in FAILURES:
        raise ValueError(f"the answer says that it has failed: {_why(option.error) or word}")
    said = option.message or Said()
    parts = _parts(said, option.logprobs if isinstance(option.logprobs, dict) else {}, found)
    has_calls = any(isinstance(part, ToolCall) for part in parts)
    has_refused = any(isinstance(part, Refusal) for part in parts)
    stop = option.stop_reason if isinstance(option.stop_reason, str) else None
    return Choice(parts, finish_of(word, has_calls=has_calls, has_refused=has_refused), word, stop)


def _why(error: object) -> str:
    return text_of(error.get("message")) if isinstance(error, dict) else text_of(error)


def _parts(said: Said, logprobs: dict[str, Any], found: tuple[Citation, ...]) -> tuple[Part, ...]:
    told = {
        "reasoning_content": said.reasoning_content,
        "reasoning": said.reasoning,
        "reasoning_details": said.reasoning_details,
    }
    parts: list[Part] = [*read_reasoning(told), *content_parts(said.content)]
    parts = _annotated(parts, (*citations_of(said.annotations), *found), logprobs)
    if refusal := text_of(said.refusal):
        parts.append(Refusal(refusal))
    if said.audio is not None and (part := _audio(said.audio)) is not None:
        parts.append(part)
    parts += images_of(said.images)
    parts += [_call(call) for call in said.tool_calls or ()]
    if said.function_call is not None and text_of(said.function_call.name):
        parts.append(function_part("", said.function_call, is_custom=False))
    return tuple(parts)


def _annotated(parts: list[Part], citations: tuple[Citation, ...], logprobs: dict[str, Any]) -> list[Part]:
    """Citations and probabilities are of the whole text; where there is none, they stand with an empty one."""
    probabilities = logprobs_of(logprobs.get("content"))
    if not citations and not probabilities:
        return parts
    place = next((at for at, part in enumerate(parts) if isinstance(part, Text)), len(parts))
    found = parts[place] if place < len(parts) else Text("")
    parts[place : place + 1] = [msgspec.structs.replace(found, citations=citations, logprobs=probabilities)]
    return parts


def content_parts(content: object) -> list[Part]:
    """A text; Mistral's list of texts and thoughts; or an object, which a server made of the JSON text it was asked for."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Text(content)]
    if isinstance(content, list):
        return [part for item in content if isinstance(item, dict) for part in _listed(item)]
    return [Text(msgspec.json.encode(content).decode())]


def _listed(item: dict[str, Any]) -> list[Part]:
    kind = item.get("type")
    if kind == "text":
        return [Text(text_of(item.get("text")))] if item.get("text") else []
    if kind == "thinking":
        inner = item.get("thinking")
        texts = [text_of(part.get("text")) for part in inner if isinstance(part, dict)] if isinstance(inner, list) else []
        text = "".join(texts) or text_of(inner)
        return [Reasoning(text, Family.CHAT)] if text else []
    return [Opaque(Family.CHAT, text_of(kind) or "part", raw(item))]


def _audio(sound: Sound) -> Part | None:
    data, transcript = text_of(sound.data), text_of(sound.transcript)
    if not data and not transcript:
        return None
    return Audio(
        Source(data=data), transcript=transcript, id=text_of(sound.id), expires_at=seconds_of(sound.expires_at) or None
    )


def _call(call: Call) -> Part:
    is_custom = call.type == "custom"
    what = (call.custom if is_custom else call.function) or Function()
    return msgspec.structs.replace(function_part(text_of(call.id), what, is_custom=is_custom), **signed(call))


def function_part(call_id: str, what: Function, *, is_custom: bool) -> ToolCall:
    arguments = text_of(what.input) if is_custom else arguments_of(what.arguments)
    return ToolCall(call_id, text_of(what.name), arguments, is_custom=is_custom)
