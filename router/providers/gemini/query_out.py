"""A request in common words as one of generateContent, for the Gemini API and for Vertex."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from router.domain.chat import (
    ChatQuery,
    Family,
    HostedTool,
    Part,
    Role,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
    Turn,
)
from router.providers.codec import Encoded
from router.providers.gemini.content_out import ContentWriter
from router.providers.gemini.generation import generation_config
from router.providers.gemini.wording import TIERS_ASKED, generation_of

Json = dict[str, Any]

DROPPED: Mapping[str, str] = {
    "reasoning": "an earlier turn's thoughts can only be read by the family that signed them",
    "citations": "no field of Gemini's takes them; the text itself is sent",
    "cache_control": "Gemini caches prompts on its own; a mark changes nothing of the answer",
    "image detail": "Gemini scales images itself",
    "document.citations": "no answer of Gemini's cites a document",
    "document.context": "no field of Gemini's takes it",
    "file's name": "no field of the Gemini API's takes it; of a plain text it stands before the text",
    "speaker's name": "Gemini has no names of speakers",
    "strict": "Gemini keeps to the schema of a function by itself, and cannot be told to",
    "reasoning_effort": "models before 2.5 do not think",
    "reasoning summary": "Gemini's thoughts are shown or not, without a degree",
    "response_format.description": "Gemini takes the schema alone",
    "verbosity": "a hint on style that Gemini does not take",
    "user": "Gemini takes no name of the user; the ledger keeps it",
    "metadata": "Gemini takes none; the ledger keeps it",
    "store": "nothing is stored at Gemini",
    "prompt_cache_key": "a hint for caches; Gemini's is its own",
    "eager_input_streaming": "how finely a tool's input is cut",
    "safety_identifier": "a name for another provider's watch over abuse",
    "stream_options": "Gemini's streams always tell their usage",
}
"""What is left out without a refusal, and why. It is told in `x-router-dropped`."""

_OWN = {
    "safetySettings": "safetySettings",
    "safety_settings": "safetySettings",
    "cachedContent": "cachedContent",
    "cached_content": "cachedContent",
}
"""Fields of Gemini's own that a caller may give beside those of its dialect."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """How the two servers of one dialect differ. `has_tiers`: the tier is a field of the request. `needs_type`: media by URL
    must name their type. `ids_since`: the first generation of models whose calls have ids."""

    has_tiers: bool = True
    needs_type: bool = False
    ids_since: int = 0


GEMINI_API = Flavour()
VERTEX = Flavour(has_tiers=False, needs_type=True, ids_since=3)


def encode_query(query: ChatQuery, model: str, target: str, flavour: Flavour) -> Encoded:
    """Raises UnsupportedFeature naming the field and `target`."""
    generation = generation_of(model)[0]
    writer = ContentWriter(
        target,
        with_ids=generation >= flavour.ids_since,
        with_media=generation >= 3,
        signs=generation >= 3,
        needs_type=flavour.needs_type,
    )
    body = _conversation(query.turns, writer)
    body |= _tool_members(query, writer)
    if config := generation_config(query, model, writer):
        body["generationConfig"] = config
    _rest(query, body, flavour, writer)
    _others(query, body, writer)
    return Encoded(msgspec.json.encode(body), tuple(writer.dropped))


# -- turns ----------------------------------------------------------------------------------------------------


def _conversation(turns: tuple[Turn, ...], writer: ContentWriter) -> Json:
    """System turns stand before the conversation, wherever they stood. One that is all there is, is what the user says."""
    system: list[Any] = []
    contents = _Contents(writer)
    for index, turn in enumerate(turns):
        if turn.name:
            writer.drop("speaker's name")
        path = f"messages[{index}].content"
        if turn.role in (Role.SYSTEM, Role.DEVELOPER):
            system += writer.said_by_user(turn.parts, path)
        else:
            contents.add(turn, path)
    found = contents.whole()
    if not found:
        return {"contents": [{"role": "user", "parts": system}] if system else []}
    return ({"systemInstruction": {"parts": system}} if system else {}) | {"contents": found}


class _Contents:
    """The conversation while it is written: what answers one turn's calls is one content, in the order of the calls."""

    def __init__(self, writer: ContentWriter) -> None:
        self._writer = writer
        self._contents: list[Json] = []
        self._names: dict[str, str] = {}
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult] = []
        self._pending: list[tuple[tuple[Part, ...], str]] = []

    def add(self, turn: Turn, path: str) -> None:
        if turn.role is Role.ASSISTANT:
            self._flush()
            self._calls = [part for part in turn.parts if isinstance(part, ToolCall)]
            self._names |= {call.id: call.name for call in self._calls}
            self._put("model", self._writer.said_by_model(turn.parts, path))
            return
        self._results += [part for part in turn.parts if isinstance(part, ToolResult)]
        said = tuple(part for part in turn.parts if not isinstance(part, ToolResult))
        if said:
            self._pending.append((said, path))

    def whole(self) -> list[Json]:
        self._flush()
        return self._contents

    def _flush(self) -> None:
        """The user's turns since the last of the model's: results first, then what they show, then what was said."""
        media: list[Any] = []
        ordered = sorted(self._results, key=self._place)
        self._put("user", [self._writer.result(result, self._name(result), media) for result in ordered], is_apart=True)
        self._put("user", media, is_apart=True)
        for said, path in self._pending:
            self._put("user", self._writer.said_by_user(said, path))
        self._calls, self._results, self._pending = [], [], []

    def _place(self, result: ToolResult) -> int:
        ids = [call.id for call in self._calls]
        return ids.index(result.call_id) if result.call_id in ids else len(ids)

    def _name(self, result: ToolResult) -> str:
        """Gemini answers functions by name. A result without an id is that of the call in its place."""
        name = self._names.get(result.call_id, "") if result.call_id else ""
        if not name and not result.name and len(self._calls) == len(self._results):
            name = self._calls[self._results.index(result)].name
        name = name or result.name
        if not name:
            raise self._writer.refuse("messages", f"Gemini must be told the tool of the result {result.call_id!r}")
        return name

    def _put(self, role: str, parts: list[Any], *, is_apart: bool = False) -> None:
        if not parts:
            return
        last = self._contents[-1] if self._contents else None
        if last is None or last["role"] != role or is_apart or _is_result(last):
            self._contents.append({"role": role, "parts": parts})
        else:
            last["parts"] += parts


