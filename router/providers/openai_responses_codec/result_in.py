"""A whole Responses answer read into the canonical form."""

from typing import Any

import msgspec

from router.domain.chat import (
    ChatResult,
    Choice,
    Family,
    Finish,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from router.domain.usage import Usage
from router.providers.answers import estimated_output_tokens
from router.providers.openai_chat_codec.members import raw
from router.providers.openai_chat_codec.shapes import arguments_of, logprobs_of, seconds_of, text_of
from router.providers.openai_responses_codec.annotations import citations_of
from router.providers.openai_responses_codec.items_in import IN_MESSAGE
from router.providers.openai_responses_codec.tools import flat_name
from router.providers.usage import counts_of, with_output

Json = dict[str, Any]


class Told(msgspec.Struct):
    """A response object, as far as it is read: no two servers write it alike."""

    id: Any = None
    object: Any = None
    model: Any = None
    created_at: Any = None
    status: Any = None
    output: list[Any] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    incomplete_details: Any = None
    error: Any = None
    service_tier: Any = None

    def items(self) -> list[Json]:
        return [item for item in self.output or () if isinstance(item, dict)]

    def reason(self) -> str:
        """Why it is incomplete, "" where it is not."""
        details = self.incomplete_details
        return text_of(details.get("reason")) if isinstance(details, dict) else ""

    def counted(self) -> Usage | None:
        counts = counts_of(self.usage)
        return counts.usage() if counts is not None else None


_TOLD = msgspec.json.Decoder(Told)
_REASONS = {"max_output_tokens": Finish.LENGTH, "content_filter": Finish.FILTERED}


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer."""
    try:
        told = _TOLD.decode(answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer is no response: {error}") from error
    if told.output is None:
        raise ValueError("the answer is no response: it has no output")
    if told.status == "failed":
        raise ValueError(f"the response has failed: {failure_of(told.error)[1]}")
    parts = tuple(part for item in told.items() for part in parts_of(item))
    usage = told.counted()
    return ChatResult(
        family=Family.RESPONSES,
        id=text_of(told.id),
        model=text_of(told.model),
        choices=(Choice(parts, *ending_of(told, parts)),),
        usage=with_output(usage, lambda: estimated_output_tokens(answer)) if usage is not None else None,
        created=seconds_of(told.created_at),
        service_tier=text_of(told.service_tier),
    )


def ending_of(told: Told, parts: tuple[Part, ...]) -> tuple[Finish, str]:
    """How it ended, and the provider's word for it."""
    return finish_of(
        text_of(told.status),
        told.reason(),
        has_calls=any(isinstance(part, ToolCall) for part in parts),
        has_refused=any(isinstance(part, Refusal) for part in parts),
    )


def finish_of(status: str, reason: str, *, has_calls: bool, has_refused: bool) -> tuple[Finish, str]:
    if status == "incomplete":
        return _REASONS.get(reason, Finish.UNKNOWN), reason
    if status not in {"completed", ""}:
        return Finish.UNKNOWN, status
    if has_calls:
        return Finish.TOOLS, status
    return (Finish.REFUSED if has_refused else Finish.STOP), status


def failure_of(error: object) -> tuple[str, str]:
    """(the provider's word, what it says) of the `error` of a response or of an event."""
    if not isinstance(error, dict):
        return "error", text_of(error) or "the provider does not say why"
    word = text_of(error.get("code")) or text_of(error.get("type")) or "error"
    return word, text_of(error.get("message")) or "the provider does not say why"


def parts_of(item: Json) -> list[Part]:
    """The parts of an output item, in order."""
    kind = text_of(item.get("type"))
    if kind == "message":
        return [content_part(content) for content in _listed(item, "content")]
    if kind == "reasoning":
        return _thought(item)
    if kind in {"function_call", "custom_tool_call"}:
        return [call_of(item)]
    return [Opaque(Family.RESPONSES, kind or "item", raw(item))]


def content_part(content: Json) -> Part:
    kind = content.get("type")
    if kind == "output_text":
        return Text(
            text_of(content.get("text")), citations_of(content.get("annotations")), logprobs_of(content.get("logprobs"))
        )
    if kind == "refusal":
        return Refusal(text_of(content.get("refusal")))
    return Opaque(Family.RESPONSES, IN_MESSAGE + (text_of(kind) or "part"), raw(content))


def call_of(item: Json) -> ToolCall:
    is_custom = item.get("type") == "custom_tool_call"
    return ToolCall(
        text_of(item.get("call_id")),
        flat_name(text_of(item.get("namespace")), text_of(item.get("name"))),
        text_of(item.get("input")) if is_custom else arguments_of(item.get("arguments")),
        is_custom=is_custom,
        item_id=text_of(item.get("id")),
    )


def _thought(item: Json) -> list[Part]:
    """One part for each piece of text; what is sealed stands with the last."""
    own_id, sealed = text_of(item.get("id")), text_of(item.get("encrypted_content"))
    found = [
        Reasoning(text_of(piece.get("text")), Family.RESPONSES, id=own_id, is_summary=name == "summary")
        for name in ("summary", "content")
        for piece in _listed(item, name)
    ]
    if not sealed:
        return [*found]
    last = found.pop() if found else Reasoning("", Family.RESPONSES, id=own_id)
    return [*found, msgspec.structs.replace(last, encrypted=sealed)]


def _listed(item: Json, name: str) -> list[Json]:
    value = item.get(name)
    return [member for member in value if isinstance(member, dict)] if isinstance(value, list) else []
