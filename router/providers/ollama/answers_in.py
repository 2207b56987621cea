"""Ollama's answers in common words, whole and line by line."""

from collections.abc import Sequence

import msgspec

from router.domain.chat import ChatResult, Choice, Family, Part, Reasoning, Text, ToolCall
from router.domain.events import (
    Broken,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.providers.ollama.shapes import TOLD, Told, answer_id, call_of, finish_of, seconds_of, usage_of
from router.providers.openai_chat_codec.shapes import logprobs_of, text_of

_FAILED = "the provider ended the stream with an error"


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer."""
    told = _told(answer, "the answer is no chat of Ollama's")
    if told.message is None:
        raise ValueError(f"the answer is no chat of Ollama's: {text_of(told.error) or 'it has no message'}")
    message, word = told.message, text_of(told.done_reason)
    parts: list[Part] = [Reasoning(message.thinking)] if message.thinking else []
    if message.content or told.logprobs:
        parts.append(Text(message.content or "", logprobs=logprobs_of(told.logprobs)))
    calls = [call_of(call, told, number) for number, call in enumerate(message.tool_calls or ())]
    choice = Choice((*parts, *calls), finish_of(word, has_calls=bool(calls)), word)
    return ChatResult(
        Family.OLLAMA, answer_id(told), text_of(told.model), (choice,), usage_of(told), seconds_of(told.created_at)
    )


def _told(line: bytes, otherwise: str) -> Told:
    try:
        return TOLD.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{otherwise}: {error}") from None


class OllamaStreamDecoder:
    """Reads one stream. A thought ends where the text begins; a call comes whole."""

    __slots__ = ("finished", "_begun", "_next", "_open", "_calls")

    def __init__(self) -> None:
        self.finished = False
        self._begun: Told | None = None
        self._next = 0
        self._open: type[Text | Reasoning] | None = None
        self._calls = 0

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """`frame` is a line. Raises ValueError for one that is none of Ollama's."""
        found: list[StreamEvent] = []
        if not frame.strip():
            return found
        told = _told(frame, "a line of the stream is no chat of Ollama's")
        if told.error:
            found.append(Broken("error", text_of(told.error) or _FAILED))
            return found
        begun = self._begun
        if begun is None:
            begun = self._begun = told
            found.append(Started(Family.OLLAMA, answer_id(told), text_of(told.model), seconds_of(told.created_at)))
        self._read(told, begun, found)
        if told.done is True:
            self._finish(told, found)
        return found

    def close(self) -> Sequence[StreamEvent]:
        return ()

    def _read(self, told: Told, begun: Told, found: list[StreamEvent]) -> None:
        message = told.message
        if message is None:
            return
        if message.thinking:
            found.append(TextDelta(self._in(Reasoning, found), message.thinking))
        if message.content:
            found.append(TextDelta(self._in(Text, found), message.content))
        if told.logprobs:
            found.append(LogprobsAdded(self._in(Text, found), logprobs_of(told.logprobs)))
        for call in message.tool_calls or ():
            self._end(found)
            found += self._called(call_of(call, begun, self._calls))
            self._calls += 1

    def _called(self, part: ToolCall) -> Sequence[StreamEvent]:
        index, self._next = self._next, self._next + 1
        begun = msgspec.structs.replace(part, arguments="")
        return PartStarted(index, begun), TextDelta(index, part.arguments), PartEnded(index)

    def _in(self, kind: type[Text | Reasoning], found: list[StreamEvent]) -> int:
        """The index of the open part of this kind; where another one is open it ends, and one begins."""
        if self._open is not kind:
            self._end(found)
            self._open = kind
            self._next += 1
            found.append(PartStarted(self._next - 1, kind("")))
        return self._next - 1

    def _end(self, found: list[StreamEvent]) -> None:
        if self._open is not None:
            self._open = None
            found.append(PartEnded(self._next - 1))

    def _finish(self, told: Told, found: list[StreamEvent]) -> None:
        self._end(found)
        self.finished = True
        word = text_of(told.done_reason)
        found.append(Finished(finish_of(word, has_calls=self._calls > 0), word))
        if (usage := usage_of(told)) is not None:
            found.append(UsageReported(usage))
