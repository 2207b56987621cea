"""A stream of ConverseStream's as events. Types of events, blocks and deltas that are not known are no events.

Blocks begin where their first piece says of which kind they are: only those of tools are announced. Their indices may have
gaps, and one index may hold a thought and then a text: parts are counted anew.
"""

import base64
import binascii
from collections.abc import Sequence

import msgspec

from router.domain.chat import Family, Image, Part, Reasoning, Source, Text, ToolCall
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
from router.providers.bedrock.answer import Medium, ToolUse, read_citation
from router.providers.bedrock.counts import usage_of
from router.providers.bedrock.eventstream import HeaderValue, parse_message
from router.providers.bedrock.wording import STATUSES, finish_of

_MOST_PARTS = 10_000
_SERVER_CALL = "server_tool_use"
_TOLD_BY_PIECES = frozenset({"text", "reasoningContent"})


class _Thought(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Input(msgspec.Struct):
    input: str = ""


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _Input | None = None
    reasoning_content: _Thought | None = None
    citation: msgspec.Raw = msgspec.Raw()
    image: Medium | None = None


class _Block(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    delta: _Delta | None = None
    start: dict[str, msgspec.Raw] | None = None


class _Stop(msgspec.Struct, rename="camel"):
    stop_reason: str = ""


class _Metadata(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class _Failure(msgspec.Struct, rename="camel"):
    message: str | None = None
    original_message: str | None = None
    original_status_code: int | None = None


_BLOCK = msgspec.json.Decoder(_Block)
_MEDIUM = msgspec.json.Decoder(Medium)
_TOOL_USE = msgspec.json.Decoder(ToolUse | None)
_STOP = msgspec.json.Decoder(_Stop)
_METADATA = msgspec.json.Decoder(_Metadata)
_FAILURE = msgspec.json.Decoder(_Failure)


class _Open:
    """The part that a block is at now. `is_silent`: a call whose arguments have not begun."""

    __slots__ = ("part", "index", "is_silent")

    def __init__(self, part: Part, index: int) -> None:
        self.part = part
        self.index = index
        self.is_silent = isinstance(part, ToolCall)


class ConverseDecoder:
    """Reads one stream. `unknown` counts events of types that are not known."""

    __slots__ = ("finished", "unknown", "_open", "_parts", "_hidden", "_has_started", "_images")

    def __init__(self) -> None:
        self.finished = False
        self.unknown = 0
        self._open: dict[int, _Open] = {}
        self._parts = 0
        self._hidden: set[int] = set()
        self._has_started = False
        self._images: dict[int, tuple[str, bytearray]] = {}

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """One binary message. Raises ValueError for a frame that is none, or was damaged."""
        message = parse_message(frame)
        try:
            found = self._read(message.headers, message.payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"an event of the stream is not of its type: {error}") from None
        if self._has_started or not found or isinstance(found[0], Broken):
            return found
        self._has_started = True
        return [Started(Family.BEDROCK, "", ""), *found] if not isinstance(found[0], Started) else found

    def close(self) -> Sequence[StreamEvent]:
        return ()

    def _read(self, headers: dict[str, HeaderValue], payload: bytes) -> Sequence[StreamEvent]:
        kind = headers.get(":message-type", "event")
        if kind == "exception":
            return [_exception(str(headers.get(":exception-type", "")), payload)]
        if kind == "error":
            return [Broken(str(headers.get(":error-code", "")), str(headers.get(":error-message", "")), 500)]
        match headers.get(":event-type"):
            case "contentBlockDelta":
                return self._delta(_BLOCK.decode(payload))
            case "contentBlockStart":
                return self._begin(_BLOCK.decode(payload))
            case "contentBlockStop":
                return self._end(_BLOCK.decode(payload).content_block_index)
            case "messageStart":
                return [Started(Family.BEDROCK, "", "")]
            case "messageStop":
                return self._finish(_STOP.decode(payload).stop_reason)
            case "metadata":
                usage = usage_of(_METADATA.decode(payload).usage)
                return [] if usage is None else [UsageReported(usage)]
            case _:
                self.unknown += 1
                return ()

    def _begin(self, block: _Block) -> Sequence[StreamEvent]:
        """What the provider's own tools do, and kinds that are not known, only Bedrock could read. AWS announces no texts
        and no thoughts; where they are announced, if by an empty start, the pieces that follow tell them."""
        start = block.start or {}
        if start.keys() <= _TOLD_BY_PIECES:
            return ()
        if "image" in start:
            self._images[block.content_block_index] = _MEDIUM.decode(start["image"]).format or "png", bytearray()
            return ()
        call = _TOOL_USE.decode(start["toolUse"]) if "toolUse" in start else None
        if call is None or call.type == _SERVER_CALL:
            self._hidden.add(block.content_block_index)
            self.unknown += call is None and "toolResult" not in start
            return ()
        return [*self._part(block.content_block_index, ToolCall(call.tool_use_id, call.name, ""))]

    def _delta(self, block: _Block) -> Sequence[StreamEvent]:
        at, delta = block.content_block_index, block.delta
        if delta is None:
            raise ValueError("a delta without one")
        if at in self._hidden:
            return ()
        if delta.text is not None:
            return self._text(at, delta.text)
        if delta.tool_use is not None:
            return self._arguments(at, delta.tool_use.input)
        if delta.reasoning_content is not None:
            return self._thought(at, delta.reasoning_content)
        if delta.image is not None and at in self._images:
            self._images[at][1].extend(_content(delta.image))
            return ()
        if delta.citation:
            begun = self._started(at, Text)
            return [*begun, CitationAdded(self._open[at].index, read_citation(delta.citation))]
        self.unknown += 1
        return ()

    def _text(self, at: int, text: str) -> Sequence[StreamEvent]:
        open_ = self._open.get(at)
        if open_ is not None and isinstance(open_.part, Text):
            return (TextDelta(open_.index, text),) if text else ()
        if not text:
            return ()
        return [*self._part(at, Text("")), TextDelta(self._open[at].index, text)]

    def _arguments(self, at: int, text: str) -> Sequence[StreamEvent]:
        open_ = self._open.get(at)
        if open_ is None or not isinstance(open_.part, ToolCall):
            raise ValueError(f"arguments of the block {at}, which has not begun as a call")
        if not text:
            return ()
        open_.is_silent = False
        return (TextDelta(open_.index, text),)

    def _thought(self, at: int, thought: _Thought) -> Sequence[StreamEvent]:
        begun = self._started(at, Reasoning)
        index = self._open[at].index
        if thought.redacted_content:
            begun.append(SignatureDelta(index, thought.redacted_content, is_encrypted=True))
        if thought.text:
            begun.append(TextDelta(index, thought.text))
        if thought.signature:
            begun.append(SignatureDelta(index, thought.signature))
        return begun

    def _started(self, at: int, kind: type[Text] | type[Reasoning]) -> list[StreamEvent]:
        """The block is at a part of this kind, begun now where it was not."""
        open_ = self._open.get(at)
        if open_ is not None and isinstance(open_.part, kind):
            return []
        return self._part(at, Text("") if kind is Text else Reasoning(family=Family.BEDROCK))

    def _part(self, at: int, part: Part) -> list[StreamEvent]:
        if self._parts >= _MOST_PARTS:
            raise ValueError(f"an answer of more than {_MOST_PARTS} parts")
        ended = self._end(at)
        self._open[at] = _Open(part, self._parts)
        self._parts += 1
        return [*ended, PartStarted(self._open[at].index, part)]

    def _end(self, at: int) -> list[StreamEvent]:
        self._hidden.discard(at)
        if at in self._images:
            return self._picture(*self._images.pop(at))
        open_ = self._open.pop(at, None)
        if open_ is None:
            return []
        whole: list[StreamEvent] = [TextDelta(open_.index, "{}")] if open_.is_silent else []
        return [*whole, PartEnded(open_.index)]

    def _picture(self, form: str, content: bytearray) -> list[StreamEvent]:
        """An image is told when it is whole."""
        if not content:
            return []
        index, self._parts = self._parts, self._parts + 1
        data = base64.b64encode(content).decode()
        return [PartStarted(index, Image(Source(f"image/{form}", data=data))), PartEnded(index)]

    def _finish(self, reason: str) -> Sequence[StreamEvent]:
        """The counts follow it; a stream without them is whole all the same."""
        self.finished = True
        left = [event for at in sorted({*self._open, *self._images}) for event in self._end(at)]
        return [*left, Finished(finish_of(reason), reason)]


def _content(image: Medium) -> bytes:
    """Each piece is base64 of its own. Raises ValueError."""
    try:
        return base64.b64decode((image.source.bytes if image.source is not None else None) or "", validate=True)
    except binascii.Error:
        raise ValueError("a piece of an image is no base64") from None


def _exception(kind: str, payload: bytes) -> Broken:
    try:
        told = _FAILURE.decode(payload)
    except msgspec.MsgspecError:
        told = _Failure()
    message = told.message or told.original_message or f"the model's stream ended with {kind or 'an exception'}"
    return Broken(kind, message, told.original_status_code or STATUSES.get(kind, 500))
