"""A Messages request in common words. What has no place in them stays under its name in `others`."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from router.domain.chat import (
    ChatQuery,
    Family,
    HostedTool,
    OutputFormat,
    OutputKind,
    Role,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
    ToolMode,
    Turn,
)
from router.domain.errors import InvalidRequest
from router.providers.anthropic.blocks import EMPTY, NULL, Cache, Kind, refuse
from router.providers.anthropic.content_in import mark_of, read_content
from router.providers.anthropic.wording import TIERS_ASKED
from router.providers.repairs import tool_search

HINTS = {
    "tools.eager_input_streaming": "how finely a tool's input is cut into pieces",
    "context_management": "what Anthropic may leave out of a long conversation; another provider gets all of it",
    "speed": "Anthropic's faster service, at another price",
    "diagnostics": "why Anthropic's cache was missed",
    **tool_search.DROPPED,
}
"""Fields that change nothing of an answer: a target that does not know them need not be told, and why."""

_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: msgspec.Raw


class _ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: msgspec.Raw


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    input_schema: msgspec.Raw = EMPTY
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: Cache | None = None
    eager_input_streaming: bool | None = None
    allowed_callers: list[Literal["direct"]] | None = None
    defer_loading: bool | None = None


class _Body(msgspec.Struct):
    """What is read here; everything else is in the body's other members."""

    messages: list[_Message]
    model: str | None = None
    max_tokens: int | None = None
    system: msgspec.Raw = EMPTY
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    thinking: msgspec.Raw = EMPTY
    output_config: dict[str, msgspec.Raw] | None = None
    output_format: _Format | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: _ToolChoice | None = None
    cache_control: Cache | None = None


_BODY = msgspec.json.Decoder(_Body)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KIND = msgspec.json.Decoder(Kind)
_TOOL = msgspec.json.Decoder(_Tool)
_THINKING = msgspec.json.Decoder(_Thinking)
_FORMAT = msgspec.json.Decoder(_Format)
_STRING = msgspec.json.Decoder(str)
_THINKS = {"enabled": True, "disabled": False, "adaptive": True}
_SUMMARIES = {None: "", "summarized": "auto", "omitted": "none"}
_MODES = {"auto": ToolMode.AUTO, "any": ToolMode.REQUIRED, "tool": ToolMode.NAMED, "none": ToolMode.NONE}


def decode_query(body: bytes) -> ChatQuery:
    """Raises InvalidRequest naming the field."""
    try:
        said = _BODY.decode(body)
        members = _MEMBERS.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        refuse(error, "")
    others = {name: raw for name, raw in members.items() if name not in _Body.__struct_fields__ and bytes(raw) != NULL}
    thinking = _thinking(said, others)
    choice = said.tool_choice
    is_serial = None if choice is None else choice.disable_parallel_tool_use
    user, metadata = _attributed(said.metadata)
    return ChatQuery(
        origin=Family.ANTHROPIC,
        turns=_turns(said),
        stream=said.stream is True,
        tools=tuple(_tool(raw, f"tools[{index}]", others) for index, raw in enumerate(said.tools or ())),
        tool_choice=None if choice is None else _tool_choice(choice),
        is_parallel=None if is_serial is None else not is_serial,
        cap=said.max_tokens,
        format=_format(said),
        thinking=thinking,
        sampling=Sampling(
            temperature=said.temperature,
            top_p=said.top_p,
            top_k=said.top_k,
            stop=tuple(said.stop_sequences or ()),
        ),
        user=user,
        metadata=metadata,
        service_tier=TIERS_ASKED.get(said.service_tier or "", said.service_tier or ""),
        cache=mark_of(said.cache_control),
        wants_usage=True,
        others=others,
    )


def _turns(said: _Body) -> tuple[Turn, ...]:
    system: tuple[Turn, ...] = ()
    if said.system and bytes(said.system) != NULL:
        system = (Turn(Role.SYSTEM, read_content(said.system, "system")),)
    turns = (
        Turn(_ROLES[message.role], read_content(message.content, f"messages[{index}].content"))
        for index, message in enumerate(said.messages)
    )
    return (*system, *turns)


