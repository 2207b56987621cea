"""JSON by a forced tool, for models without structured output: the schema is a tool's input, the tool must be
called, and what it is called with is the answer's text.

Checked against the schema: an answer that is not what was asked for ends as an error, never as an answer.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from router.domain.chat import (
    ChatQuery,
    ChatResult,
    Choice,
    Family,
    Finish,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from router.domain.errors import UnsupportedFeature
from router.domain.events import (
    Broken,
    Finished,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.domain.folding import Fold, unfolded
from router.domain.usage import Usage
from router.providers.codec import StreamDecoder
from router.providers.repairs.schemas.validator import Mismatch, Schema, UnknownSchema

MISMATCH = "invalid_upstream_response"
TOLD = "the answer does not match the schema that was asked for"

_ANY_OBJECT = OutputFormat(OutputKind.SCHEMA, schema=msgspec.Raw(b'{"type":"object"}'))
_DESCRIPTION = "Give the final answer by calling this once. Its input is the whole answer."
_WRAPPED = "answer"
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_WHOLE = frozenset({Finish.STOP, Finish.STOP_SEQUENCE, Finish.TOOLS, Finish.UNKNOWN})
"""Ends by which a model says that it is done; by any other (length, a filter) it says that the answer is not whole."""

# Claude learnt it with 4.5, and Opus with 4.1.
_OLD_CLAUDE = re.compile(r"claude-(?:2|instant|3|(?:opus|sonnet)-4(?:-0)?(?:[-@]\d{8}.*|-v\d.*)?$)")
_FORCEABLE_ON_BEDROCK = re.compile(r"anthropic\.claude|amazon\.nova")


def _anthropic(query: ChatQuery, kind: OutputKind, model: str) -> bool:
    return kind is OutputKind.JSON or _OLD_CLAUDE.search(model) is not None


def _bedrock(query: ChatQuery, kind: OutputKind, model: str) -> bool:
    if not _FORCEABLE_ON_BEDROCK.search(model):
        return False
    return kind is OutputKind.JSON or "amazon.nova" in model or _OLD_CLAUDE.search(model) is not None


def _cohere(query: ChatQuery, kind: OutputKind, model: str) -> bool:
    """Cohere has it, but not beside tools."""
    return bool(query.tools)


_LACKING: Mapping[Family, Callable[[ChatQuery, OutputKind, str], bool]] = {
    Family.ANTHROPIC: _anthropic,
    Family.BEDROCK: _bedrock,
    Family.COHERE: _cohere,
}


class AnswerMismatch(ValueError):
    """The answer is not what was asked for. `usage` is what it cost all the same, None where that is not told."""

    usage: Usage | None = None


class ForcedAnswer:
    """The repair of one request: `query` is what to send instead."""

    def __init__(self, query: ChatQuery, target: str, family: Family) -> None:
        """Raises UnsupportedFeature where the schema is one that cannot be checked."""
        asked = query.format
        assert asked is not None, "nothing was asked for"
        if asked.kind is OutputKind.JSON:
            asked = _ANY_OBJECT
        try:
            schema = msgspec.json.decode(asked.schema)
            self._schema = Schema(schema)
        except (msgspec.MsgspecError, RecursionError, UnknownSchema) as error:
            raise UnsupportedFeature(
                f"response_format: {error}, and {target} has no structured output of its own: its answer must be checked",
                param="response_format",
            ) from None
        self._is_wrapped = not _is_object(schema)
        self._is_alone = not _may_call(query)
        self._name = _named(asked, query)
        parameters = _wrapped(schema, target) if self._is_wrapped else asked.schema
        tool = Tool(self._name, asked.description or _DESCRIPTION, parameters)
        self.query = replace(
            query,
            format=None,
            tools=(*query.tools, tool),
            tool_choice=self._choice(query),
            is_parallel=False if self._is_alone and family is Family.ANTHROPIC else query.is_parallel,
            thinking=_thinking(query.thinking),
        )

    def _choice(self, query: ChatQuery) -> ToolChoice:
        if self._is_alone:
            return ToolChoice(ToolMode.NAMED, (self._name,))
        names = query.tool_choice.names if query.tool_choice is not None else ()
        return ToolChoice(ToolMode.REQUIRED, (*names, self._name) if names else ())

    # -- the answer -----------------------------------------------------------------------------------------------

    def result(self, result: ChatResult) -> ChatResult:
        """The answer as if the model had written it. Raises AnswerMismatch where it is not what was asked for."""
        try:
            return replace(result, choices=tuple(map(self._choice_of, result.choices)))
        except AnswerMismatch as error:
            error.usage = result.usage
            raise

    def _choice_of(self, choice: Choice) -> Choice:
        calls = [part for part in choice.parts if isinstance(part, ToolCall)]
        answers = [call for call in calls if call.name == self._name]
        if len(calls) > len(answers):
            # Another tool was called: its result comes first, whatever was answered beside it.
            return replace(choice, parts=tuple(part for part in choice.parts if part not in answers))
        is_whole = choice.finish in _WHOLE
        if not answers:
            if is_whole:
                self._check("".join(part.text for part in choice.parts if isinstance(part, Text)))
            return choice
        kept = [part for part in choice.parts if isinstance(part, Reasoning)]
        text = self.text_of(answers[0].arguments, is_whole=is_whole and len(answers) == 1)
        if is_whole and len(answers) > 1:
            raise _wrong("it was given more than once")
        finish = Finish.STOP if is_whole else choice.finish
        return Choice((*kept, Text(text)), finish, "" if is_whole else choice.said, choice.stop_sequence)

    def text_of(self, arguments: str, *, is_whole: bool) -> str:
        """What the tool was called with, as the answer's text."""
        if not is_whole:
            return "" if self._is_wrapped else arguments
        if not self._is_wrapped:
            self._check(arguments)
            return arguments
        try:
            members = msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
            inner = bytes(members[_WRAPPED]).decode()
        except (msgspec.MsgspecError, KeyError, RecursionError):
            raise _wrong("it is no such JSON") from None
        self._check(inner)
        return inner

    def _check(self, text: str) -> None:
        try:
            self._schema.check(msgspec.json.decode(text))
        except Mismatch as error:
            raise _wrong(str(error)) from None
        except (msgspec.MsgspecError, RecursionError, OverflowError, ValueError):
            raise _wrong("it is no JSON") from None

    @property
    def can_flow(self) -> bool:
        """Whether the text can be told while it comes: nothing else can be called, and nothing stands around it."""
        return self._is_alone and not self._is_wrapped

    @property
    def name(self) -> str:
        return self._name


