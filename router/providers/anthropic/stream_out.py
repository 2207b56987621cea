"""Events as a stream for an Anthropic caller: blocks one after the other, whatever order their parts came in."""

from collections import deque
from typing import Any

import msgspec

from router.domain.chat import Audio, Document, Family, Finish, Image, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from router.domain.events import (
    AudioDelta,
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
from router.domain.usage import Usage
from router.providers.anthropic.carried import sealed
from router.providers.anthropic.result import (
    ending,
    explained,
    opening,
    sealed_call,
    sealed_text,
    thought,
    usage_object,
)
from router.providers.anthropic.wording import ERROR_TYPES, STATUSES
from router.providers.shown import as_text

Json = dict[str, Any]
_PartEvent = PartStarted | TextDelta | SignatureDelta | CitationAdded | AudioDelta | PartEnded
_encode = msgspec.json.encode


class _Block:
    """The block under way. `kind` is the delta its text is told by, "" where it has none."""

    __slots__ = ("part", "kind", "signature", "encrypted")

    def __init__(self, part: Part, kind: str) -> None:
        self.part = part
        self.kind = kind
        self.signature = ""
        self.encrypted = ""


class MessagesEncoder:
    """Writes one stream. Only the first choice is told: Anthropic's callers ask for one."""

    __slots__ = ("_started", "_usage", "_end", "_refusal", "_index", "_open", "_block", "_waiting", "_is_broken")

    def __init__(self) -> None:
        self._started = Started(Family.ANTHROPIC, "", "")
        self._usage: Usage | None = None
        self._end = Finished(Finish.UNKNOWN)
        self._refusal = ""
        self._index = 0
        self._open: int | None = None
        self._block: _Block | None = None
        self._waiting: dict[int, deque[_PartEvent]] = {}
        self._is_broken = False

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case Started():
                self._started = event
                message = opening(event.id, event.model) | {"usage": usage_object(self._usage, event.service_tier)}
                return _frame("message_start", {"message": message})
            case UsageReported():
                self._usage = event.usage
                return b""
            case Finished():
                self._end = event if event.choice == 0 else self._end
                return b""
            case Broken():
                self._is_broken = True
                return _frame("error", {"error": {"type": _error_type(event), "message": event.message}})
            case LogprobsAdded():
                return b""
            case _:
                return self._in_turn(event) if event.choice == 0 else b""

    def close(self) -> bytes:
        if self._is_broken:
            return b""
        late = b"".join(self._released())
        delta: Json = ending(self._end.finish, self._end.said, self._end.stop_sequence)
        if self._refusal:
            delta["stop_details"] = explained(self._refusal)
        usage = usage_object(self._usage)
        del usage["cache_creation"]
        return late + _frame("message_delta", {"delta": delta, "usage": usage}) + _frame("message_stop", {})

    def _in_turn(self, event: _PartEvent) -> bytes:
        """What belongs to another part than the one that is open waits for its end."""
        if self._open is not None and event.index != self._open:
            self._waiting.setdefault(event.index, deque()).append(event)
            return b""
        if self._open is None and not isinstance(event, PartStarted):
            return b""
        frames = self._write(event)
        return frames + b"".join(self._released()) if isinstance(event, PartEnded) else frames

    def _released(self) -> list[bytes]:
        """What of the waiting parts can be told now: whole ones, and the one that is then under way."""
        frames: list[bytes] = []
        while self._waiting and self._open is None:
            frames += map(self._write, self._waiting.pop(next(iter(self._waiting))))
        return frames

    def _write(self, event: _PartEvent) -> bytes:
        match event:
            case PartStarted():
                self._open = event.index
                return self._begin(event.part)
            case TextDelta():
                return self._text(event.text)
            case AudioDelta():
                return self._text(event.transcript)
            case SignatureDelta():
                return self._sign(event)
            case CitationAdded():
                is_own = event.citation.family is Family.ANTHROPIC and self._block is not None
                return self._delta("citations_delta", "citation", event.citation.raw) if is_own else b""
            case PartEnded():
                return self._finish(event.part)

    def _begin(self, part: Part) -> bytes:
        family = self._started.family
        match part:
            case Image() | Document():
                self._block = _Block(part, "text")
                return self._opened({"type": "text", "text": ""}) + self._text(as_text(part).text)
            case Text():
                own = [c.raw for c in part.citations if c.family is Family.ANTHROPIC]
                shape: Json = {"type": "text", "text": part.text} | ({"citations": own} if own else {})
                self._block = _Block(part, "text")
            case Reasoning():
                shape = thought(part)
                is_sealed = shape["type"] == "redacted_thinking"
                self._block = _Block(part, "" if is_sealed else "thinking")
                if not is_sealed:
                    shape["signature"] = ""
                    self._block.signature, self._block.encrypted = part.signature, part.encrypted
            case ToolCall():
                before = b"".join(self._aside(block) for block in sealed_call(part))
                self._block = _Block(part, "partial_json")
                shape = {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}
                return before + self._opened(shape) + (self._text(part.arguments) if part.arguments else b"")
            case Refusal() if family is not Family.ANTHROPIC:
                shape = {"type": "text", "text": part.text}
                self._block = _Block(part, "text")
            case Audio():
                shape = {"type": "text", "text": part.transcript}
                self._block = _Block(part, "text")
            case Opaque() if part.family is Family.ANTHROPIC:
                self._block = _Block(part, "")
                return self._opened(part.raw)
            case _:
                self._refusal += part.text if isinstance(part, Refusal) else ""
                self._block = _Block(part, "") if isinstance(part, Refusal) else None
                return b""
        return self._opened(shape)

    def _opened(self, shape: Json | msgspec.Raw) -> bytes:
        return _frame("content_block_start", {"index": self._index, "content_block": shape})

    def _aside(self, shape: Json | msgspec.Raw) -> bytes:
        """A whole block that has no deltas."""
        frames = self._opened(shape) + _frame("content_block_stop", {"index": self._index})
        self._index += 1
        return frames

    def _text(self, text: str) -> bytes:
        block = self._block
        if block is None or not text:
            return b""
        if not block.kind:
            self._refusal += text if isinstance(block.part, Refusal) else ""
            return b""
        name = "input_json_delta" if block.kind == "partial_json" else f"{block.kind}_delta"
        return self._delta(name, block.kind, text)

    def _sign(self, event: SignatureDelta) -> bytes:
        block = self._block
        if block is None:
            return b""
        if event.is_encrypted:
            block.encrypted += event.text
        else:
            block.signature = event.text
        return b""

    def _delta(self, kind: str, name: str, value: object) -> bytes:
        return _frame("content_block_delta", {"index": self._index, "delta": {"type": kind, name: value}})

    def _finish(self, whole: Part | None) -> bytes:
        """`whole`: the part told again, which may know its seal only now."""
        block, self._block, self._open = self._block, None, None
        if block is None or (isinstance(block.part, Refusal) and not block.kind):
            return b""
        frames = b""
        part = block.part
        if isinstance(part, Reasoning) and block.kind:
            told = whole if isinstance(whole, Reasoning) else part
            signature = sealed(told, block.signature, block.encrypted)
            frames = self._delta("signature_delta", "signature", signature) if signature else b""
        frames += _frame("content_block_stop", {"index": self._index})
        self._index += 1
        if isinstance(part, Text) and block.signature:
            frames += b"".join(self._aside(shape) for shape in sealed_text(block.signature, self._started.family))
        if isinstance(part, ToolCall) and block.signature:
            told_call = whole if isinstance(whole, ToolCall) else part
            family = told_call.family or self._started.family
            signed = msgspec.structs.replace(told_call, signature=block.signature, family=family)
            frames += b"".join(self._aside(shape) for shape in sealed_call(signed))
        return frames


def _error_type(event: Broken) -> str:
    """Anthropic's word for it, by its own kind or by the status."""
    if event.kind in STATUSES:
        return event.kind
    return ERROR_TYPES.get(event.status or 500, "api_error")


def _frame(kind: str, members: Json) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind, **members}) + b"\n\n"
