"""A Responses request read into the canonical form: a field has a place there, or stays in `others` by its path."""

from typing import Any

import msgspec

from router.domain.chat import (
    ChatQuery,
    Family,
    OutputFormat,
    OutputKind,
    Role,
    Sampling,
    Text,
    Thinking,
    Turn,
)
from router.domain.errors import InvalidRequest
from router.providers.openai_chat_codec.members import Members, raw, wrong
from router.providers.openai_responses_codec.items_in import ItemReader
from router.providers.openai_responses_codec.tools import read_choice, read_tools
from router.providers.repairs import tool_search

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

HINTS = {
    "store": "whether an answer is kept is between routerd and its caller",
    "safety_identifier": "a name for OpenAI's own watch over abuse",
    "prompt_cache_retention": "how long OpenAI keeps a prompt's cache; another provider's is its own",
    "prompt_cache_options": "how OpenAI caches a prompt; another provider's is its own",
    "stream_options.include_obfuscation": "padding of OpenAI's frames",
    "context_management": "what OpenAI may leave out of a long conversation; another provider gets all of it",
    "truncation": "a conversation that is too long is refused by its target, not cut",
    "max_tool_calls": "it counts calls of tools that OpenAI runs, and none is offered",
    "include": "what OpenAI's own tools found, and none is offered",
    "client_metadata": "what a program tells OpenAI of itself",
    "reasoning.context": "which earlier thoughts OpenAI shows its models",
    **tool_search.DROPPED,
    "tools[].tools[].defer_loading": "all tools are offered at once",
    "tools[].output_schema": "what a tool returns; the model reads the result itself",
    "tools[].tools[].output_schema": "what a tool returns; the model reads the result itself",
    "input[].id": "OpenAI's name of an item",
    "input[].status": "how far an item had come",
    "input[].phase": "which of OpenAI's messages were comments on the way",
    "input[].content[].detail": "how finely OpenAI renders a file",
    "input[].output[].detail": "how finely OpenAI renders a file",
}
"""Fields that change nothing of an answer: a target that does not know them need not be told, and why."""

_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Where the conversation may be that is not in the input."""


def decode_query(body: bytes) -> ChatQuery:
    """Raises InvalidRequest naming the field."""
    members = Members.of_body(body)
    members.any("model")
    others: dict[str, msgspec.Raw] = {}
    instructions, turns = _turns(members, others)
    included = _included(members)
    text = members.members("text")
    query = ChatQuery(
        origin=Family.RESPONSES,
        turns=(*instructions, *turns),
        stream=members.flag("stream") or False,
        tools=read_tools(members),
        tool_choice=read_choice(members, others),
        is_parallel=members.flag("parallel_tool_calls"),
        cap=_cap(members),
        format=_format(text, members),
        thinking=_thinking(members, included),
        sampling=_sampling(members, included),
        verbosity=text.text("verbosity") if text is not None else "",
        user=members.text("user"),
        metadata=_metadata(members),
        service_tier=members.text("service_tier"),
        cache_key=members.text("prompt_cache_key"),
        wants_usage=True,
        has_instructions=bool(instructions),
        others=others,
    )
    _leave(members, included, others)
    return query


def _turns(members: Members, others: dict[str, msgspec.Raw]) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """(the instructions, the conversation)."""
    said = members.text("instructions")
    instructions = (Turn(Role.SYSTEM, (Text(said),)),) if said else ()
    given = members.any("input")
    if isinstance(given, str):
        return instructions, (Turn(Role.USER, (Text(given),)),)
    if given is None or given == []:
        elsewhere = [name for name in _ELSEWHERE if members.has(name)]
        if not elsewhere:
            raise InvalidRequest("input: expected a string or a list of items", param="input")
        return instructions, ()
    if not isinstance(given, list):
        wrong("input", "a string or a list of items", given)
    reader = ItemReader(others)
    for index, item in enumerate(given):
        reader.read(item, f"input[{index}]")
    return instructions, reader.turns()


def _included(members: Members) -> list[str]:
    return list(members.texts("include"))


def _cap(members: Members) -> int | None:
    """-1 is none in words."""
    cap = members.integer("max_output_tokens")
    return cap if cap is None or cap >= 0 else None


def _metadata(members: Members) -> dict[str, Any] | None:
    value = members.any("metadata")
    return value if value is None or isinstance(value, dict) else wrong("metadata", "an object", value)


def _sampling(members: Members, included: list[str]) -> Sampling:
    top = members.integer("top_logprobs")
    return Sampling(
        temperature=members.number("temperature"),
        top_p=members.number("top_p"),
        logprobs=True if LOGPROBS in included else None,
        # Without the logprobs themselves their alternatives are not told.
        top_logprobs=top if LOGPROBS in included else None,
    )


def _thinking(members: Members, included: list[str]) -> Thinking | None:
    told = members.members("reasoning")
    effort = summary = ""
    if told is not None:
        effort = told.text("effort")
        older = told.text("generate_summary")
        summary = told.text("summary") or older
    wants_encrypted = ENCRYPTED in included
    if not (effort or summary or wants_encrypted):
        return None
    return Thinking(effort, summary=summary, wants_encrypted=wants_encrypted)


def _format(text: Members | None, members: Members) -> OutputFormat | None:
    """`text.format`, or Chat Completions' `response_format` in its place."""
    own = text.members("format") if text is not None else None
    other = members.members("response_format")
    if own is not None and other is not None:
        raise InvalidRequest("response_format and text.format are both given; keep one", param="response_format")
    told = own or other
    if told is None:
        return None
    kind = told.needed_text("type")
    if kind in {"text", "json_object"}:
        return OutputFormat(OutputKind.TEXT if kind == "text" else OutputKind.JSON)
    if kind != "json_schema":
        expected = f"{told.at('type')}: expected text, json_object or json_schema, found {kind[:40]!r}"
        raise InvalidRequest(expected, param=told.at("type"))
    shape = told.needed_object("json_schema") if own is None else told
    schema = shape.raw_object("schema")
    return OutputFormat(
        OutputKind.SCHEMA,
        name=shape.text("name"),
        description=shape.text("description"),
        schema=schema or msgspec.Raw(),
        is_strict=shape.flag("strict"),
    )


def _leave(members: Members, included: list[str], others: dict[str, msgspec.Raw]) -> None:
    """What has no place: but what is false or empty where that is the default says nothing."""
    rest = [name for name in included if name not in {ENCRYPTED, LOGPROBS}]
    if rest:
        others["include"] = raw(rest)
    if members.flag("background"):
        others["background"] = msgspec.Raw(b"true")
    truncation = members.text("truncation")
    if truncation not in {"", "disabled"}:
        others["truncation"] = raw(truncation)
    members.leave(others)