class ForcedDecoder:
    """A stream whose forced call is told as text. What is wrong with it is told in place of its end."""

    def __init__(self, decoder: StreamDecoder, forced: ForcedAnswer) -> None:
        self._decoder = decoder
        self._forced = forced
        self._fold = Fold()
        self._answers: dict[tuple[int, int], list[str]] = {}
        self._hidden: set[tuple[int, int]] = set()
        self._held: list[StreamEvent] = []
        self._has_ended = False

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        return self._repaired(self._decoder.feed(frame))

    def close(self) -> Sequence[StreamEvent]:
        return self._repaired(self._decoder.close())

    def _repaired(self, events: Sequence[StreamEvent]) -> list[StreamEvent]:
        flows = self._forced.can_flow
        found: list[StreamEvent] = []
        for event in events:
            if isinstance(event, Started | UsageReported | Broken):
                found.append(event)
                if isinstance(event, Started):
                    self._fold.feed(event)
            elif flows:
                found += self._flowing(event)
            else:
                self._fold.feed(event)
                if isinstance(event, Finished):
                    found += self._whole()
        return found

    def _whole(self) -> list[StreamEvent]:
        """Everything that was held, now that it is known what it is."""
        try:
            events = list(unfolded(self._forced.result(self._fold.result())))
        except ValueError as error:
            return [_broken(error)]
        return [event for event in events if not isinstance(event, Started | UsageReported)]

    def _flowing(self, event: StreamEvent) -> list[StreamEvent]:
        """Only the answer and thoughts pass; texts beside it would make it no JSON."""
        if isinstance(event, Finished):
            return self._end(event)
        assert not isinstance(event, Started | UsageReported | Broken), "told already"
        place = (event.choice, event.index)
        if isinstance(event, PartStarted):
            part: Part = event.part
            if isinstance(part, ToolCall) and part.name == self._forced.name:
                self._answers[place] = [part.arguments]
                begun: list[StreamEvent] = [PartStarted(event.index, Text(""), event.choice)]
                return [*begun, TextDelta(event.index, part.arguments, event.choice)] if part.arguments else begun
            if not isinstance(part, Reasoning):
                self._hidden.add(place)
        if place in self._hidden:
            self._held.append(event)
            return []
        if place in self._answers:
            if isinstance(event, TextDelta):
                self._answers[place].append(event.text)
            elif isinstance(event, PartEnded):
                return [PartEnded(event.index, event.choice)]
            else:
                return []
        return [event]

    def _end(self, event: Finished) -> list[StreamEvent]:
        if self._has_ended:
            return []
        self._has_ended = True
        answers = ["".join(pieces) for (choice, _), pieces in self._answers.items() if choice == event.choice]
        is_whole = event.finish in _WHOLE
        if not answers:
            # The model wrote instead of calling: good if it wrote what was asked for, or says itself that it did not.
            for held in self._held:
                self._fold.feed(held)
            self._fold.feed(event)
            return self._whole()
        if not is_whole:
            return [event]
        try:
            if len(answers) > 1:
                raise _wrong("it was given more than once")
            self._forced.text_of(answers[0], is_whole=True)
        except AnswerMismatch as error:
            return [_broken(error)]
        return [replace(event, finish=Finish.STOP, said="")]


