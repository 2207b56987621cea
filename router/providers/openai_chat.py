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
from router.providers.usage import Counts, Sound, counts_of, sound_counts, with_output

_DONE = b"[DONE]"


class _Member:
    """A member that mostly is absent or `null`; its values begin with `opening`, right behind its name or a space."""

    __slots__ = ("name", "compact", "spaced", "_valued")

    def __init__(self, name: bytes, opening: bytes) -> None:
        self.name = b'"%b":' % name
        self.compact = self.name + opening
        self.spaced = self.name + b" "
        self._valued = re.compile(self.name + rb"\s*+(?!null)")

    def first(self, block: bytes, end: int) -> int:
        """Where it first has a value before `end`, else `end`."""
        first = _first(self.compact, block, end)
        if block.rfind(self.spaced, 0, end) >= 0 and (found := self._valued.search(block, 0, first)) is not None:
            return found.start()
        return first


_FINISH, _USAGE = _Member(b"finish_reason", b'"'), _Member(b"usage", b"{")


class _Ending(msgspec.Struct, gc=False):
    index: Any = 0
    finish_reason: Any = None


class _Texts(msgspec.Struct):
    choices: list[dict[str, Any]] | None = None


class _Grouped(msgspec.Struct, gc=False):
    usage: Sound | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Ending] | None = None
    usage: Sound | None = None
    x_groq: _Grouped | None = None
    error: Any = None


class _OddlyGrouped(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class _OddChunk(msgspec.Struct):
    choices: list[_Ending] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    x_groq: _OddlyGrouped | None = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ODD_CHUNK = msgspec.json.Decoder(_OddChunk)
_TEXTS = msgspec.json.Decoder(_Texts)
_NONE: frozenset[int] = frozenset()


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

    __slots__ = ("finished", "failed", "_choices", "_hides_usage", "_ended", "_counts", "_produced", "_usage")

    def __init__(self, choices: int, *, hides_usage: bool) -> None:
        self.finished = False
        self.failed = False
        self._choices = choices
        self._hides_usage = hides_usage
        self._ended = _NONE
        self._counts: Counts | None = None
        self._usage: Usage | None = None
        self._produced = Production(_text_of)

    @property
    def usage(self) -> Usage | None:
        """An output that is left unknown is estimated from all that came, before its usage and after."""
        usage = self._usage
        return usage if usage is None or not usage.estimated else with_output(usage, self._produced.tokens)

    @property
    def frames(self) -> int:
        return self._produced.frames

    def feed(self, frames: bytes) -> bytes:
        self._produced.add(frames)
        # Most blocks hold no value of these. The end of a stream is searched for from the end, where it stands.
        has = frames.rfind
        ending = has(_FINISH.compact)
        if (
            ending < 0
            and has(_FINISH.spaced) < 0
            and (has(_USAGE.name) < 0 or (has(_USAGE.compact) < 0 and has(_USAGE.spaced) < 0))
            and frames.find(b"error") < 0
            and has(_DONE) < 0
        ):
            return frames
        return self._inspected(frames, ending)

    def close(self) -> bytes:
        return b""

    def estimated_output_tokens(self) -> int:
        return self._produced.tokens()

    def _inspected(self, block: bytes, ending: int) -> bytes:
        """Decode the frames from the one with the first marker on; leave out the usage frame that only we asked for.
        `ending`: where the last finish reason stands, -1 if nowhere."""
        marked = 0
        if block.find(b"error") < 0 or (block.find(b'"error"') < 0 and ERROR_NAME.search(block) is None):
            marked = ending
            # The only choice ends once: what could stand before that and end the stream too would tell nothing more.
            if ending < 0 or self._choices > 1:
                marked = _first(_DONE, block, _FINISH.first(block, len(block)))
            if block.rfind(_USAGE.name, 0, marked) >= 0:
                marked = _USAGE.first(block, marked)
            if marked == len(block):
                return block
        before = block.rfind(b"\n\n", 0, marked)
        start = before + 2 if before >= 0 else 0
        kept = [block[:start]]
        is_whole = True
        for frame, name, found in events(block, start):
            if found == _DONE:
                self.finished = True
                self._produced.note_empty()
            elif found and self._is_hidden(name, found):
                is_whole = False
                continue
            kept.append(frame)
        return block if is_whole else b"".join(kept)

    def _is_hidden(self, name: bytes, found: bytes) -> bool:
        """Note what an event tells; true where only we asked for it."""
        choices, counts, error = _told(found)
        if error or name == b"error":
            self.failed = True
        if choices and self._note_ends(choices) and not _text_of(found):
            self._produced.note_empty()
        if counts is None:
            return False
        self._note_counts(counts)
        if choices != []:
            return False
        self._produced.note_empty()
        return self._hides_usage

    def _note_ends(self, choices: list[_Ending]) -> bool:
        """True if a choice has ended and whether this event has content must be asked."""
        for choice in choices:
            if choice.finish_reason is not None:
                break
        else:
            return False
        if self._choices > 1:
            ended = [c.index if isinstance(c.index, int) else 0 for c in choices if c.finish_reason is not None]
            self._ended = self._ended.union(ended)
        self.finished = self.finished or self._choices <= 1 or len(self._ended) >= self._choices
        return self._produced.is_past_head

    def _note_counts(self, counts: Counts) -> None:
        counts = self._counts = counts if self._counts is None else self._counts.then(counts)
        self._usage = counts.usage()


def _first(mark: bytes, block: bytes, end: int) -> int:
    """Where it first stands before `end`, else `end`. Looked for from there, near which it mostly is."""
    at = end
    while (before := block.rfind(mark, 0, at)) >= 0:
        at = before
    return at


def _told(data: bytes) -> tuple[list[_Ending] | None, Counts | None, Any]:
    """Of a chunk its choices, its usage and its error."""
    try:
        try:
            chunk = _CHUNK.decode(data)
        except msgspec.ValidationError:
            odd = _ODD_CHUNK.decode(data)
            counts = counts_of(odd.usage) or (counts_of(odd.x_groq.usage) if odd.x_groq is not None else None)
            return odd.choices, counts, odd.error
    except (msgspec.MsgspecError, RecursionError):
        return None, None, None
    counts = None if chunk.usage is None else sound_counts(chunk.usage)
    if counts is None and chunk.x_groq is not None:
        counts = sound_counts(chunk.x_groq.usage)
    return chunk.choices, counts, chunk.error


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
