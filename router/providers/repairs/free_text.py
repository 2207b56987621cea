"""Tools that take free text, at targets whose tools take objects: offered as a function with one text for an input, and
what it is called with is that text again, in streams while it comes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from router.domain.chat import ChatQuery, ChatResult, Choice, HostedTool, Part, Tool, ToolCall, ToolResult, Turn
from router.domain.events import PartEnded, PartStarted, StreamEvent, TextDelta
from router.providers.codec import StreamDecoder

DROPPED: Mapping[str, str] = {
    "tools.format": "the grammar stands in the tool's description; nothing holds the model to it",
}
"""What such a tool loses, and why that is right."""

MEMBER = "input"

_PARAMETERS = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as plain text."}},'
    b'"required":["input"],"additionalProperties":false}'
)
_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# Every beginning of _OPENING, so that what can no longer become one is known at once.
_MAY_OPEN = re.compile(r'\s*(?:\{\s*(?:"(?:i(?:n(?:p(?:u(?:t(?:"\s*(?::\s*)?)?)?)?)?)?)?)?)?')
_STOP = re.compile(r'["\\]')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_CODE_UNITS = 4
_HIGH, _LOW, _AFTER = 0xD800, 0xDC00, 0xE000
_UNPAIRED = "\ufffd"


class FreeText:
    """The custom tools of one request, by name, and the request that is sent instead."""

    def __init__(self, query: ChatQuery, names: frozenset[str]) -> None:
        self._names = names
        tools = tuple(map(_function, query.tools))
        turns = query.turns
        if any(getattr(part, "is_custom", False) for turn in turns for part in turn.parts):
            turns = tuple(map(_spoken, turns))
        self.query = replace(query, tools=tools, turns=turns)
        is_held = any(isinstance(tool, Tool) and _grammar_of(tool) for tool in query.tools)
        self.dropped: tuple[str, ...] = tuple(DROPPED) if is_held else ()

    def is_free(self, name: str) -> bool:
        return name in self._names

    def result(self, result: ChatResult) -> ChatResult:
        """The answer with its calls of these tools as the caller knows them."""
        return replace(result, choices=tuple(map(self._choice, result.choices)))

    def part(self, part: Part) -> Part:
        if not (isinstance(part, ToolCall) and part.name in self._names):
            return part
        text = InputText()
        return replace(part, arguments=text.feed(part.arguments) + text.end(), is_custom=True)

    def _choice(self, choice: Choice) -> Choice:
        return replace(choice, parts=tuple(map(self.part, choice.parts)))


def free_text(query: ChatQuery) -> tuple[ChatQuery, FreeText | None]:
    """What to ask a target without such tools, and how to read its answer: None where the request has none."""
    names = frozenset(tool.name for tool in query.tools if isinstance(tool, Tool) and tool.grammar is not None)
    if not names and not _has_called(query.turns):
        return query, None
    free = FreeText(query, names)
    return free.query, free


def _has_called(turns: Iterable[Turn]) -> bool:
    return any(isinstance(part, ToolCall | ToolResult) and part.is_custom for turn in turns for part in turn.parts)


def _function(tool: Tool | HostedTool) -> Tool | HostedTool:
    if not isinstance(tool, Tool) or tool.grammar is None:
        return tool
    told = [tool.description] if tool.description else []
    if grammar := _grammar_of(tool):
        syntax = "regular expression" if grammar.get("syntax") == "regex" else f"{grammar.get('syntax')} grammar"
        told.append(f"The text in `{MEMBER}` must match this {syntax}:\n{grammar.get('definition')}")
    return replace(tool, description="\n\n".join(told) or None, parameters=_PARAMETERS, grammar=None)


def _grammar_of(tool: Tool) -> dict[str, Any]:
    """`syntax` and `definition`; empty where any text will do."""
    form = msgspec.json.decode(tool.grammar) if tool.grammar is not None else None
    grammar = form.get("grammar") if isinstance(form, dict) else None
    return grammar if isinstance(grammar, dict) else {}


def _spoken(turn: Turn) -> Turn:
    return replace(turn, parts=tuple(map(_objective, turn.parts)))


def _objective(part: Part) -> Part:
    if isinstance(part, ToolCall) and part.is_custom:
        return replace(part, arguments=msgspec.json.encode({MEMBER: part.arguments}).decode(), is_custom=False)
    if isinstance(part, ToolResult) and part.is_custom:
        return replace(part, is_custom=False)
    return part


class FreeTextDecoder:
    """A stream whose calls of custom tools are told with their text."""

    def __init__(self, decoder: StreamDecoder, free: FreeText) -> None:
        self._decoder = decoder
        self._free = free
        self._open: dict[tuple[int, int], InputText] = {}

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        return self._freed(self._decoder.feed(frame))

    def close(self) -> Sequence[StreamEvent]:
        return self._freed(self._decoder.close())

    def _freed(self, events: Sequence[StreamEvent]) -> Sequence[StreamEvent]:
        found: list[StreamEvent] = []
        for event in events:
            if isinstance(event, PartStarted):
                found += self._begin(event)
            elif self._open and isinstance(event, TextDelta | PartEnded):
                found += self._go_on(event)
            else:
                found.append(event)
        return found

    def _begin(self, event: PartStarted) -> list[StreamEvent]:
        part = event.part
        if not (isinstance(part, ToolCall) and self._free.is_free(part.name)):
            return [event]
        text = self._open[event.choice, event.index] = InputText()
        begun = PartStarted(event.index, replace(part, arguments="", is_custom=True), event.choice)
        return [begun, *_delta(event.index, text.feed(part.arguments), event.choice)]

    def _go_on(self, event: TextDelta | PartEnded) -> list[StreamEvent]:
        place = (event.choice, event.index)
        text = self._open.get(place)
        if text is None:
            return [event]
        if isinstance(event, TextDelta):
            return _delta(event.index, text.feed(event.text), event.choice)
        del self._open[place]
        whole = self._free.part(event.part) if event.part is not None else None
        return [*_delta(event.index, text.end(), event.choice), replace(event, part=whole)]


def _delta(index: int, text: str, choice: int) -> list[StreamEvent]:
    return [TextDelta(index, text, choice)] if text else []


class InputText:
    """Reads the text out of `{"input": "..."}` while that comes, cut anywhere.

    Where the object begins with another member it is waited for whole; what is no such object is the text itself: the
    tool will say what is wrong with it.
    """

    __slots__ = ("_held", "_high", "_is_reading", "_is_whole", "_waits")

    def __init__(self) -> None:
        self._held = ""
        self._high = 0
        self._is_reading = False
        self._is_whole = False
        self._waits: list[str] | None = None

    def feed(self, more: str) -> str:
        if self._is_whole or not more:
            return ""
        if self._is_reading:
            return self._read(self._held + more)
        if self._waits is not None:
            self._waits.append(more)
            return ""
        so_far = self._held + more
        if opening := _OPENING.match(so_far):
            self._is_reading = True
            return self._read(so_far[opening.end() :])
        if _MAY_OPEN.fullmatch(so_far):
            self._held = so_far
        else:
            self._held, self._waits = "", [so_far]
        return ""

    def end(self) -> str:
        """What is still to be said: the call is over."""
        if self._is_reading:
            return self._unpaired()
        text = self._held if self._waits is None else "".join(self._waits)
        self._is_whole, self._held, self._waits = True, "", None
        return _member(text)

    def _read(self, text: str) -> str:
        """Of the string's inside: to its closing quote. An escape that is cut waits for its rest."""
        found: list[str] = []
        at = 0
        self._held = ""
        while stop := _STOP.search(text, at):
            if stop.start() > at:
                found += (self._unpaired(), text[at : stop.start()])
            if stop.group() == '"':
                self._is_whole = True
                return "".join((*found, self._unpaired()))
            said, at = self._escape(text, stop.start() + 1)
            if at < 0:
                self._held = text[stop.start() :]
                return "".join(found)
            found.append(said)
        if at < len(text):
            found += (self._unpaired(), text[at:])
        return "".join(found)

    def _escape(self, text: str, at: int) -> tuple[str, int]:
        """(what stands behind the backslash, where it ends: -1 where it is cut). What is no escape stands for itself."""
        if at == len(text):
            return "", -1
        kind = text[at]
        if kind != "u":
            return self._unpaired() + _ESCAPES.get(kind, "\\" + kind), at + 1
        digits = text[at + 1 : at + 1 + _CODE_UNITS]
        if not _HEX.fullmatch(digits):
            is_cut = len(digits) < _CODE_UNITS and _HEX.fullmatch(digits.ljust(_CODE_UNITS, "0")) is not None
            return ("", -1) if is_cut and at + 1 + len(digits) == len(text) else (self._unpaired() + "\\u", at + 1)
        return self._unit(int(digits, 16)), at + 1 + _CODE_UNITS

    def _unit(self, unit: int) -> str:
        if self._high and _LOW <= unit < _AFTER:
            high, self._high = self._high, 0
            return chr(0x10000 + ((high - _HIGH) << 10) + (unit - _LOW))
        before = self._unpaired()
        if _HIGH <= unit < _LOW:
            self._high = unit
            return before
        return before + (_UNPAIRED if _LOW <= unit < _AFTER else chr(unit))

    def _unpaired(self) -> str:
        """Half of a character that never came whole."""
        had, self._high = self._high, 0
        return _UNPAIRED if had else ""


def _member(text: str) -> str:
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return text
    inner = whole.get(MEMBER) if isinstance(whole, dict) else None
    return inner if isinstance(inner, str) else text
