"""Chats that nobody had: requests and answers of any content that a caller may ask for and a provider may give.

Every text in them is one of its own, so that what is lost on the way can be seen by its absence.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
from hypothesis import strategies as st

from router.domain.chat import (
    ChatQuery,
    ChatResult,
    Choice,
    Citation,
    Document,
    Family,
    Finish,
    Image,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
    Turn,
)
from router.domain.usage import Usage

FAMILIES = st.sampled_from(list(Family))
CALLERS = st.sampled_from([Family.CHAT, Family.RESPONSES, Family.ANTHROPIC])
_PNG = "iVBORw0KGgo="


class Marks:
    """Words that stand nowhere else, each with where it was put."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self._numbers: Iterator[int] = count()

    def new(self, place: str) -> str:
        word = f"MARK{next(self._numbers):04d}K"
        self.places[word] = place
        return word


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


# -- requests -------------------------------------------------------------------------------------------------


@st.composite
def queries(draw: st.DrawFn) -> tuple[ChatQuery, dict[str, str]]:
    """(a request, each word of it with its place). Calls have results, and roles say what they may."""
    marks = Marks()
    tools = tuple(_tool(draw, marks) for _ in range(draw(st.integers(0, 2))))
    turns: list[Turn] = []
    if draw(st.booleans()):
        turns.append(Turn(draw(st.sampled_from([Role.SYSTEM, Role.DEVELOPER])), (Text(marks.new("system")),)))
    for _ in range(draw(st.integers(1, 3))):
        turns += _round(draw, marks, tools)
    turns.append(Turn(Role.USER, (Text(marks.new("user")),)))
    format_ = None
    if draw(st.booleans()):
        schema = {"type": "object", "properties": {marks.new("schema"): {"type": "string"}}}
        format_ = OutputFormat(OutputKind.SCHEMA, name="answer", schema=_raw(schema))
    choices = [None, ToolChoice(ToolMode.AUTO)]
    choices += [ToolChoice(ToolMode.REQUIRED), ToolChoice(ToolMode.NAMED, (tools[0].name,))] if tools else []
    query = ChatQuery(
        draw(CALLERS),
        tuple(turns),
        stream=draw(st.booleans()),
        tools=tools,
        tool_choice=draw(st.sampled_from(choices)),
        cap=draw(st.sampled_from([None, 100])),
        format=format_,
        sampling=Sampling(temperature=draw(st.sampled_from([None, 0.5])), stop=draw(st.sampled_from([(), ("END",)]))),
    )
    return query, marks.places


def _tool(draw: st.DrawFn, marks: Marks) -> Tool:
    schema = {"type": "object", "properties": {marks.new("parameter"): {"type": "string"}}}
    return Tool(marks.new("tool"), marks.new("description") if draw(st.booleans()) else None, _raw(schema))


def _round(draw: st.DrawFn, marks: Marks, tools: tuple[Tool, ...]) -> list[Turn]:
    """What the user says, what the assistant answers, and what its calls brought."""
    asked = [Turn(Role.USER, tuple(_shown(draw, marks) for _ in range(draw(st.integers(1, 3)))))]
    answered: list[Part] = [Reasoning("hm", draw(FAMILIES), "sig")] if draw(st.booleans()) else []
    if draw(st.booleans()):
        answered.append(Text(marks.new("answer")))
    calls = [
        ToolCall(f"call_{number}", tool.name, json.dumps({"q": marks.new("arguments")}))
        for number, tool in enumerate(tools[: draw(st.integers(0, 2))])
    ]
    answered += calls or ([] if any(isinstance(part, Text) for part in answered) else [Refusal(marks.new("refusal"))])
    asked.append(Turn(Role.ASSISTANT, tuple(answered)))
    if calls:
        results = (
            ToolResult(call.id, _found(draw, marks), call.name, draw(st.sampled_from([None, True]))) for call in calls
        )
        asked.append(Turn(Role.USER, tuple(results)))
    return asked


def _found(draw: st.DrawFn, marks: Marks) -> tuple[Part, ...]:
    parts: list[Part] = [Text(marks.new("result"))]
    return (
        (*parts, Image(Source("image/png", data=_PNG + marks.new("picture found")))) if draw(st.booleans()) else tuple(parts)
    )


def _shown(draw: st.DrawFn, marks: Marks) -> Part:
    kind = draw(st.sampled_from(["text", "image", "address", "pdf", "plain"]))
    if kind == "image":
        return Image(Source("image/png", data=_PNG + marks.new("image")))
    if kind == "address":
        return Image(Source("image/png", url=f"https://pictures.test/{marks.new('address')}.png"))
    if kind == "pdf":
        return Document(Source("application/pdf", data="JVBERi0" + marks.new("pdf")), marks.new("file's name"))
    if kind == "plain":
        return Document(Source("text/plain", text=marks.new("plain text")), marks.new("title"))
    return Text(marks.new("said"))


# -- answers --------------------------------------------------------------------------------------------------


@st.composite
def results(draw: st.DrawFn, *, choices: int = 1) -> tuple[ChatResult, dict[str, str]]:
    """(an answer, each word of it with its place)."""
    marks = Marks()
    family = draw(FAMILIES)
    told = tuple(_choice(draw, marks, family) for _ in range(choices))
    return ChatResult(family, "id-1", "model-1", told, draw(usages()), created=1_700_000_000), marks.places


def _choice(draw: st.DrawFn, marks: Marks, family: Family) -> Choice:
    parts: list[Part] = []
    for _ in range(draw(st.integers(0, 3))):
        parts += _thought_and_text(draw, marks, family)
    calls = [_call(draw, marks, family, number) for number in range(draw(st.integers(0, 3)))]
    ends = [Finish.TOOLS] if calls else [Finish.STOP, Finish.LENGTH, Finish.CONTEXT, Finish.FILTERED, Finish.UNKNOWN]
    return Choice((*parts, *calls), draw(st.sampled_from(ends)))


def _thought_and_text(draw: st.DrawFn, marks: Marks, family: Family) -> list[Part]:
    kind = draw(st.sampled_from(["thought", "text", "cited", "image", "file", "empty"]))
    if kind == "thought":
        seal = draw(st.sampled_from(["", "seal"]))
        return [Reasoning(marks.new("thought"), family, seal if family is not Family.RESPONSES else "")]
    if kind == "image":
        return [Image(Source("image/png", data=_PNG + marks.new("picture made")))]
    if kind == "file":
        return [Document(Source("application/pdf", data="JVBERi0" + marks.new("file made")))]
    if kind == "cited":
        raw = _raw({"type": "url_citation", "url": "https://a.test"})
        return [Text(marks.new("text"), (Citation(family, raw, "https://a.test", "A", start=0, end=4),))]
    return [Text(marks.new("text") if kind == "text" else "")]


def _call(draw: st.DrawFn, marks: Marks, family: Family, number: int) -> ToolCall:
    kind = draw(st.sampled_from(["empty", "flat", "deep"]))
    word = "" if kind == "empty" else marks.new("arguments")
    arguments = {"empty": {}, "flat": {"q": word}, "deep": {"q": {"r": [1, "é", word]}}}[kind]
    seal = draw(st.sampled_from(["", "seal"]))
    return ToolCall(
        f"call_{number}", marks.new("called"), json.dumps(arguments), signature=seal, family=family if seal else None
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    fresh, cached, kept, said, thought = (draw(st.integers(0, 50)) for _ in range(5))
    return Usage(
        fresh + cached + kept, said + thought, cached, kept, thought, cache_write_1h_tokens=draw(st.integers(0, kept))
    )
