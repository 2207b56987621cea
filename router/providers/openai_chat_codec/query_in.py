"""A Chat Completions request read into the canonical form: a field has a place there, or stays in `others` by its path."""

from typing import Any

import msgspec

from router.domain.chat import (
    CacheMark,
    ChatQuery,
    Family,
    HostedTool,
    OutputFormat,
    OutputKind,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
    ToolMode,
    Turn,
)
from router.domain.errors import InvalidRequest
from router.providers.openai_chat_codec.members import Members, raw, wrong
from router.providers.openai_chat_codec.messages_in import MessageReader, cache_mark

HINTS = {
    "safety_identifier": "a name for OpenAI's own watch over abuse",
    "prompt_cache_retention": "how long OpenAI keeps a prompt's cache; another provider's is its own",
    "prompt_cache_options": "how OpenAI caches a prompt; another provider's is its own",
    "prediction": "a guess at the answer, for speed alone",
    "stream_options.include_obfuscation": "padding of OpenAI's frames",
    "usage": "OpenRouter's wish to be told the usage",
}
"""Fields that change nothing of an answer: a target that does not know them need not be told, and why."""

_MODES = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "required": ToolMode.REQUIRED, "any": ToolMode.REQUIRED}
_MODE_NAMES = "auto, none, required or an object"


def decode_query(body: bytes) -> ChatQuery:
    """Raises InvalidRequest naming the field."""
    members = Members.of_body(body)
    members.any("model")
    others: dict[str, msgspec.Raw] = {}
    turns = _turns(members, others)
    legacy_tools = _legacy_tools(members)
    legacy_choice = members.any("function_call")
    choice = members.any("tool_choice")
    options = members.members("stream_options")
    query = ChatQuery(
        origin=Family.CHAT,
        turns=turns,
        stream=members.flag("stream") or False,
        tools=(*_tools(members), *legacy_tools),
        tool_choice=_tool_choice(choice, members) if choice is not None else _legacy_choice(legacy_choice, members),
        is_parallel=members.flag("parallel_tool_calls"),
        cap=_cap(members),
        format=_format(members),
        thinking=_thinking(members),
        sampling=_sampling(members),
        verbosity=members.text("verbosity"),
        modalities=members.texts("modalities"),
        audio=members.raw_object("audio"),
        user=members.text("user"),
        metadata=_metadata(members),
        service_tier=members.text("service_tier"),
        store=members.flag("store"),
        cache_key=members.text("prompt_cache_key"),
        wants_usage=options is not None and options.flag("include_usage") is True,
        is_legacy=bool(legacy_tools) or legacy_choice is not None,
        others=others,
    )
    members.leave(others)
    return query


def _turns(members: Members, others: dict[str, msgspec.Raw]) -> tuple[Turn, ...]:
    reader = MessageReader(others)
    turns = tuple(reader.turn(item, path) for item, path in members.items("messages"))
    if not turns:
        raise InvalidRequest("messages: expected a list with at least one message", param="messages")
    return turns


def _cap(members: Members) -> int | None:
    """Of two names the larger counts, as it does for budgets; -1 is none in words."""
    caps = [members.integer("max_completion_tokens"), members.integer("max_tokens")]
    said = [cap for cap in caps if cap is not None]
    return max(said) if said and min(said) >= 0 else None


def _metadata(members: Members) -> dict[str, Any] | None:
    value = members.any("metadata")
    return value if value is None or isinstance(value, dict) else wrong("metadata", "an object", value)


def _sampling(members: Members) -> Sampling:
    seed = members.integer("seed")
    other_seed = members.integer("random_seed")
    return Sampling(
        temperature=members.number("temperature"),
        top_p=members.number("top_p"),
        top_k=members.integer("top_k"),
        frequency_penalty=members.number("frequency_penalty"),
        presence_penalty=members.number("presence_penalty"),
        seed=other_seed if seed is None else seed,
        stop=members.texts("stop"),
        choices=members.integer("n"),
        logprobs=members.flag("logprobs"),
        top_logprobs=members.integer("top_logprobs"),
        logit_bias=_biases(members),
    )


def _biases(members: Members) -> dict[str, float] | None:
    value = members.any("logit_bias")
    if value is None:
        return None
    if not isinstance(value, dict) or not all(type(bias) in {int, float} for bias in value.values()):
        wrong("logit_bias", "an object of numbers", value)
    return value


