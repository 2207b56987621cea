"""What a request means, whichever API it was written in: who says what, what may be called, how to answer."""

import json
import re
from typing import Any, TypeGuard

from router.domain.chat import (
    Audio,
    ChatQuery,
    Document,
    HostedTool,
    Image,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)

Json = dict[str, Any]
FORCED = "answer"
"""The tool by which a target without a word for JSON is made to write it."""
_TAG = re.compile(r'(?<=call-id=")[^"]+(?=")')


def meaning_of(query: ChatQuery) -> Json:
    """Without what is on the lists of docs/fidelity.md (reasoning of earlier turns, marks for caches, names) and without
    what dialects put differently: who of system and developer speaks, where a turn ends, how JSON is spaced."""
    said = [told for turn in query.turns for part in turn.parts for told in _told(turn.role, part)]
    return {
        "system": [told for told in said if told[0] == Role.SYSTEM],
        "said": _calls_last(_numbered([told for told in said if told[0] != Role.SYSTEM])),
        "tools": [(tool.name, tool.description or "", _schema(bytes(tool.parameters))) for tool in _tools(query)],
        "choice": (query.tool_choice.mode, query.tool_choice.names) if _is_choice(query.tool_choice) else None,
        "cap": query.cap,
        "format": _schema(bytes(query.format.schema)) or str(query.format.kind) if _is_format(query.format) else None,
        "temperature": query.sampling.temperature,
        "top_p": query.sampling.top_p,
        "penalties": (query.sampling.frequency_penalty or 0, query.sampling.presence_penalty or 0),
        "choices": query.sampling.choices or 1,
        "top_logprobs": query.sampling.top_logprobs,
        "is_parallel": query.is_parallel is not False,
        "stop": query.sampling.stop,
        "stream": query.stream,
    }


def difference(ours: ChatQuery, theirs: ChatQuery, *, spoken_between: str = "") -> dict[str, tuple[object, object]]:
    """Member -> (what of `ours`, what of `theirs`) for those that mean something else. `spoken_between`: what the assistant
    is made to say where the dialect wants it to speak."""
    got, wanted = meaning_of(ours), meaning_of(theirs)
    answering = [tool for tool in got["tools"] if tool[0] == FORCED]
    if wanted["cap"] is None:
        got["cap"] = None  # a target that must have one gets one
    if wanted["format"] and not got["format"] and answering:
        # No word for the format: its schema is that of a tool which has to be called.
        got["tools"] = [tool for tool in got["tools"] if tool[0] != FORCED]
        for name in ("format", "choice", "is_parallel"):
            got[name] = wanted[name]
    if not wanted["tools"] and got["choice"] == (ToolMode.NONE, ()):
        # Anthropic must be told of the tools that were called before; none may be called again.
        got["tools"], got["choice"] = [], wanted["choice"]
    if spoken_between:
        got["said"] = [told for told in got["said"] if told != (Role.ASSISTANT, spoken_between)]
        wanted["said"] = [told for told in wanted["said"] if told != (Role.ASSISTANT, spoken_between)]
    return {name: (got[name], wanted[name]) for name in wanted if got[name] != wanted[name]}


def _is_choice(choice: ToolChoice | None) -> TypeGuard[ToolChoice]:
    return choice is not None and choice != ToolChoice(ToolMode.AUTO)


def _is_format(format_: OutputFormat | None) -> TypeGuard[OutputFormat]:
    return format_ is not None and format_.kind is not OutputKind.TEXT


def _numbered(said: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """With calls named by their order: some dialects have ids of their own form, which texts about a call may name too."""
    ids = dict.fromkeys(str(told[1]) for told in said if told[0] in {"call", "result"} and told[1])
    numbers = {call_id: f"call-{number}" for number, call_id in enumerate(ids)}

    def numbered(value: object) -> object:
        if not isinstance(value, str):
            return value
        return numbers.get(value) or _TAG.sub("", value)

    return [tuple(numbered(value) for value in told) for told in said]


def _calls_last(said: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Chat Completions knows no order between what the assistant says and what it calls in one turn."""
    found: list[tuple[object, ...]] = []
    for told in said:
        at = len(found)
        while told[0] == Role.ASSISTANT and at and found[at - 1][0] == "call":
            at -= 1
        if told[0] == Role.ASSISTANT and at and found[at - 1][0] == Role.ASSISTANT:
            found[at - 1] = (Role.ASSISTANT, f"{found[at - 1][1]}{told[1]}")
        else:
            found.insert(at, told)
    return found


def _tools(query: ChatQuery) -> list[Any]:
    return [tool for tool in query.tools if not isinstance(tool, HostedTool)]


def _schema(raw: bytes) -> object:
    return json.loads(raw) if raw else None


def _told(role: Role, part: Part) -> list[tuple[object, ...]]:
    speaker = Role.SYSTEM if role is Role.DEVELOPER else role
    match part:
        case Text(text=text) | Refusal(text=text):
            return [(speaker, text)] if text else []
        case Reasoning():
            return []
        case ToolCall():
            return [("call", part.id, part.name, _schema(part.arguments.encode()) if not part.is_custom else part.arguments)]
        case ToolResult():
            return [("result", part.call_id), *(told for inner in part.parts for told in _told(Role.USER, inner))]
        case Image() | Document() | Audio():
            return [(type(part).__name__, *_where(part.source))]
    return [("opaque", part.kind)]


def _where(source: Source) -> tuple[str, ...]:
    return (source.data, source.url, source.file_id, source.text)
