"""The canonical answer as a response object: its items, and what of the request is told again around them."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from router.domain.chat import (
    Audio,
    ChatQuery,
    ChatResult,
    Choice,
    Document,
    Family,
    Finish,
    Image,
    Opaque,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
)
from router.domain.usage import Usage
from router.providers.carried import Carried, packed
from router.providers.openai_chat_codec.result_out import CallIds, tier_word
from router.providers.openai_responses_codec.annotations import annotation, logprob_object
from router.providers.openai_responses_codec.query_out import format_object
from router.providers.openai_responses_codec.tools import call_item, grouped_names, written_choice, written_tools
from router.providers.shown import as_text

Json = dict[str, Any]
_CUT = frozenset({Finish.LENGTH, Finish.CONTEXT})
_SAID = Text | Refusal | Audio


def encode_result(result: ChatResult, query: ChatQuery) -> bytes:
    """Callers of this dialect ask for one choice; of several the first is told."""
    choice = result.choices[0] if result.choices else Choice((), Finish.UNKNOWN)
    response_id = response_id_of(result.id, query)
    writer = ItemShapes(query, response_id)
    items = list(_items(map(tellable, choice.parts), writer, result.family))
    has_refusal = any(isinstance(part, Refusal) for part in choice.parts)
    body = opening(query, response_id, result.model, result.created, result.service_tier)
    body |= ended(choice.finish, result.usage, items, has_refusal=has_refusal)
    return msgspec.json.encode(body)


def response_id_of(given: str, query: ChatQuery) -> str:
    """The provider's id in the form callers know; made where there is none."""
    if given.startswith("resp_"):
        return given
    return f"resp_{given or sha256(str(len(query.turns)).encode()).hexdigest()[:32]}"


def opening(query: ChatQuery, response_id: str, model: str, created: int, tier: str) -> Json:
    """The response before anything is said. What the caller asked for is told again, as far as it has a common meaning."""
    head = query.turns[0] if query.turns and query.has_instructions else None
    thinking = query.thinking or Thinking()
    sampling = query.sampling
    body: Json = {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "".join(part.text for part in head.parts if isinstance(part, Text)) if head is not None else None,
        "max_output_tokens": query.cap,
        "max_tool_calls": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": query.is_parallel is not False,
        "previous_response_id": None,
        "prompt_cache_key": query.cache_key or None,
        "reasoning": {"effort": thinking.effort or None, "summary": thinking.summary or None},
        "safety_identifier": None,
        "service_tier": tier_word(tier) or "default",
        "store": False,
        "temperature": sampling.temperature,
        "text": {"format": format_object(query.format or OutputFormat(OutputKind.TEXT))},
        "tool_choice": "auto" if query.tool_choice is None else written_choice(query.tool_choice, query.tools),
        "tools": written_tools(query.tools, "the caller", is_own=True),
        "top_logprobs": sampling.top_logprobs or 0,
        "top_p": sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": query.user or None,
        "metadata": query.metadata or {},
    }
    if query.verbosity:
        body["text"]["verbosity"] = query.verbosity
    return body


def ended(finish: Finish, usage: Usage | None, items: list[Any], *, has_refusal: bool) -> Json:
    """What the end changes of an opening. A refusal in words is an answer; one without any was filtered."""
    reason = "max_output_tokens" if finish in _CUT else None
    if finish is Finish.FILTERED or (finish is Finish.REFUSED and not has_refusal):
        reason = "content_filter"
    return {
        "status": "completed" if reason is None else "incomplete",
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": items,
        "usage": None if usage is None else usage_object(usage),
    }


