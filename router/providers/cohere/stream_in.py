"""A stream of Cohere's chat as events. Types of events that are not known are no events.

Cohere counts content blocks and tool calls apart; a plan has no number. A text stays open until something else begins, since
its citations may come behind its end.
"""

from collections.abc import Sequence

import msgspec

from router.domain.chat import Family, Opaque, Part, Reasoning, Text, ToolCall
from router.domain.events import (
    Broken,
    CitationAdded,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.providers.cohere.result_in import block_part, call_part
from router.providers.cohere.shapes import BLOCK, CALL, EVENT, Added, Delta, Event, citation_of, logprobs_of
from router.providers.cohere.wording import FAILURES, PLAN, finish_of, usage_of
from router.providers.sse import frames

_NO_DELTA = Delta()
_FAILED = "the provider ended the stream with an error"


class CohereStreamDecoder:
    """Reads one stream. `unknown` counts events of types that are not known."""

    __slots__ = ("finished", "unknown", "_next", "_open", "_part", "_places", "_is_silent")

    def __init__(self) -> None:
        self.finished = False
        self.unknown = 0
        self._next = 0
        self._open: int | None = None
        self._part: Part | None = None
        self._places: dict[tuple[str, int | None], int] = {}
        self._is_silent = False

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """Raises ValueError for a frame that is none."""
        found: list[StreamEvent] = []
        for _, data in frames(frame):
            if data == b"[DONE]":
                continue
            try:
                self._read(EVENT.decode(data), found)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise ValueError(f"an event of the stream is not of its type: {error}") from None
        return found

    def close(self) -> Sequence[StreamEvent]:
        return ()

    def _read(self, event: Event, found: list[StreamEvent]) -> None:
        delta = event.delta or _NO_DELTA
        match event.type:
            case "message-start":
                found.append(Started(Family.COHERE, event.id or "", ""))
            case "content-end" | "tool-call-end":
                if not isinstance(self._part, Text):
                    self._end(found)
            case "message-end":
                self._finish(delta, found)
            case "citation-end":
                pass
            case "" if isinstance(event.message, str):
                found.append(Broken("error", event.message or _FAILED))
            case _ if delta.message is not None:
                self._add(event, delta.message, found)
            case _:
                self.unknown += 1

    def _add(self, event: Event, added: Added, found: list[StreamEvent]) -> None:
        match event.type:
            case "content-delta":
                self._more_content(event, added.content, found)
            case "tool-call-delta":
                self._more_call(event.index, added.tool_calls, found)
            case "tool-plan-delta":
                self._plan(added.tool_plan or "", found)
            case "content-start":
                self._begin(block_part(added.content), ("content", event.index), found)
            case "tool-call-start":
                self._begin(call_part(CALL.decode(added.tool_calls)), ("call", event.index), found)
            case "citation-start":
                self._cite(added.citations, found)
            case _:
                self.unknown += 1

    # -- parts ------------------------------------------------------------------------------------------------

    def _begin(self, part: Part, place: tuple[str, int | None], found: list[StreamEvent]) -> None:
        self._end(found)
        self._open, self._part = self._next, part
        self._places[place] = self._next
        self._next += 1
        self._is_silent = isinstance(part, ToolCall) and not part.arguments
        begun = msgspec.structs.replace(part, signature="") if isinstance(part, Reasoning) else part
        found.append(PartStarted(self._open, begun))

    def _end(self, found: list[StreamEvent]) -> None:
        """A call without arguments says nothing, where others say `{}`."""
        if self._open is None:
            return
        if self._is_silent:
            found.append(TextDelta(self._open, "{}"))
        if isinstance(self._part, Reasoning):
            found.append(SignatureDelta(self._open, self._part.signature))
        found.append(PartEnded(self._open))
        self._open, self._part, self._is_silent = None, None, False

    def _more_content(self, event: Event, content: msgspec.Raw, found: list[StreamEvent]) -> None:
        if not isinstance(self._part, Text | Reasoning | Opaque) or self._places.get(("content", event.index)) != self._open:
            raise ValueError(f"more of the content {event.index}, which is not under way")
        block = BLOCK.decode(content)
        text = block.thinking if isinstance(self._part, Reasoning) else block.text
        assert self._open is not None
        if text and not isinstance(self._part, Opaque):
            found.append(TextDelta(self._open, text))
        if event.logprobs and isinstance(self._part, Text):
            found.append(LogprobsAdded(self._open, logprobs_of(event.logprobs)))

    def _more_call(self, index: int | None, told: msgspec.Raw, found: list[StreamEvent]) -> None:
        if not isinstance(self._part, ToolCall) or self._places.get(("call", index)) != self._open:
            raise ValueError(f"more of the tool call {index}, which is not under way")
        assert self._open is not None
        if more := call_part(CALL.decode(told)).arguments:
            self._is_silent = False
            found.append(TextDelta(self._open, more))

    def _plan(self, text: str, found: list[StreamEvent]) -> None:
        if not (isinstance(self._part, Reasoning) and self._part.signature == PLAN):
            self._begin(Reasoning("", Family.COHERE, signature=PLAN), ("plan", 0), found)
        assert self._open is not None
        if text:
            found.append(TextDelta(self._open, text))

    def _cite(self, told: msgspec.Raw, found: list[StreamEvent]) -> None:
        """Only of the text that is under way: what has ended takes no more."""
        cited = citation_of(told)
        if cited is None or not isinstance(self._part, Text) or self._open is None:
            return
        citation, block = cited
        if block is None or self._places.get(("content", block)) == self._open:
            found.append(CitationAdded(self._open, citation))

    # -- the end ----------------------------------------------------------------------------------------------

    def _finish(self, delta: Delta, found: list[StreamEvent]) -> None:
        self._end(found)
        usage, word = usage_of(delta.usage), delta.finish_reason or ""
        if usage is not None:
            found.append(UsageReported(usage))
        if delta.error or word in FAILURES:
            message = delta.error if isinstance(delta.error, str) and delta.error else _FAILED
            found.append(Broken(word or "ERROR", message, FAILURES.get(word)))
            return
        self.finished = True
        found.append(Finished(finish_of(word), word))
