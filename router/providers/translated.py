"""The lane between two dialects: a caller's request in a target's words, and the target's answer in the caller's.

Through the canonical form, both ways. It costs what two codecs cost; requests whose target speaks the caller's own
dialect never come here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from router.domain.chat import ChatQuery, Family
from router.domain.events import AudioDelta, Broken, Started, StreamEvent, TextDelta, UsageReported
from router.domain.requests import ModelRequest
from router.domain.upstream import FailureKind, TransportFailure
from router.domain.usage import Usage
from router.providers.codec import CallerSide, StreamDecoder, StreamEncoder, TargetSide, ToldError
from router.providers.sse import FrameSplitter, blocks

_BYTES_PER_TOKEN = 4
_ONE_TOKEN_BYTES = 9
_MESSAGES_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_KINDS_OF_MESSAGES = frozenset(_MESSAGES_KINDS.values()) | {"invalid_request_error", "overloaded_error", "api_error"}


class Splitter(Protocol):
    """Cuts a body into whole frames, as FrameSplitter does for server-sent events."""

    def feed(self, chunk: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class Framing(NamedTuple):
    """How a target frames its streams. `cut` takes whole frames apart, each with all its bytes."""

    media_type: str
    splitter: Callable[[], Splitter]
    cut: Callable[[bytes], Iterable[bytes]]


SSE = Framing("text/event-stream", FrameSplitter, blocks)


class Translated:
    """One caller's dialect over one target's. `hints` are members of a query's `others` that change nothing of an answer,
    and may be dropped: each with the reason."""

    def __init__(
        self, caller: CallerSide, target: TargetSide, *, hints: Mapping[str, str] | None = None, framing: Framing = SSE
    ) -> None:
        self.caller = caller
        self.target = target
        self.framing = framing
        self._hints = hints or {}

    def translation(self, request: ModelRequest, model: str, target: str, *, cap: int | None = None) -> "Translation":
        """The request in the words of `target`, with `cap` set where the caller gave none. Idempotent.

        Raises InvalidRequest, and UnsupportedFeature where it cannot be said.
        """
        query = self.caller.decode_query(request.body)
        hints = tuple(name for name in query.others if name in self._hints)
        if hints:
            others = {name: value for name, value in query.others.items() if name not in self._hints}
            query = msgspec.structs.replace(query, others=others)
        if cap is not None and query.cap is None:
            query = msgspec.structs.replace(query, cap=cap)
        encoded = self.target.encode_query(query, model, target)
        return Translation(self, query, encoded.body, (*hints, *encoded.dropped))


class Translation:
    """One request in its target's words, and the way back. `dropped` names what the target was not told of it."""

    __slots__ = ("body", "dropped", "_lane", "_query")

    def __init__(self, lane: Translated, query: ChatQuery, body: bytes, dropped: tuple[str, ...]) -> None:
        self.body = body
        self.dropped = dropped
        self._lane = lane
        self._query = query

    @property
    def framing(self) -> Framing:
        return self._lane.framing

    def answer(self, body: bytes, at: int) -> tuple[bytes, Usage | None]:
        """A whole answer for the caller, and the provider's count. `at` is for answers that do not tell when they were made,
        in seconds since the epoch. Raises ValueError where it is no answer."""
        result = self._lane.target.decode_result(body)
        if not result.created:
            result = msgspec.structs.replace(result, created=at)
        return self._lane.caller.encode_result(result, self._query), result.usage

    def refusal(self, status: int, body: bytes) -> bytes:
        """What the target said against the request, in the caller's envelope."""
        return _refusal(self._lane.caller.family, status, self._lane.target.decode_error(status, body))

    def meter(self, at: int) -> "TranslatedMeter":
        lane = self._lane
        return TranslatedMeter(
            lane.target.stream_decoder(), lane.caller.stream_encoder(self._query), cut=lane.framing.cut, at=at
        )


class TranslatedMeter:
    """A StreamMeter that takes the target's frames and returns the caller's."""

    __slots__ = ("failed", "frames", "_decoder", "_encode", "_encoder", "_cut", "_at", "_usage", "_bytes")

    def __init__(
        self, decoder: StreamDecoder, encoder: StreamEncoder, *, cut: Callable[[bytes], Iterable[bytes]], at: int
    ) -> None:
        self.failed = False
        self.frames = 0
        self._decoder = decoder
        self._encoder = encoder
        self._encode = encoder.feed
        self._cut = cut
        self._at = at
        self._usage: Usage | None = None
        self._bytes = 0

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    @property
    def usage(self) -> Usage | None:
        """The last count; of a stream that stopped on its way it is too small, and what has passed counts if it is more."""
        usage = self._usage
        if usage is None or self._decoder.finished:
            return usage
        seen = max(usage.output_tokens, self.estimated_output_tokens())
        return msgspec.structs.replace(usage, output_tokens=seen, estimated=True)

    def feed(self, frames: bytes) -> bytes:
        """Raises TransportFailure PROTOCOL for a frame that is none of the target's dialect."""
        out: list[bytes] = []
        for frame in self._cut(frames):
            try:
                events = self._decoder.feed(frame)
            except ValueError as error:
                raise TransportFailure(FailureKind.PROTOCOL, str(error)) from error
            for event in events:
                if self.failed:
                    break
                out.append(self._said(event))
        return b"".join(out)

    def close(self) -> bytes:
        if self.failed:
            return b""
        last = [self._said(event) for event in self._decoder.close()]
        return b"".join([*last, self._encoder.close()])

    def estimated_output_tokens(self) -> int:
        """An event is a token where it is as short as one, else four bytes are."""
        count = self.frames
        return count if self._bytes <= count * _ONE_TOKEN_BYTES else max(count, self._bytes // _BYTES_PER_TOKEN)

    def _said(self, event: StreamEvent) -> bytes:
        if isinstance(event, TextDelta):
            self.frames += 1
            self._bytes += len(event.text)
        elif isinstance(event, AudioDelta):
            self.frames += 1
        elif isinstance(event, UsageReported):
            self._usage = event.usage
        elif isinstance(event, Broken):
            self.failed = True
        elif isinstance(event, Started) and not event.created:
            event = msgspec.structs.replace(event, created=self._at)
        return self._encode(event)


def _refusal(family: Family, status: int, told: ToldError) -> bytes:
    if family is Family.ANTHROPIC:
        kind = told.kind if told.kind in _KINDS_OF_MESSAGES else _MESSAGES_KINDS.get(status, "invalid_request_error")
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": told.message}})
    shape = {"message": told.message, "type": told.kind or "invalid_request_error", "param": told.param, "code": told.code}
    return msgspec.json.encode({"error": shape})
