"""A whole answer of Cohere's chat in common words."""

import msgspec

from router.domain.chat import ChatResult, Choice, Family, Opaque, Part, Reasoning, Text, ToolCall
from router.providers.cohere.shapes import ANSWER, BLOCK, Answer, Call, Message, citation_of, logprobs_of
from router.providers.cohere.wording import FAILURES, PLAN, THINKING, finish_of, usage_of


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer, or says that there is none."""
    try:
        told = ANSWER.decode(answer)
        if told.message is None:
            raise ValueError("the answer is no chat of Cohere's: it has no message")
        if told.finish_reason in FAILURES:
            raise ValueError(f"the answer says that it has failed: {told.finish_reason}")
        parts = _parts(told.message, told)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer is no chat of Cohere's: {error}") from None
    word = told.finish_reason or ""
    return ChatResult(Family.COHERE, told.id or "", "", (Choice(parts, finish_of(word), word),), usage_of(told.usage))


def _parts(message: Message, told: Answer) -> tuple[Part, ...]:
    parts: list[Part] = [Reasoning(message.tool_plan, Family.COHERE, signature=PLAN)] if message.tool_plan else []
    before = len(parts)
    parts += [block_part(raw) for raw in message.content or ()]
    texts = [place for place, part in enumerate(parts) if isinstance(part, Text)]
    for raw in message.citations or ():
        found = citation_of(raw)
        if found is None or not texts:
            continue
        citation, block = found
        place = texts[0] if block is None or before + block not in texts else before + block
        text = parts[place]
        assert isinstance(text, Text)
        parts[place] = msgspec.structs.replace(text, citations=(*text.citations, citation))
    if texts and (probabilities := logprobs_of(told.logprobs)):
        parts[texts[0]] = msgspec.structs.replace(parts[texts[0]], logprobs=probabilities)
    parts += [whole_call(call) for call in message.tool_calls or ()]
    return tuple(parts)


def block_part(raw: msgspec.Raw) -> Part:
    """A content block, whole or as it begins."""
    block = BLOCK.decode(raw)
    if block.type in {"text", None}:
        return Text(block.text or "")
    if block.type == THINKING:
        return Reasoning(block.thinking or "", Family.COHERE, signature=THINKING)
    return Opaque(Family.COHERE, block.type or "", msgspec.Raw(bytes(raw)))


def call_part(call: Call) -> ToolCall:
    name = call.function.name if call.function is not None else None
    arguments = call.function.arguments if call.function is not None else None
    return ToolCall(call.id or "", name or "", arguments or "")


def whole_call(call: Call) -> ToolCall:
    """A call without arguments says nothing, where others say `{}`."""
    part = call_part(call)
    return part if part.arguments else msgspec.structs.replace(part, arguments="{}")
