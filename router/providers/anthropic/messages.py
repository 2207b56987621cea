"""The Messages API to a provider that speaks it: same bytes both ways, watched for usage, the end and errors.

Markers are searched in the raw frames and only a block that holds one is decoded: inside a JSON string every quote is
escaped, so these bytes are a whole value or name, never text a model wrote.
"""

import re
from dataclasses import dataclass

import msgspec

from router.domain.requests import ModelRequest
from router.domain.usage import NOTHING, Usage
from router.providers.answers import estimated_output_tokens
from router.providers.anthropic.counts import MessageCounts, message_counts
from router.providers.dialect import Cap
from router.providers.estimate import Production
from router.providers.passthrough import passed_body
from router.providers.sse import frames
from router.providers.usage import Counts, with_output

_MARKED = re.compile(rb'"message_(?:start|delta|stop)"')
_ERROR_TYPE = re.compile(rb'"type":\s*+"error"')
_ERROR_NAME = re.compile(rb"(?:\A|[\r\n])event: ?error[\r\n]")
_DELTA = b'"content_block_delta"'


class _Metered(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    type: str = ""
    message: _Metered | None = None
    usage: msgspec.Raw = msgspec.Raw()


class _Delta(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _DeltaEvent(msgspec.Struct):
    delta: _Delta | None = None


_METERED = msgspec.json.Decoder(_Metered)
_EVENT = msgspec.json.Decoder(_Event)
_DELTA_EVENT = msgspec.json.Decoder(_DeltaEvent)


@dataclass(frozen=True, slots=True)
class MessagesDialect:
    path: str = "/messages"

    def build_body(self, request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
        """Usage is never asked for: every stream has it."""
        return passed_body(request, upstream_model, inject_usage=False, cap=cap)

    def usage_of(self, answer: bytes) -> Usage | None:
        counts = message_counts(_metered(answer).usage)
        usage = counts.usage() if counts is not None else None
        return with_output(usage, lambda: estimated_output_tokens(answer)) if usage is not None else None

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> "MessagesMeter":
        return MessagesMeter()


@dataclass(frozen=True, slots=True)
class CountTokensDialect:
    """A count of what a request would be: nothing is generated, and Anthropic bills nothing."""

    path: str = "/messages/count_tokens"

    def build_body(self, request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
        return passed_body(request, upstream_model, inject_usage=False)

    def usage_of(self, answer: bytes) -> Usage | None:
        _metered(answer)
        return NOTHING

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> "MessagesMeter":
        return MessagesMeter()


MESSAGES = MessagesDialect()
COUNT_TOKENS = CountTokensDialect()


class MessagesMeter:
    """Watches one stream. `finished`: `message_stop`. What was read stands in `message_start`; what `message_delta` says
    later takes its place count by count, and only that says what was written."""

    __slots__ = ("finished", "failed", "_counts", "_produced")

    def __init__(self) -> None:
        self.finished = False
        self.failed = False
        self._counts = MessageCounts(Counts())
        self._produced = Production(_text_of)

    @property
    def usage(self) -> Usage | None:
        usage = self._counts.usage()
        return with_output(usage, self._produced.tokens) if usage is not None else None

    @property
    def frames(self) -> int:
        return self._produced.frames

    def feed(self, frames: bytes) -> bytes:
        # Only deltas count: what begins and ends a block, pings and totals hold no text.
        self._produced.add_marked(frames, _DELTA)
        may_fail = b"error" in frames and (_ERROR_TYPE.search(frames) or _ERROR_NAME.search(frames))
        if may_fail or _MARKED.search(frames) is not None:
            self._inspect(frames)
        return frames

    def close(self) -> bytes:
        return b""

    def estimated_output_tokens(self) -> int:
        return self._produced.tokens()

    def _inspect(self, block: bytes) -> None:
        for name, found in frames(block):
            if name != b"error" and not _MARKED.search(found) and not _ERROR_TYPE.search(found):
                continue
            event = _decoded(found)
            if name == b"error" or (event is not None and event.type == "error"):
                self.failed = True
            if event is None:
                continue
            if event.type == "message_stop":
                self.finished = True
            elif event.type == "message_start" and event.message is not None:
                self._note(message_counts(event.message.usage), is_opening=True)
            elif event.type == "message_delta":
                self._note(message_counts(event.usage), is_opening=False)

    def _note(self, told: MessageCounts | None, *, is_opening: bool) -> None:
        """The opening counts a few tokens of output before there are any: a stream that is cut has its estimate."""
        if told is not None:
            read = told.counts._replace(output=None) if is_opening else told.counts
            self._counts = self._counts.then(told._replace(counts=read))


def _metered(answer: bytes) -> _Metered:
    """Raises ValueError if `answer` is no JSON object."""
    try:
        return _METERED.decode(answer)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON object: {error}") from None


def _decoded(data: bytes) -> _Event | None:
    try:
        return _EVENT.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _text_of(data: bytes) -> int:
    try:
        delta = _DELTA_EVENT.decode(data).delta
    except (msgspec.MsgspecError, RecursionError):
        return 0
    return len((delta.text or delta.thinking or delta.partial_json).encode()) if delta is not None else 0
