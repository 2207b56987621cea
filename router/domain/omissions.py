"""What an operator lets be left out of a request that its target would refuse: fields by name, tools by their kind."""

import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from router.domain.chat import ChatQuery, Family, HostedTool, Opaque, Turn

TOOLS = "tools."
"""Begins the name of a tool that its provider runs: `tools.web_search`."""


def _unsampled(name: str) -> Callable[[ChatQuery], ChatQuery]:
    empty = () if name == "stop" else None
    return lambda query: replace(query, sampling=replace(query.sampling, **{name: empty}))


_WITHOUT: Mapping[str, Callable[[ChatQuery], ChatQuery]] = {
    "temperature": _unsampled("temperature"),
    "top_p": _unsampled("top_p"),
    "top_k": _unsampled("top_k"),
    "frequency_penalty": _unsampled("frequency_penalty"),
    "presence_penalty": _unsampled("presence_penalty"),
    "stop": _unsampled("stop"),
    "n": _unsampled("choices"),
    "logprobs": _unsampled("logprobs"),
    "top_logprobs": _unsampled("top_logprobs"),
    "logit_bias": _unsampled("logit_bias"),
    "parallel_tool_calls": lambda query: replace(query, is_parallel=None),
    "tool_choice": lambda query: replace(query, tool_choice=None),
    "service_tier": lambda query: replace(query, service_tier=""),
    "modalities": lambda query: replace(query, modalities=(), audio=None),
    "audio": lambda query: replace(query, audio=None),
}
"""The request without a field that has a place in the common form, under the name by which targets refuse it."""

OMISSIBLE = frozenset(_WITHOUT)

INDISPENSABLE = frozenset(
    "model messages input instructions system prompt tools response_format text text.format output_format"
    " previous_response_id conversation background".split()
)
"""Without these a request would be another one: its target has them, or it is refused."""

ALWAYS_TAKEN = frozenset(
    "stream stream_options max_tokens max_completion_tokens max_output_tokens seed user metadata store verbosity"
    " prompt_cache_key safety_identifier prompt_cache_retention prompt_cache_options prediction include truncation"
    " max_tool_calls reasoning reasoning_effort cache_control context_management usage".split()
)
"""What every target is told, or what is on a drop list anyway: never refused."""

OTHER_NAMES = {"stop_sequences": "stop"}
"""Other names of the same fields, and the one that is meant."""

_INDEX = re.compile(r"\[\d+\]")
# web_search_20250305, web_search_preview_2025_03_11, google_search
_VERSION = re.compile(r"(?:_preview)?(?:_\d{4}_?\d{2}_?\d{2})?$")
_NAMED = frozenset({"server_tool_use"})
_HOLDS_TOOLS = frozenset({"tools", "messages", "input"})


def without_refused(query: ChatQuery, param: str, names: frozenset[str], family: Family) -> tuple[ChatQuery, str] | None:
    """(the request without the field that `family` refused as `param`, its name in `names`); None where it is none of
    them. What is returned is always less than what was given."""
    plain = _INDEX.sub("[]", param)
    if param in query.others:
        others = {path: raw for path, raw in query.others.items() if path != param}
        return (replace(query, others=others), plain) if plain in names else None
    field = plain if plain in _WITHOUT else plain.partition(".")[0]
    if field in names and field in _WITHOUT:
        less = _WITHOUT[field](query)
        return (less, field) if less != query else None
    return _without_tools(query, names, family) if plain.partition("[")[0] in _HOLDS_TOOLS else None


def _without_tools(query: ChatQuery, names: frozenset[str], family: Family) -> tuple[ChatQuery, str] | None:
    """Without one kind of tool that another provider runs, and without what it did earlier in the conversation."""
    kinds = [kind_of(tool.kind) for tool in query.tools if isinstance(tool, HostedTool) and tool.family is not family]
    parts = (part for turn in query.turns for part in turn.parts)
    kinds += [_run_by(part) for part in parts if isinstance(part, Opaque) and part.family is not family]
    found = next((kind for kind in kinds if TOOLS + kind in names), None)
    if found is None:
        return None
    tools = tuple(tool for tool in query.tools if not (isinstance(tool, HostedTool) and kind_of(tool.kind) == found))
    turns = tuple(turn for turn in (_without_traces(turn, found) for turn in query.turns) if turn.parts)
    less = replace(query, tools=tools, turns=turns)
    return (less, TOOLS + found) if less != query else None


def _without_traces(turn: Turn, kind: str) -> Turn:
    parts = tuple(part for part in turn.parts if not (isinstance(part, Opaque) and _run_by(part) == kind))
    return turn if len(parts) == len(turn.parts) else replace(turn, parts=parts)


def kind_of(kind: str) -> str:
    """The kind of a tool without its version."""
    return _VERSION.sub("", kind)


def _run_by(part: Opaque) -> str:
    """The kind of tool that an item or a block is of: its call, its result."""
    kind = part.kind
    if kind in _NAMED:
        told = msgspec.json.decode(part.raw)
        kind = str(told.get("name", "")) if isinstance(told, dict) else ""
    for ending in ("_tool_result", "_call_output", "_call"):
        kind = kind.removesuffix(ending)
    return kind_of(kind)