def _thinking(said: _Body, others: dict[str, msgspec.Raw]) -> Thinking | None:
    """`thinking` and the effort together. A kind of thinking that is not known stays Anthropic's own."""
    effort = _effort(said, others)
    if not said.thinking or bytes(said.thinking) == NULL:
        return Thinking(effort=effort) if effort else None
    try:
        given = _THINKING.decode(said.thinking)
    except (msgspec.MsgspecError, RecursionError) as error:
        try:
            is_known = _KIND.decode(said.thinking).type in _THINKS
        except msgspec.MsgspecError:
            is_known = True
        if is_known and "unknown field" not in str(error):
            refuse(error, "thinking")
        others["thinking"] = said.thinking
        return Thinking(effort=effort) if effort else None
    budget = -1 if given.type == "adaptive" else given.budget_tokens
    return Thinking(effort, budget, _THINKS[given.type], _SUMMARIES[given.display])


def _effort(said: _Body, others: dict[str, msgspec.Raw]) -> str:
    config = said.output_config
    if config is None:
        return ""
    rest = {name: raw for name, raw in config.items() if name not in {"effort", "format"} and bytes(raw) != NULL}
    if rest:
        others["output_config"] = msgspec.Raw(msgspec.json.encode(rest))
    raw = config.get("effort", EMPTY)
    if not raw or bytes(raw) == NULL:
        return ""
    try:
        return _STRING.decode(raw)
    except msgspec.MsgspecError as error:
        refuse(error, "output_config.effort")


def _format(said: _Body) -> OutputFormat | None:
    given = said.output_format
    raw = (said.output_config or {}).get("format", EMPTY)
    if raw and bytes(raw) != NULL:
        try:
            given = _FORMAT.decode(raw)
        except msgspec.MsgspecError as error:
            refuse(error, "output_config.format")
    return None if given is None else OutputFormat(OutputKind.SCHEMA, schema=given.schema)


def _tool(raw: msgspec.Raw, path: str, others: dict[str, msgspec.Raw]) -> Tool | HostedTool:
    """A tool of the caller's own; one with a type, or with members of no common meaning, is Anthropic's."""
    try:
        found = _TOOL.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        return _hosted(raw, path, error)
    if found.eager_input_streaming is not None:
        others["tools.eager_input_streaming"] = msgspec.Raw(msgspec.json.encode(found.eager_input_streaming))
    if found.defer_loading:
        others[f"{path}.defer_loading"] = msgspec.Raw(b"true")
    return Tool(
        found.name,
        found.description,
        EMPTY if bytes(found.input_schema) == NULL else found.input_schema,
        found.strict,
        cache=mark_of(found.cache_control),
    )


def _hosted(raw: msgspec.Raw, path: str, error: Exception) -> HostedTool:
    try:
        members: Mapping[str, msgspec.Raw] = _MEMBERS.decode(raw)
        kind = _STRING.decode(members["type"]) if "type" in members and bytes(members["type"]) != NULL else "custom"
    except msgspec.MsgspecError:
        refuse(error, path)
    if kind != "custom":
        return HostedTool(Family.ANTHROPIC, kind, raw)
    unknown = sorted(members.keys() - set(_Tool.__struct_fields__) | members.keys() & {"allowed_callers"})
    if not unknown or "name" not in members:
        refuse(error, path)
    return HostedTool(Family.ANTHROPIC, f"custom.{unknown[0]}", raw)


def _tool_choice(choice: _ToolChoice) -> ToolChoice:
    if choice.type == "tool" and not choice.name:
        raise InvalidRequest("tool_choice.name is missing", param="tool_choice.name")
    return ToolChoice(_MODES[choice.type], (choice.name,) if choice.type == "tool" and choice.name else ())


def _attributed(metadata: dict[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """(user, what else stands in the metadata)."""
    if metadata is None:
        return "", None
    user = metadata.get("user_id")
    rest = {name: value for name, value in metadata.items() if name != "user_id"}
    if user is not None and not isinstance(user, str):
        raise InvalidRequest("metadata.user_id: expected a string", param="metadata.user_id")
    return user or "", rest or None
