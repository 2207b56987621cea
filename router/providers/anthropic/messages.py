"""The Messages API to a provider that speaks it: same bytes both ways, watched for usage, the end and errors."""

import re
from dataclasses import dataclass

import msgspec

from router.domain.requests import ModelRequest
from router.domain.usage import NOTHING, Usage
from router.providers.answers import estimated_output_tokens
from router.providers.anthropic.counts import MessageCounts, message_counts
from router.providers.dialect import Cap
from router.providers.named_events import EventMeter
from router.providers.passthrough import passed_body
from router.providers.usage import Counts, with_output

_MARKED = re.compile(rb'"message_(?:start|delta|stop)"')
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


class MessagesMeter(EventMeter[_Event]):
    """`finished`: `message_stop`. What was read stands in `message_start`; what `message_delta` says later takes its place
    count by count, and only that says what was written."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        super().__init__(_EVENT, b'"message_', _MARKED, _DELTA, _text_of)
        self._counts = MessageCounts(Counts())

    @property
    def usage(self) -> Usage | None:
        usage = self._counts.usage()
        return with_output(usage, self._produced.tokens) if usage is not None else None

    def _note(self, event: _Event) -> None:
        if event.type == "message_stop":
            self.finished = True
        elif event.type == "message_start" and event.message is not None:
            self._note_counts(message_counts(event.message.usage), is_opening=True)
        elif event.type == "message_delta":
            self._note_counts(message_counts(event.usage), is_opening=False)

    def _note_counts(self, told: MessageCounts | None, *, is_opening: bool) -> None:
        """The opening counts a few tokens of output before there are any: a stream that is cut has its estimate."""
        if told is not None:
            read = msgspec.structs.replace(told.counts, output=None) if is_opening else told.counts
            self._counts = self._counts.then(told._replace(counts=read))


def _metered(answer: bytes) -> _Metered:
    """Raises ValueError if `answer` is no JSON object."""
    try:
        return _METERED.decode(answer)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON object: {error}") from None


def _text_of(data: bytes) -> int:
    try:
        delta = _DELTA_EVENT.decode(data).delta
    except (msgspec.MsgspecError, RecursionError):
        return 0
    return len((delta.text or delta.thinking or delta.partial_json).encode()) if delta is not None else 0
