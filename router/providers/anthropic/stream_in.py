"""A stream of Anthropic's as events. Types of events and deltas that are not known are no events."""

from collections.abc import Sequence

import msgspec

from router.domain.chat import Family, Finish, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from router.domain.errors import InvalidRequest
from router.domain.events import (
    Broken,
    CitationAdded,
    Finished,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.providers.anthropic.content_in import read_answered, read_citation
from router.providers.anthropic.counts import MessageCounts, message_counts
from router.providers.anthropic.result import Message, StopDetails, refusal_of, tier_of
from router.providers.anthropic.wording import STATUSES, finish_of
from router.providers.sse import frames
from router.providers.usage import Counts

_MOST_PARTS = 10_000


class _Delta(msgspec.Struct):
    """Of a block, or of the message at its end."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: msgspec.Raw = msgspec.Raw()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class _Failure(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: Message | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: _Failure | None = None


_EVENT = msgspec.json.Decoder(_Event)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EMPTY_INPUT = b"{}"


class _Held:
    """A block that only Anthropic can read, until it is whole: its input comes in pieces."""

    __slots__ = ("part", "input")

    def __init__(self, part: Opaque) -> None:
        self.part = part
        self.input: list[str] = []

    def whole(self) -> Opaque:
        """Raises ValueError where the input is no JSON."""
        text = "".join(self.input)
        if not text:
            return self.part
        members = _MEMBERS.decode(self.part.raw)
        msgspec.json.decode(text)
        members["input"] = msgspec.Raw(text.encode())
        return Opaque(self.part.family, self.part.kind, msgspec.Raw(msgspec.json.encode(members)))


class MessagesDecoder:
    """Reads one stream. `unknown` counts events of types that are not known."""

    __slots__ = ("finished", "unknown", "_counts", "_has_reason", "_open", "_parts", "_silent")

    def __init__(self) -> None:
        self.finished = False
        self.unknown = 0
        self._counts = MessageCounts(Counts())
        self._open: dict[int, Part | _Held] = {}
        self._has_reason = False
        self._parts = 0
        self._silent: set[int] = set()

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """Raises ValueError for a frame that is none."""
        found: list[StreamEvent] = []
        for name, data in frames(frame):
            if name == b"ping":
                continue
            try:
                found += self._read(_EVENT.decode(data))
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ValueError(f"an event of the stream is not of its type: {error}") from None
            except InvalidRequest as error:
                raise ValueError(f"an event of the stream is not of its type: {error.message}") from None
        return found

    def close(self) -> Sequence[StreamEvent]:
        return ()

    def _read(self, event: _Event) -> Sequence[StreamEvent]:
        match event.type:
            case "content_block_delta":
                return self._delta(event)
            case "content_block_start":
                return self._begin_block(event)
            case "content_block_stop":
                return self._end_block(event)
            case "message_start":
                return self._start(event)
            case "message_delta":
                return self._end_message(event)
            case "error":
                return self._fail(event)
            case "message_stop":
                self.finished = True
                return () if self._has_reason else (Finished(Finish.UNKNOWN),)
            case kind:
                self.unknown += kind != "ping"
        return ()

    def _start(self, event: _Event) -> Sequence[StreamEvent]:
        message = event.message
        if message is None:
            raise ValueError("message_start has no message")
        started = Started(Family.ANTHROPIC, message.id, message.model, service_tier=tier_of(message.usage))
        return [started, *self._count(message.usage)]

    def _count(self, usage: msgspec.Raw) -> list[StreamEvent]:
        counts = message_counts(usage)
        if counts is None:
            return []
        self._counts = self._counts.then(counts)
        whole = self._counts.usage()
        return [] if whole is None else [UsageReported(whole)]

    def _begin_block(self, event: _Event) -> Sequence[StreamEvent]:
        index = event.index
        if index in self._open or not 0 <= index < _MOST_PARTS:
            raise ValueError(f"the block {index} begins twice, or is out of order")
        part = read_answered(event.content_block, "content_block")
        self._parts = max(self._parts, index + 1)
        if isinstance(part, Opaque):
            self._open[index] = _Held(part)
            return ()
        if isinstance(part, ToolCall):
            if part.arguments.encode() == _EMPTY_INPUT:
                part = ToolCall(part.id, part.name, "")
                self._silent.add(index)
        elif isinstance(part, Reasoning) and part.family is None:
            # Its signature comes when the thought is whole.
            part = Reasoning(part.text, Family.ANTHROPIC)
        self._open[index] = part
        return (PartStarted(index, part),)

    def _delta(self, event: _Event) -> Sequence[StreamEvent]:
        index, delta = event.index, event.delta
        part = self._open.get(index)
        if part is None or delta is None:
            raise ValueError(f"a delta of the block {index}, which has not begun")
        if isinstance(part, _Held):
            part.input.append(delta.partial_json or "")
            return ()
        match delta.type:
            case "text_delta" if isinstance(part, Text):
                return (TextDelta(index, delta.text or ""),)
            case "thinking_delta" if isinstance(part, Reasoning):
                return (TextDelta(index, delta.thinking or ""),)
            case "signature_delta" if isinstance(part, Reasoning):
                return (SignatureDelta(index, delta.signature or ""),)
            case "input_json_delta" if isinstance(part, ToolCall):
                if delta.partial_json:
                    self._silent.discard(index)
                return (TextDelta(index, delta.partial_json),) if delta.partial_json else ()
            case "citations_delta" if isinstance(part, Text) and delta.citation:
                return (CitationAdded(index, read_citation(delta.citation)),)
            case _:
                self.unknown += 1
                return ()

    def _end_block(self, event: _Event) -> Sequence[StreamEvent]:
        index = event.index
        part = self._open.pop(index, None)
        if part is None:
            raise ValueError(f"the block {index} ends, which has not begun")
        if isinstance(part, _Held):
            return (PartStarted(index, part.whole()), PartEnded(index))
        if index in self._silent:
            self._silent.discard(index)
            return (TextDelta(index, "{}"), PartEnded(index))
        return (PartEnded(index),)

    def _end_message(self, event: _Event) -> Sequence[StreamEvent]:
        delta = event.delta or _Delta()
        found: list[StreamEvent] = []
        refusal = refusal_of(delta.stop_details)
        if refusal is not None:
            found += _told(refusal, self._parts)
            self._parts += 1
        if delta.stop_reason is not None:
            self._has_reason = True
            found.append(Finished(finish_of(delta.stop_reason), delta.stop_reason, delta.stop_sequence))
        return found + self._count(event.usage)

    def _fail(self, event: _Event) -> Sequence[StreamEvent]:
        error = event.error or _Failure()
        return (Broken(error.type, error.message, STATUSES.get(error.type)),)


def _told(refusal: Refusal, index: int) -> list[StreamEvent]:
    return [PartStarted(index, Refusal("")), TextDelta(index, refusal.text), PartEnded(index)]