def _thinking(members: Members) -> Thinking | None:
    """OpenAI's effort; OpenRouter's `reasoning`; DeepSeek's and Z.AI's `thinking`; Qwen's `enable_thinking`."""
    effort, is_on = members.text("reasoning_effort"), members.flag("enable_thinking")
    budget, summary = members.integer("thinking_budget"), ""
    told = members.members("reasoning")
    if told is not None:
        effort = told.text("effort") or effort
        said_budget, said_on = told.integer("max_tokens"), told.flag("enabled")
        budget = budget if said_budget is None else said_budget
        is_on = is_on if said_on is None else said_on
        summary = told.text("summary")
    switch = members.members("thinking")
    if switch is not None:
        kind, said_budget = switch.text("type"), switch.integer("budget_tokens")
        if kind not in {"enabled", "disabled", "adaptive", "auto", ""}:
            raise InvalidRequest(f"thinking.type: expected enabled or disabled, found {kind[:40]!r}", param="thinking.type")
        is_on = kind != "disabled" if kind else is_on
        budget = budget if said_budget is None else said_budget
    if not effort and budget is None and is_on is None and not summary:
        return None
    return Thinking(effort, budget, is_on, summary)


# -- what may be called ---------------------------------------------------------------------------------------


def _tools(members: Members) -> tuple[Tool | HostedTool, ...]:
    return tuple(_tool(item, members, path) for item, path in members.items("tools"))


def _tool(item: object, members: Members, path: str) -> Tool | HostedTool:
    kind = item.get("type", "function") if isinstance(item, dict) else None
    if isinstance(kind, str) and kind not in {"function", "custom"}:
        return HostedTool(Family.CHAT, kind, raw(item))
    tool = members.inner(item, path)
    tool.any("type")
    cache = cache_mark(tool)
    if kind != "custom":
        return _function(tool.needed_object("function"), cache)
    custom = tool.needed_object("custom")
    form = custom.raw_object("format") or msgspec.Raw(b"{}")
    return Tool(custom.needed_text("name"), _description(custom), grammar=form, cache=cache)


def _function(function: Members, cache: CacheMark | None = None) -> Tool:
    name, parameters = function.needed_text("name"), function.raw_object("parameters")
    return Tool(name, _description(function), parameters or msgspec.Raw(), function.flag("strict"), cache=cache)


def _description(members: Members) -> str | None:
    value = members.any("description")
    return value if value is None or isinstance(value, str) else wrong(members.at("description"), "a string", value)


def _legacy_tools(members: Members) -> tuple[Tool, ...]:
    return tuple(_function(members.inner(item, path)) for item, path in members.items("functions"))


def _tool_choice(value: object, members: Members) -> ToolChoice:
    if isinstance(value, str):
        mode = _MODES.get(value)
        if mode is None:
            raise InvalidRequest(f"tool_choice: expected {_MODE_NAMES}, found {value[:40]!r}", param="tool_choice")
        return ToolChoice(mode)
    choice = members.inner(value, "tool_choice")
    kind = choice.text("type", "function")
    if kind in {"function", "custom"}:
        return ToolChoice(ToolMode.NAMED, (choice.needed_object(kind).needed_text("name"),))
    if kind != "allowed_tools":
        raise InvalidRequest(
            f"tool_choice.type: function, custom or allowed_tools, found {kind[:40]!r}", param="tool_choice"
        )
    allowed = choice.needed_object("allowed_tools")
    mode = _MODES.get(allowed.needed_text("mode"))
    if mode not in {ToolMode.AUTO, ToolMode.REQUIRED}:
        raise InvalidRequest("tool_choice.allowed_tools.mode: expected auto or required", param="tool_choice")
    names = []
    for item, path in allowed.items("tools"):
        tool = allowed.inner(item, path)
        names.append(tool.needed_object(tool.text("type", "function")).needed_text("name"))
    return ToolChoice(mode, tuple(names))


def _legacy_choice(value: object, members: Members) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _tool_choice(value, members)
    return ToolChoice(ToolMode.NAMED, (members.inner(value, "function_call").needed_text("name"),))


def _format(members: Members) -> OutputFormat | None:
    told = members.members("response_format")
    if told is None:
        return None
    kind = told.needed_text("type")
    if kind == "text":
        return OutputFormat(OutputKind.TEXT)
    if kind == "json_object":
        return OutputFormat(OutputKind.JSON)
    if kind != "json_schema":
        raise InvalidRequest(
            f"response_format.type: expected text, json_object or json_schema, found {kind[:40]!r}", param="response_format"
        )
    shape = told.needed_object("json_schema")
    schema = shape.raw_object("schema")
    return OutputFormat(
        OutputKind.SCHEMA,
        name=shape.text("name"),
        description=shape.text("description"),
        schema=schema or msgspec.Raw(),
        is_strict=shape.flag("strict"),
    )