def forced_answer(query: ChatQuery, family: Family, model: str, target: str) -> tuple[ChatQuery, ForcedAnswer | None]:
    """What to ask a target of `family` for the JSON that `query` wants, and how to read the answer: None where it can be
    asked as it is. Raises UnsupportedFeature."""
    asked = query.format
    if asked is None or asked.kind is OutputKind.TEXT or query.origin is family:
        return query, None
    lacks = _LACKING.get(family)
    if lacks is None or not lacks(query, asked.kind, model):
        return query, None
    choice = query.tool_choice
    if choice is not None and query.tools and choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED):
        # A tool of the caller's will be called: there is no text to have a form.
        return replace(query, format=None), None
    forced = ForcedAnswer(query, target, family)
    return forced.query, forced


def _wrong(why: str) -> AnswerMismatch:
    return AnswerMismatch(f"{TOLD}: {why}"[:500])


def _broken(error: ValueError) -> Broken:
    return Broken(MISMATCH, str(error), 502)


def _may_call(query: ChatQuery) -> bool:
    is_allowed = query.tool_choice is None or query.tool_choice.mode is not ToolMode.NONE
    return bool(query.tools) and is_allowed


def _named(asked: OutputFormat, query: ChatQuery) -> str:
    """A name for the tool that no tool of the caller's has."""
    name = _NAME.sub("_", asked.name)[:50].strip("_") or _WRAPPED
    taken = {tool.name for tool in query.tools if isinstance(tool, Tool)}
    while name in taken:
        name += "_"
    return name


def _is_object(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "object"


def _wrapped(schema: Any, target: str) -> msgspec.Raw:
    """Tools take objects: anything else is the one member of one. References keep their definitions."""
    text = msgspec.json.encode(schema)
    outside = re.sub(rb'"\$ref":"#/(?:\$defs|definitions)/', b"", text)
    if b'"$ref"' in outside:
        raise UnsupportedFeature(
            f"response_format: {target} takes objects only, and a schema of another type that refers to itself fits in none",
            param="response_format",
        )
    inner = dict(schema) if isinstance(schema, dict) else schema
    hoisted = {name: inner.pop(name) for name in ("$defs", "definitions") if isinstance(inner, dict) and name in inner}
    whole = {"type": "object", "properties": {_WRAPPED: inner}, "required": [_WRAPPED], "additionalProperties": False}
    return msgspec.Raw(msgspec.json.encode(whole | hoisted))


def _thinking(given: Thinking | None) -> Thinking | None:
    """A budget to think with and a forced tool exclude each other; of an effort the codec says so itself."""
    return None if given is None or given.budget is not None or given.is_on else given
