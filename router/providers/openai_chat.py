"""Chat Completions and the legacy Completions: same bytes both ways, watched for usage, the end and errors.

Markers are searched in the raw frames and only a frame that holds one is decoded. This is sound because inside a JSON
string every quote is escaped: the bytes `"usage":` can only be a member's name, never text a model wrote. `[DONE]` has
no quotes, so only a data line that is exactly that counts.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from router.domain.requests import ModelRequest
from router.domain.usage import Usage
from router.providers.answers import usage_in
from router.providers.estimate import Production
from router.providers.named_events import ERROR_NAME
from router.providers.passthrough import passed_body
from router.providers.sse import events
from router.providers.usage import Counts, counts_of, with_output

_DONE = b"[DONE]"


class _Member:
    """A member that mostly is absent or `null`; its values begin with `opening`, right behind its name or a space."""

    __slots__ = ("name", "compact", "spaced", "_valued")

    def __init__(self, name: bytes, opening: bytes) -> None:
        self.name = b'"%b":' % name
        self.compact = self.name + opening
        self.spaced = self.name + b" "
        self._valued = re.compile(self.name + rb"\s*+(?!null)")

    def first(self, block: bytes) -> int:
        """Where it first has a value, the end of `block` if nowhere."""
        first = _first(self.compact, block)
        if block.rfind(self.spaced) >= 0 and (found := self._valued.search(block, 0, first)) is not None:
            return found.start()
        return first


_FINISH, _USAGE = _Member(b"finish_reason", b'"'), _Member(b"usage", b"{")


class _Grouped(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class _Ending(msgspec.Struct):
    index: Any = 0
    finish_reason: Any = None


class _Texts(msgspec.Struct):
    choices: list[dict[str, Any]] | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Ending] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    x_groq: _Grouped | None = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_TEXTS = msgspec.json.Decoder(_Texts)


@dataclass(frozen=True, slots=True)
class ChatDialect:
    """Both APIs differ only in the path and in where a choice keeps its text."""

    path: str

    build_body = staticmethod(passed_body)
    usage_of = staticmethod(usage_in)

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> "ChatMeter":
        return ChatMeter(request.choices, hides_usage=hides_usage)


CHAT = ChatDialect("/chat/completions")
COMPLETIONS = ChatDialect("/completions")


class ChatMeter:
    """Watches one stream. `finished`: a finish reason on each of the `choices`, or `[DONE]`."""

    __slots__ = ("usage", "finished", "failed", "_choices", "_hides_usage", "_ended", "_counts", "_produced")

    def __init__(self, choices: int, *, hides_usage: bool) -> None:
        self.usage: Usage | None = None
        self.finished = False
        self.failed = False
        self._choices = choices
        self._hides_usage = hides_usage
        self._ended: set[int] = set()
        self._counts = Counts()
        self._produced = Production(_text_of)

    @property
    def frames(self) -> int:
        return self._produced.frames

    def feed(self, frames: bytes) -> bytes:
        self._produced.add(frames)
        # Most blocks hold no value of these, which `rfind` tells for half of what `in` costs.
        has = frames.rfind
        if (
            has(_FINISH.compact) < 0
            and has(_FINISH.spaced) < 0
            and (has(_USAGE.name) < 0 or (has(_USAGE.compact) < 0 and has(_USAGE.spaced) < 0))
            and has(b"error") < 0
            and has(_DONE) < 0
        ):
            return frames
        return self._inspected(frames)

    def close(self) -> bytes:
        return b""

    def estimated_output_tokens(self) -> int:
        return self._produced.tokens()

    def _inspected(self, block: bytes) -> bytes:
        """Decode the frames from the one with the first marker on; leave out the usage frame that only we asked for."""
        marked = 0
        may_fail = block.rfind(b"error") >= 0 and (block.rfind(b'"error"') >= 0 or ERROR_NAME.search(block) is not None)
        if not may_fail:
            marked = min(_FINISH.first(block), _USAGE.first(block), _first(_DONE, block))
            if marked == len(block):
                return block
        before = block.rfind(b"\n\n", 0, marked)
        start = before + 2 if before >= 0 else 0
        hidden = 0
        kept = [block[:start]]
        for frame, name, found in events(block, start):
            if found and self._is_hidden(name, found):
                hidden += 1
            else:
                kept.append(frame)
        return b"".join(kept) if hidden else block

    def _is_hidden(self, name: bytes, found: bytes) -> bool:
        if found == _DONE:
            self._note_done()
            return False
        chunk = _decoded(found)
        if name == b"error" or (chunk is not None and chunk.error):
            self.failed = True
        if chunk is None:
            return False
        if chunk.choices and self._note_ends(chunk.choices) and not _text_of(found):
            self._produced.note_empty()
        if self._note_usage(chunk) and chunk.choices == []:
            self._produced.note_empty()
            return self._hides_usage
        return False

    def _note_done(self) -> None:
        self.finished = True
        self._produced.note_empty()

    def _note_ends(self, choices: list[_Ending]) -> bool:
        """True if a choice has ended and whether this event has content must be asked."""
        ended = [c.index if isinstance(c.index, int) else 0 for c in choices if c.finish_reason is not None]
        if not ended:
            return False
        self._ended.update(ended)
        if len(self._ended) >= self._choices:
            self.finished = True
        return self._produced.is_past_head

    def _note_usage(self, chunk: _Chunk) -> bool:
        counts = counts_of(chunk.usage) or (counts_of(chunk.x_groq.usage) if chunk.x_groq else None)
        if counts is None:
            return False
        self._counts = self._counts.then(counts)
        usage = self._counts.usage()
        self.usage = with_output(usage, self._produced.tokens) if usage is not None else None
        return True


def _first(mark: bytes, block: bytes) -> int:
    """Where it first stands, the end of `block` if nowhere. Looked for from the end, near which it mostly is."""
    at = len(block)
    while (before := block.rfind(mark, 0, at)) >= 0:
        at = before
    return at


def _decoded(data: bytes) -> _Chunk | None:
    try:
        return _CHUNK.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _text_of(data: bytes) -> int:
    try:
        return sum(_text_of_choice(c) for c in _TEXTS.decode(data).choices or ())
    except (msgspec.MsgspecError, RecursionError):
        return 0


def _text_of_choice(choice: dict[str, Any]) -> int:
    """How many bytes of text a choice of a chunk carries: content, reasoning, refusal, a piece of a tool call."""
    delta = choice.get("delta")
    parts = [choice.get("text")]
    if isinstance(delta, dict):
        parts += [delta.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal")]
        parts += _call_parts(delta.get("tool_calls"))
    return sum(_size(part) for part in parts)


def _call_parts(calls: object) -> list[Any]:
    parts: list[Any] = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            parts += [function.get("name"), function.get("arguments")]
    return parts


def _size(part: object) -> int:
    if isinstance(part, str):
        return len(part.encode())
    return len(msgspec.json.encode(part)) if part else 0
