"""A request in common words as a Messages request."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from router.domain.chat import (
    ChatQuery,
    Family,
    HostedTool,
    OutputKind,
    Part,
    Role,
    Tool,
    ToolChoice,
    ToolMode,
    ToolResult,
    Turn,
)
from router.providers.anthropic.content_out import ContentWriter, Json, cache_control, marked
from router.providers.anthropic.thinking import thinking_members
from router.providers.anthropic.wording import TIERS_ASKED, told
from router.providers.codec import Encoded
from router.providers.saying import asked_beyond, called_tools

DEFAULT_CAP = 4096
"""`max_tokens` is required: what is sent where neither the caller nor the alias gives one. Every model takes it."""

DROPPED: Mapping[str, str] = {
    "reasoning": "an earlier turn's thoughts can only be read by the family that signed them",
    "citations": "another family's citations have no place in Anthropic's",
    "image detail": "Anthropic scales images itself",
    "seed": "a wish, which OpenAI calls best effort too",
    "verbosity": "a hint on style that Anthropic does not take",
    "metadata": "Anthropic takes none but the user; the ledger keeps it",
    "store": "nothing is stored at Anthropic",
    "prompt_cache_key": "a hint for caches; Anthropic's are marked in the content",
    "speaker's name": "Anthropic has no names of speakers",
    "strict": "false is Anthropic's default",
    "reasoning_effort": "thinking that has no room in the cap, or beside a forced tool",
    "reasoning summary": "Anthropic's thoughts are shown or not, without a degree",
    "eager_input_streaming": "how finely a tool's input is cut",
    "safety_identifier": "the user is what Anthropic takes; this is another name of it",
    "stream_options": "Anthropic's streams always tell their usage",
}
"""What is left out without a refusal, and why. It is told in `x-router-dropped`."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DEFERRED = re.compile(r"tools\[(\d+)\]\.defer_loading")
_FORCING = frozenset({ToolMode.REQUIRED, ToolMode.NAMED})


def encode_query(query: ChatQuery, model: str, target: str) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    writer = ContentWriter(query.origin, target)
    body: Json = {"model": model}
    system, turns = _system(query.turns, query.origin)
    if blocks := writer.blocks(system, Role.SYSTEM, "system"):
        body["system"] = _plain(blocks)
    body["messages"] = _messages(turns, writer)
    body |= _tool_members(query, writer)
    body |= thinking_members(query, model, DEFAULT_CAP, writer)
    body |= _sampling(query, writer)
    body |= _rest(query, writer)
    _others(query, body, writer)
    return Encoded(msgspec.json.encode(body), tuple(writer.dropped))


def _system(turns: Sequence[Turn], origin: Family) -> tuple[list[Part], list[Turn]]:
    """(what stands before the conversation, the conversation). Only Anthropic's own callers mean a later one to stay."""
    head: list[Part] = []
    rest: list[Turn] = []
    for turn in turns:
        is_system = turn.role in (Role.SYSTEM, Role.DEVELOPER)
        if is_system and (not rest or origin is not Family.ANTHROPIC):
            head += turn.parts
        else:
            rest.append(turn)
    return head, rest


def _messages(turns: Iterable[Turn], writer: ContentWriter) -> list[Json]:
    """Turns of one speaker in a row are one message; the results of tools come first in theirs, as Anthropic demands."""
    merged: list[tuple[Role, list[Any]]] = []
    for index, turn in enumerate(turns):
        if turn.name:
            writer.drop("speaker's name")
        parts = (
            sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult)) if turn.role is Role.USER else turn.parts
        )
        blocks = writer.blocks(parts, turn.role, f"messages[{index}].content")
        if not blocks:
            continue
        if merged and merged[-1][0] is turn.role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((turn.role, blocks))
    return [{"role": role.value, "content": _plain(_results_first(blocks))} for role, blocks in merged]


def _results_first(blocks: list[Any]) -> list[Any]:
    return sorted(blocks, key=lambda block: not (isinstance(block, dict) and block["type"] == "tool_result"))


def _plain(blocks: list[Any]) -> Any:
    """One bare text as a string."""
    only = blocks[0] if len(blocks) == 1 else None
    return only["text"] if isinstance(only, dict) and only.keys() == {"type", "text"} else blocks