def _is_result(content: Json) -> bool:
    first = content["parts"][0]
    return isinstance(first, dict) and "functionResponse" in first


# -- tools ----------------------------------------------------------------------------------------------------


def _tool_members(query: ChatQuery, writer: ContentWriter) -> Json:
    choice = query.tool_choice
    tools = query.tools
    if choice is not None and choice.mode is ToolMode.AUTO and choice.names:
        tools = tuple(tool for tool in tools if isinstance(tool, Tool) and tool.name in choice.names)
    if query.is_parallel is False and tools and (choice is None or choice.mode is not ToolMode.NONE):
        raise writer.refuse("parallel_tool_calls", "Gemini cannot be held to one call at a time")
    written = [_tool(tool, f"tools[{index}]", writer) for index, tool in enumerate(tools)]
    declared = [tool for tool in written if isinstance(tool, dict)]
    members: Json = {}
    if written:
        functions = [{"functionDeclarations": declared}] if declared else []
        members["tools"] = [*functions, *(tool for tool in written if isinstance(tool, msgspec.Raw))]
    if choice is not None and (declared or choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED)):
        members["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    return members


def _tool(tool: Tool | HostedTool, path: str, writer: ContentWriter) -> Json | msgspec.Raw:
    if isinstance(tool, HostedTool):
        if tool.family is Family.GEMINI:
            return tool.raw
        raise writer.refuse(path, f"the tool {tool.kind!r} is run by {tool.family.value} only")
    if tool.grammar is not None:
        raise writer.refuse(path, f"the custom tool {tool.name!r} takes free text, and Gemini's functions take objects")
    if tool.is_strict:
        writer.drop("strict")
    if tool.cache is not None:
        writer.drop("cache_control")
    written: Json = {"name": tool.name, "description": tool.description or ""}
    if tool.parameters and bytes(tool.parameters) not in (b"{}", b"null"):
        written["parametersJsonSchema"] = tool.parameters
    return written


def _calling(choice: ToolChoice) -> Json:
    if choice.mode is ToolMode.NONE:
        return {"mode": "NONE"}
    if choice.mode is ToolMode.AUTO:
        return {"mode": "AUTO"}
    return {"mode": "ANY"} | ({"allowedFunctionNames": list(choice.names)} if choice.names else {})


# -- the rest -------------------------------------------------------------------------------------------------


def _rest(query: ChatQuery, body: Json, flavour: Flavour, writer: ContentWriter) -> None:
    tier = query.service_tier
    if tier and tier != "auto":
        word = TIERS_ASKED.get(tier)
        if word is None or (not flavour.has_tiers and word != "standard"):
            raise writer.refuse("service_tier", f"there is no tier {tier!r}")
        if flavour.has_tiers:
            body["serviceTier"] = word
    hints = (
        ("verbosity", query.verbosity),
        ("user", query.user),
        ("metadata", query.metadata),
        ("store", query.store),
        ("prompt_cache_key", query.cache_key),
        ("cache_control", query.cache),
    )
    for name, value in hints:
        if value:
            writer.drop(name)


def _others(query: ChatQuery, body: Json, writer: ContentWriter) -> None:
    """Fields of the origin without a common meaning: those of Gemini's own go on, all others are refused by name."""
    for name, raw in query.others.items():
        field = name.rpartition(".")[2]
        if name in _OWN:
            body[_OWN[name]] = raw
        elif field in DROPPED:
            writer.drop(field)
        else:
            raise writer.refuse(name, "Gemini has nothing like it")
