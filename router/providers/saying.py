"""What becomes of a request on its way to a target that cannot say all of it, and the calls in it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

from router.domain.chat import (
    ChatQuery,
    HostedTool,
    Image,
    Part,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
    Turn,
)
from router.domain.errors import UnsupportedFeature
from router.providers.call_ids import made_call_id

M = TypeVar("M")

SHOWN_BEHIND = "The content of the tool result {call_id}:"
"""Stands before the media of a result, where a result of the dialect holds texts alone."""


class Saying:
    """One request in a dialect that `target` speaks. `dropped` are names of the dialect's drop list, each once."""

    def __init__(self, target: str, dialect: str) -> None:
        self._target = target
        self._dialect = dialect
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(self._dropped)

    def drop(self, name: str) -> None:
        self._dropped[name] = None

    def refuse(self, field: str, why: str) -> NoReturn:
        """Raise UnsupportedFeature naming `field` and the target."""
        raise UnsupportedFeature(f"{field} cannot be said to {self._target} ({self._dialect}): {why}", param=field)

    def note_marks(self, parts: Iterable[Part]) -> None:
        """Of parts that are said: what marks on them are not."""
        for name in lost_marks(parts):
            self.drop(name)

    def drop_rest(self, query: ChatQuery, author: str) -> None:
        """Drop what chats without names, storage and tiers are not told. Raises UnsupportedFeature where the answer is to
        be more than a text."""
        if query.audio is not None or any(kind != "text" for kind in query.modalities):
            self.refuse("modalities", f"{author}'s answers are texts")
        hints = {
            "verbosity": query.verbosity,
            "user": query.user,
            "metadata": query.metadata,
            "store": query.store,
            "prompt_cache_key": query.cache_key,
            "cache_control": query.cache,
            "service_tier": query.service_tier,
        }
        for name, value in hints.items():
            if value:
                self.drop(name)


def lost_marks(parts: Iterable[Part]) -> Iterator[str]:
    """The names on drop lists of what stands on parts beside their content."""
    for part in parts:
        if getattr(part, "cache", None) is not None:
            yield "cache_control"
        if isinstance(part, Text) and part.citations:
            yield "citations of earlier turns"


def offered(query: ChatQuery, saying: Saying) -> tuple[tuple[Tool, ...], ToolMode]:
    """The functions to offer and how they may be chosen, for dialects that cannot name one: a choice among some of them
    offers only those. The mode is AUTO, NONE or REQUIRED."""
    choice = query.tool_choice or ToolChoice(ToolMode.AUTO)
    tools = [_function(tool, saying) for tool in query.tools]
    if choice.names:
        tools = [tool for tool in tools if tool.name in choice.names]
        if not tools:
            saying.refuse("tool_choice", f"there is no tool {choice.names[0]!r}")
    if any(tool.cache is not None for tool in tools):
        saying.drop("cache_control")
    return tuple(tools), ToolMode.REQUIRED if choice.mode is ToolMode.NAMED else choice.mode


def _function(tool: Tool | HostedTool, saying: Saying) -> Tool:
    if isinstance(tool, HostedTool):
        saying.refuse("tools", f"{tool.kind!r} is run by its provider ({tool.family.value})")
    if tool.grammar is not None:
        saying.refuse("tools", f"the custom tool {tool.name!r} takes free text, and tools here take objects")
    return tool


def called_tools(turns: Iterable[Turn]) -> tuple[Tool, ...]:
    """The tools that a conversation has called, each once, for dialects that take calls only beside the tools: a caller
    who sends none wants no more calls, and what their inputs were is to be seen in the calls."""
    names = dict.fromkeys(part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall))
    return tuple(Tool(name) for name in names)


class CallBook:
    """The calls of the turn before, so that each result finds the one it answers."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._names: dict[str, str] = {}

    def begin_turn(self) -> None:
        self._open = []

    def called(self, call: ToolCall, turn: int, number: int) -> str:
        """The call's id, made from its place where it has none."""
        call_id = call.id or made_call_id(turn, number)
        self._open.append((call_id, call.name))
        self._names[call_id] = call.name
        return call_id

    def answered(self, result: ToolResult) -> tuple[str, str]:
        """(id, name) of the call that `result` answers: its own, else the first of that name without an answer."""
        for at, (call_id, name) in enumerate(self._open):
            if result.call_id == call_id or (not result.call_id and name == result.name):
                del self._open[at]
                return call_id, name
        return result.call_id, result.name or self._names.get(result.call_id, "")


def asked_beyond(given: Sampling) -> Iterator[str]:
    """The names of what is asked of sampling that Claude has nothing like."""
    asked = (
        ("frequency_penalty", given.frequency_penalty),
        ("presence_penalty", given.presence_penalty),
        ("logprobs", given.logprobs),
        ("top_logprobs", given.top_logprobs),
        ("logit_bias", given.logit_bias),
        ("n", given.choices if given.choices != 1 else None),
    )
    return (name for name, value in asked if value)


def results_first(
    parts: Sequence[Part], result: Callable[[ToolResult, list[Part]], M], user: Callable[[list[Part]], M]
) -> list[M]:
    """A user's turn as messages: results answer the calls of the turn before, so they come first. What `result` puts behind
    them is said as the user's own."""
    behind: list[Part] = []
    messages = [result(part, behind) for part in parts if isinstance(part, ToolResult)]
    said = [part for part in parts if not isinstance(part, ToolResult)]
    if said or behind or not messages:
        messages.append(user([*behind, *said]))
    return messages


def said_in_results(parts: Sequence[Part], call_id: str, behind: list[Part]) -> list[Part]:
    """What of a result's parts is no medium; media are put `behind`, for the user's own words."""
    media = [part for part in parts if isinstance(part, Image)]
    if media:
        behind += [Text(SHOWN_BEHIND.format(call_id=call_id)), *media]
    return [part for part in parts if part not in media]