def _tool_members(query: ChatQuery, writer: ContentWriter) -> Json:
    """Calls in a conversation are taken beside their tools alone."""
    choice = query.tool_choice
    tools = query.tools
    if choice is not None and choice.names and choice.mode is not ToolMode.NAMED:
        tools = tuple(tool for tool in tools if isinstance(tool, Tool) and tool.name in choice.names)
    if not (tools or query.origin is Family.ANTHROPIC or (choice is not None and choice.mode in _FORCING)):
        tools = called_tools(query.turns)
        choice = ToolChoice(ToolMode.NONE) if tools else choice
    members: Json = {}
    if tools:
        members["tools"] = [_tool(tool, f"tools[{index}]", query.origin, writer) for index, tool in enumerate(tools)]
    mode = ToolMode.AUTO if choice is None else choice.mode
    said: Json = {}
    if choice is not None and (tools or mode in _FORCING):
        said = {"type": {ToolMode.REQUIRED: "any", ToolMode.NAMED: "tool"}.get(mode, mode.value)}
        if mode is ToolMode.NAMED:
            said["name"] = choice.names[0]
    if query.is_parallel is False and tools and mode is not ToolMode.NONE:
        said = {"type": "auto", **said, "disable_parallel_tool_use": True}
    return members | ({"tool_choice": said} if said else {})


def _tool(tool: Tool | HostedTool, path: str, origin: Family, writer: ContentWriter) -> Json | msgspec.Raw:
    if isinstance(tool, HostedTool):
        if tool.family is not Family.ANTHROPIC:
            raise writer.refuse(path, f"the tool {tool.kind!r} is run by {tool.family.value} only")
        return tool.raw
    if tool.grammar is not None:
        raise writer.refuse(path, f"the custom tool {tool.name!r} takes free text, and Anthropic's tools take objects")
    written: Json = {"name": tool.name, "input_schema": _schema(tool.parameters)}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.is_strict or (tool.is_strict is not None and origin is Family.ANTHROPIC):
        written["strict"] = tool.is_strict
    return marked(written, tool.cache)


def _schema(parameters: msgspec.Raw) -> Any:
    """An object's schema: Anthropic requires the type, OpenAI does not."""
    if parameters and b'"type"' in bytes(parameters):
        return parameters
    given = msgspec.json.decode(parameters) if parameters else None
    return {"type": "object", "properties": {}} | (given if isinstance(given, dict) else {})


def _sampling(query: ChatQuery, writer: ContentWriter) -> Json:
    given = query.sampling
    if given.temperature is not None and given.temperature > 1 and query.origin is not Family.ANTHROPIC:
        raise writer.refuse("temperature", f"Anthropic takes 0 to 1, found {given.temperature:g}")
    for name in asked_beyond(given):
        raise writer.refuse(name, "Anthropic has nothing like it")
    if given.seed is not None:
        writer.drop("seed")
    said = {"temperature": given.temperature, "top_p": given.top_p, "top_k": given.top_k}
    members: Json = {name: value for name, value in said.items() if value is not None}
    return members | ({"stop_sequences": list(given.stop)} if given.stop else {})


def _rest(query: ChatQuery, writer: ContentWriter) -> Json:
    members: Json = {}
    if query.stream:
        members["stream"] = True
    if query.format is not None and query.format.kind is OutputKind.JSON:
        raise writer.refuse("response_format", "Anthropic takes a JSON schema, not any JSON object")
    if query.audio is not None or "audio" in query.modalities:
        raise writer.refuse("modalities", "Anthropic's answers are texts")
    if query.user:
        members["metadata"] = {"user_id": query.user}
    if query.metadata and query.origin is Family.ANTHROPIC:
        members["metadata"] = members.get("metadata", {}) | query.metadata
    if query.cache is not None:
        members["cache_control"] = cache_control(query.cache)
    if query.service_tier:
        word = told(TIERS_ASKED, {"priority": "auto", "standard": "default"}.get(query.service_tier, query.service_tier))
        if word is None and query.origin is not Family.ANTHROPIC:
            raise writer.refuse("service_tier", f"Anthropic has no tier {query.service_tier!r}")
        members["service_tier"] = word or query.service_tier
    hints = (
        ("verbosity", query.verbosity),
        ("metadata", query.metadata and query.origin is not Family.ANTHROPIC),
        ("store", query.store),
        ("prompt_cache_key", query.cache_key),
    )
    for name, value in hints:
        if value:
            writer.drop(name)
    return members


def _others(query: ChatQuery, body: Json, writer: ContentWriter) -> None:
    """Fields of the origin without a common meaning: Anthropic's own go on, anybody else's are refused by name."""
    for name, raw in query.others.items():
        field = name.rpartition(".")[2]
        if field in DROPPED:
            writer.drop(field)
        elif query.origin is not Family.ANTHROPIC:
            raise writer.refuse(name, "Anthropic has nothing like it")
        elif deferred := _DEFERRED.fullmatch(name):
            body["tools"][int(deferred[1])][field] = raw
        elif name == "output_config":
            body[name] = _MEMBERS.decode(raw) | body.get(name, {})
        else:
            body[name] = raw
