"""One call of a tool at a time, at targets that cannot be held to it: of an answer's calls the first alone is told.

The model is answered that one and calls the others again if it still needs them, as if it had waited.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from router.domain.chat import ChatQuery, ChatResult, Choice, Family, Part, ToolCall, ToolMode
from router.domain.events import Broken, Finished, PartStarted, Started, StreamEvent, UsageReported
from router.providers.bedrock.family import Maker, maker_of
from router.providers.codec import StreamDecoder


def _always(model: str) -> bool:
    return True


_LACKING: Mapping[Family, Callable[[str], bool]] = {
    Family.GEMINI: _always,
    Family.COHERE: _always,
    Family.OLLAMA: _always,
    Family.BEDROCK: lambda model: maker_of(model) is not Maker.CLAUDE,
}


def one_call(query: ChatQuery, family: Family, model: str) -> tuple[ChatQuery, bool]:
    """(what to ask a target of `family`, whether its answer may hold calls that must not be told)."""
    if query.is_parallel is not False or family not in _LACKING or not _LACKING[family](model):
        return query, False
    may_call = bool(query.tools) and (query.tool_choice is None or query.tool_choice.mode is not ToolMode.NONE)
    return replace(query, is_parallel=None), may_call


def with_one_call(result: ChatResult) -> ChatResult:
    return replace(result, choices=tuple(map(_choice, result.choices)))


def _choice(choice: Choice) -> Choice:
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    if len(calls) < 2:
        return choice
    kept: list[Part] = []
    for part in choice.parts:
        if not (isinstance(part, ToolCall) and any(isinstance(earlier, ToolCall) for earlier in kept)):
            kept.append(part)
    return replace(choice, parts=tuple(kept))


class OneCallDecoder:
    """A stream whose later calls are not told."""

    def __init__(self, decoder: StreamDecoder) -> None:
        self._decoder = decoder
        self._called: set[int] = set()
        self._hidden: set[tuple[int, int]] = set()

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        return [event for event in self._decoder.feed(frame) if self._is_told(event)]

    def close(self) -> Sequence[StreamEvent]:
        return [event for event in self._decoder.close() if self._is_told(event)]

    def _is_told(self, event: StreamEvent) -> bool:
        if isinstance(event, Started | UsageReported | Broken | Finished):
            return True
        if isinstance(event, PartStarted) and isinstance(event.part, ToolCall):
            if event.choice in self._called:
                self._hidden.add((event.choice, event.index))
            self._called.add(event.choice)
        return (event.choice, event.index) not in self._hidden
