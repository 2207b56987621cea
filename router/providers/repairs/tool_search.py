"""A provider's own search among tools that its model is not shown at first. At targets of other families all tools are
offered at once: there is nothing to search, and what was found earlier is there."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from router.domain.chat import ChatQuery, Family, HostedTool, Opaque, Part, Text, ToolResult, Turn
from router.domain.errors import UnsupportedFeature

SEARCH = "tools.tool_search"

DROPPED: Mapping[str, str] = {
    SEARCH: "a search for tools among those of the request, and what it did earlier: they are all offered at once",
    "tools[].defer_loading": "all tools are offered at once",
}
"""What is left out of such a request, and why that is right: it costs more input, and no answer is another one."""

_OF_ANTHROPIC = "tool_search_tool_"


class _Named(msgspec.Struct):
    name: str = ""
    tool_name: str = ""
    execution: str | None = None


_NAMED = msgspec.json.Decoder(_Named)


def _is_anthropics(kind: str, raw: msgspec.Raw) -> bool:
    return (_named(raw).name if kind == "server_tool_use" else kind).startswith(_OF_ANTHROPIC)


def _is_openais(kind: str, raw: msgspec.Raw) -> bool:
    """A search that the caller runs finds tools that no request has."""
    return kind in {"tool_search", "tool_search_call", "tool_search_output"} and _named(raw).execution != "client"


_SEARCHES: Mapping[Family, Callable[[str, msgspec.Raw], bool]] = {
    Family.ANTHROPIC: _is_anthropics,
    Family.RESPONSES: _is_openais,
}
"""Whether a tool, a block or an item of this kind is of such a search."""


def without_tool_search(query: ChatQuery, family: Family, target: str) -> tuple[ChatQuery, bool]:
    """(what to ask a target of `family`, whether a search was left out).

    Raises UnsupportedFeature where the request forces a call of the search itself.
    """
    is_search = _SEARCHES.get(query.origin)
    if is_search is None or query.origin is family:
        return query, False
    hosted = [tool for tool in query.tools if isinstance(tool, HostedTool) and is_search(tool.kind, tool.raw)]
    forced = query.tool_choice.names if query.tool_choice is not None else ()
    if any(_named(tool.raw).name in forced for tool in hosted):
        raise UnsupportedFeature(f"tool_choice: a search for tools cannot be forced at {target}", param="tool_choice")
    turns = [(turn, _told(turn, is_search)) for turn in query.turns]
    if not hosted and all(before is after for before, after in turns):
        return query, False
    is_less = bool(hosted) or any(len(after.parts) < len(before.parts) for before, after in turns)
    tools = tuple(tool for tool in query.tools if tool not in hosted)
    kept = tuple(after for before, after in turns if after.parts or not before.parts)
    return replace(query, tools=tools, turns=kept), is_less


def _told(turn: Turn, is_search: Callable[[str, msgspec.Raw], bool]) -> Turn:
    """Most turns are as they were."""
    if not any(isinstance(part, Opaque | ToolResult) for part in turn.parts):
        return turn
    parts = tuple(_named_tools(p) for p in turn.parts if not (isinstance(p, Opaque) and is_search(p.kind, p.raw)))
    return turn if parts == turn.parts else replace(turn, parts=parts)


def _named_tools(part: Part) -> Part:
    """What a tool of the caller's own has found is told by the names of the tools, where its result refers to them."""
    if not isinstance(part, ToolResult) or not any(isinstance(inner, Opaque) for inner in part.parts):
        return part
    return replace(part, parts=tuple(map(_name_of_tool, part.parts)))


def _name_of_tool(part: Part) -> Part:
    name = _named(part.raw).tool_name if isinstance(part, Opaque) and part.kind == "tool_reference" else ""
    return Text(name) if name else part


def _named(raw: msgspec.Raw) -> _Named:
    try:
        return _NAMED.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return _Named()