def usage_object(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


class ItemShapes:
    """The items of one answer as JSON. Their ids are made from the response's, and are the same in a stream."""

    def __init__(self, query: ChatQuery, response_id: str) -> None:
        self._response_id = response_id
        self._names = grouped_names(query.tools)
        self._calls = CallIds(query, 0)
        summary = (query.thinking or Thinking()).summary
        self._wants_summary = summary not in {"", "none"}
        self._taken: set[str] = set()

    def item_id(self, prefix: str, number: int, given: str = "") -> str:
        """`given` where it is there and not another item's, else one made from the place."""
        if not given or given in self._taken:
            given = f"{prefix}_{sha256(f'{self._response_id}.{number}'.encode()).hexdigest()[:32]}"
        self._taken.add(given)
        return given

    def message(self, item_id: str, content: list[Any], status: str) -> Json:
        role = Role.ASSISTANT.value
        return {"id": item_id, "type": "message", "status": status, "role": role, "content": content}

    def content(self, part: _SAID) -> Json:
        if isinstance(part, Refusal):
            return {"type": "refusal", "refusal": part.text}
        if isinstance(part, Audio):
            return {"type": "output_text", "annotations": [], "logprobs": [], "text": part.transcript}
        marks = [annotation(one, len(part.text)) for one in part.citations]
        weights = [logprob_object(one) for one in part.logprobs]
        return {"type": "output_text", "annotations": marks, "logprobs": weights, "text": part.text}

    def is_summary(self, part: Reasoning) -> bool:
        """Whether a thought is told as a summary: where it is one, or where the caller asked for no other."""
        return part.is_summary or self._wants_summary

    def thought(self, parts: Sequence[Reasoning], item_id: str) -> Json:
        """At least one part; what is sealed stands with the last."""
        summary = [{"type": "summary_text", "text": part.text} for part in parts if part.text and self.is_summary(part)]
        content = [
            {"type": "reasoning_text", "text": part.text} for part in parts if part.text and not self.is_summary(part)
        ]
        item: Json = {"id": item_id, "type": "reasoning", "summary": summary} | ({"content": content} if content else {})
        seal = sealed(parts[-1])
        return item | ({"encrypted_content": seal} if seal else {})

    def call(self, part: ToolCall, item_id: str, status: str) -> Json:
        """`part` must have its id: see `call_id`."""
        return {"id": item_id, "status": status} | call_item(part, part.id, self._names)

    def with_call_id(self, part: ToolCall) -> ToolCall:
        return part if part.id else msgspec.structs.replace(part, id=self._calls.of(part))

    def picture(self, part: Image, item_id: str) -> Json:
        return {"id": item_id, "type": "image_generation_call", "status": "completed", "result": part.source.data}


def sealed(part: Reasoning) -> str:
    """What its author needs to read it again: its own, or another family's, carried."""
    if part.family is Family.RESPONSES:
        return part.encrypted
    if part.family is None or not (part.signature or part.encrypted or part.id):
        return ""
    return packed(Carried(part.family, part.signature, part.encrypted, part.id, is_summary=part.is_summary))


def goes_on(last: Reasoning, part: Reasoning) -> bool:
    """Whether a piece belongs to the same item: what is sealed ends it, and summaries come before the content."""
    is_same = part.family is Family.RESPONSES and (last.family, last.id) == (part.family, part.id) and part.id != ""
    return is_same and not last.encrypted and (last.is_summary or not part.is_summary)


def seal_of_call(call: ToolCall, family: Family) -> Reasoning | None:
    """The signature of another family's call as a thought of its own, which the caller gives back."""
    if not call.signature:
        return None
    carried = packed(Carried(call.family or family, call.signature, call_id=call.id))
    return Reasoning("", Family.RESPONSES, encrypted=carried)


def tellable(part: Part) -> Part:
    """What no item can hold, as a text."""
    return as_text(part) if isinstance(part, Document) or (isinstance(part, Image) and not part.source.data) else part


def _items(parts: Iterable[Part], shapes: ItemShapes, family: Family) -> Iterable[Any]:
    number = 0
    for group in _grouped(parts):
        for item in _group_items(group, shapes, number, family):
            yield item
            number += 1


def _grouped(parts: Iterable[Part]) -> Iterable[list[Part]]:
    """The parts that one item holds: what is said in words in a row, and the pieces of one thought."""
    group: list[Part] = []
    for part in parts:
        last = group[-1] if group else None
        joins = isinstance(last, _SAID) and isinstance(part, _SAID)
        if isinstance(last, Reasoning) and isinstance(part, Reasoning):
            joins = goes_on(last, part)
        if group and not joins:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _group_items(group: list[Part], shapes: ItemShapes, number: int, family: Family) -> Iterable[Any]:
    match part := group[0]:
        case Text() | Refusal() | Audio():
            content = [shapes.content(one) for one in group if isinstance(one, _SAID)]
            yield shapes.message(shapes.item_id("msg", number), content, "completed")
        case Reasoning():
            thoughts = [one for one in group if isinstance(one, Reasoning)]
            yield shapes.thought(thoughts, shapes.item_id("rs", number, part.id))
        case ToolCall():
            part = shapes.with_call_id(part)
            seal = seal_of_call(part, family)
            if seal is not None:
                yield shapes.thought([seal], shapes.item_id("rs", number))
                number += 1
            prefix = "ctc" if part.is_custom else "fc"
            yield shapes.call(part, shapes.item_id(prefix, number, part.item_id), "completed")
        case Image() if part.source.data:
            yield shapes.picture(part, shapes.item_id("ig", number))
        case Opaque() if part.family is Family.RESPONSES:
            yield part.raw
