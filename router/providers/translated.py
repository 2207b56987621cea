"""The lane between two dialects: a caller's request in a target's words, and the target's answer in the caller's.

Through the canonical form, both ways. It costs what two codecs cost; requests whose target speaks the caller's own
dialect never come here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from router.domain.chat import ChatQuery, ChatResult, Family, Finish
from router.domain.errors import UnsupportedFeature
from router.domain.events import AudioDelta, Broken, Finished, Started, StreamEvent, TextDelta, UsageReported
from router.domain.omissions import without_refused
from router.domain.requests import ModelRequest
from router.domain.upstream import FailureKind, TransportFailure
from router.domain.usage import Usage
from router.providers.codec import CallerSide, StreamDecoder, StreamEncoder, TargetSide, ToldError
from router.providers.disguises import error_event
from router.providers.refusals import Cause, Refusal, coded
from router.providers.repairs.forced_answer import MISMATCH, AnswerMismatch, ForcedAnswer, ForcedDecoder, forced_answer
from router.providers.repairs.free_text import FreeText, FreeTextDecoder, free_text
from router.providers.repairs.one_call import OneCallDecoder, one_call, with_one_call
from router.providers.repairs.tool_search import SEARCH, without_tool_search
from router.providers.sse import FrameSplitter, blocks

_NAMES_OF_RESPONSES = {"messages": "input", "response_format": "text.format", "reasoning_effort": "reasoning.effort"}
_INDEX = re.compile(r"\[\d+\]")
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


def _data_lines(block: bytes) -> int:
    return block.count(b"data:")


class Framing(NamedTuple):
    """How a target frames its streams. `cut` takes whole frames apart, each with all its bytes; `count` says how many events
    they hold at most, at the cost of a search."""

    media_type: str
    splitter: Callable[[], Splitter]
    cut: Callable[[bytes], Iterable[bytes]]
    count: Callable[[bytes], int] = _data_lines


SSE = Framing("text/event-stream", FrameSplitter, blocks)


class Translated:
    """One caller's dialect over one target's. `hints` are members of a query's `others` that change nothing of an answer,
    and may be dropped: each with the reason. `omitted` names what the operator lets be left out where it is refused."""

    def __init__(
        self,
        caller: CallerSide,
        target: TargetSide,
        *,
        hints: Mapping[str, str] | None = None,
        framing: Framing = SSE,
        omitted: frozenset[str] = frozenset(),
    ) -> None:
        self.caller = caller
        self.target = target
        self.framing = framing
        self._hints = hints or {}
        self._omitted = omitted

    def translation(self, request: ModelRequest, model: str, target: str, *, cap: int | None = None) -> "Translation":
        """The request in the words of `target`, with `cap` set where the caller gave none. Idempotent.

        Raises InvalidRequest, and UnsupportedFeature where it cannot be said.
        """
        query = self.caller.decode_query(request.body)
        hints: dict[str, None] = {}
        if query.others:
            query, hints = self._without_hints(query)
        query, has_searched = without_tool_search(query, self.target.family, target)
        if has_searched:
            hints[SEARCH] = None
        if cap is not None and query.cap is None:
            query = msgspec.structs.replace(query, cap=cap)
        while True:
            try:
                return self._said(query, model, target, hints)
            except UnsupportedFeature as error:
                less = (
                    without_refused(query, error.param or "", self._omitted, self.target.family) if self._omitted else None
                )
                if less is None:
                    raise _in_words_of(self.caller.family, error) from None
                query, name = less
                hints[name] = None

    def _said(self, query: ChatQuery, model: str, target: str, hints: Iterable[str]) -> "Translation":
        forced, free = None, None
        asked, is_single = one_call(query, self.target.family, model)
        if not self.target.takes_free_text:
            asked, free = free_text(asked)
        if query.format is not None:
            asked, forced = forced_answer(asked, self.target.family, model, target)
        encoded = self.target.encode_query(asked, model, target)
        dropped = (*hints, *encoded.dropped) if free is None else (*hints, *free.dropped, *encoded.dropped)
        if forced is not None and query.thinking is not None and asked.thinking is None:
            dropped = (*dropped, "reasoning_effort")
        return Translation(self, query, encoded.body, dropped, model=model, repairs=Repairs(forced, free, is_single))

    def _without_hints(self, query: ChatQuery) -> tuple[ChatQuery, dict[str, None]]:
        """(the query without them, their names). A name holds for every member of a list: `input[].id`."""
        named = {name: _INDEX.sub("[]", name) for name in query.others}
        others = {name: value for name, value in query.others.items() if named[name] not in self._hints}
        if len(others) == len(query.others):
            return query, {}
        return msgspec.structs.replace(query, others=others), dict.fromkeys(n for n in named.values() if n in self._hints)


def _in_words_of(caller: Family, error: UnsupportedFeature) -> UnsupportedFeature:
    """Targets name fields as Chat Completions does; a caller of Responses knows some of them by another name."""
    param = error.param or ""
    name = _NAMES_OF_RESPONSES.get(param.partition("[")[0]) if caller is Family.RESPONSES else None
    if name is None:
        return error
    return UnsupportedFeature(error.message.replace(param, name, 1), param=name)


class Repairs(NamedTuple):
    """What was asked in place of what the target cannot do, and must be read out of its answer again."""

    forced: ForcedAnswer | None = None
    free: FreeText | None = None
    is_single: bool = False

    def result(self, result: ChatResult) -> ChatResult:
        """Raises AnswerMismatch."""
        if self.forced is not None:
            result = self.forced.result(result)
        if self.is_single:
            result = with_one_call(result)
        return result if self.free is None else self.free.result(result)

    def decoder(self, decoder: StreamDecoder) -> StreamDecoder:
        if self.forced is not None:
            decoder = ForcedDecoder(decoder, self.forced)
        if self.is_single:
            decoder = OneCallDecoder(decoder)
        return decoder if self.free is None else FreeTextDecoder(decoder, self.free)


NO_REPAIRS = Repairs()


class Translation:
    """One request in its target's words, and the way back. `dropped` names what the target was not told of it; `model` is
    told as the answer's where the target does not say."""

    __slots__ = ("body", "dropped", "_lane", "_model", "_query", "_repairs")

    def __init__(
        self,
        lane: Translated,
        query: ChatQuery,
        body: bytes,
        dropped: tuple[str, ...],
        *,
        model: str = "",
        repairs: "Repairs" = NO_REPAIRS,
    ) -> None:
        self.body = body
        self.dropped = dropped
        self._repairs = repairs
        self._lane = lane
        self._model = model
        self._query = query

    @property
    def framing(self) -> Framing:
        return self._lane.framing

    @property
    def parts(self) -> None:
        """A chat is one call."""

    def spent(self) -> None:
        """What has come of a chat tells."""

    def answer(self, body: bytes, at: int, name: str = "") -> tuple[bytes, Usage | None]:
        """A whole answer for the caller, and the provider's count. `at` is for answers that do not tell when they were made,
        in seconds since the epoch, `name` for those without an id. Raises ValueError where it is no answer."""
        result = self._lane.target.decode_result(body)
        for choice in result.choices:
            if choice.finish is Finish.MALFORMED:
                malformed = AnswerMismatch(_malformed(choice.said))
                malformed.usage = result.usage
                raise malformed
        result = self._repairs.result(result)
        if not (result.created and result.model and result.id):
            result = msgspec.structs.replace(
                result, created=result.created or at, model=result.model or self._model, id=result.id or name
            )
        return self._lane.caller.encode_result(result, self._query), result.usage

    def refusal(self, status: int, body: bytes, cause: Cause = Cause.BAD_REQUEST, request_id: str = "") -> bytes:
        """What the target said against the request, in the caller's envelope; `request_id` is the target's."""
        told = coded(self._lane.target.decode_error(status, body), cause)
        return _refusal(self._lane.caller.family, status, told, request_id)

    def meter(self, at: int, name: str = "") -> "TranslatedMeter":
        lane = self._lane
        encoder = lane.caller.stream_encoder(self._query)
        decoder = self._repairs.decoder(lane.target.stream_decoder())
        return TranslatedMeter(
            decoder,
            encoder,
            cut=lane.framing.cut,
            at=at,
            model=self._model,
            family=lane.caller.family,
            name=name,
        )


class TranslatedMeter:
    """A StreamMeter that takes the target's frames and returns the caller's."""

    __slots__ = (
        "failed",
        "frames",
        "opening_error",
        "unfit",
        "_at",
        "_bytes",
        "_cut",
        "_decoder",
        "_encode",
        "_encoder",
        "_family",
        "_has_begun",
        "_model",
        "_name",
        "_usage",
    )

    def __init__(
        self,
        decoder: StreamDecoder,
        encoder: StreamEncoder,
        *,
        cut: Callable[[bytes], Iterable[bytes]],
        at: int,
        model: str = "",
        family: Family = Family.CHAT,
        name: str = "",
    ) -> None:
        """`family`: the caller's. `at`, `model` and `name` are for streams that tell no time, no model, no id."""
        self.failed = False
        self.frames = 0
        self.opening_error: tuple[Refusal, bytes] | None = None
        self.unfit = ""
        self._has_begun = False
        self._decoder = decoder
        self._encoder = encoder
        self._encode = encoder.feed
        self._cut = cut
        self._at = at
        self._model = model
        self._name = name
        self._family = family
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
        out: list[bytes] = []
        for event in () if self.failed else self._decoder.close():
            if self.failed:
                break
            out.append(self._said(event))
        return b"".join(out) if self.failed else b"".join([*out, self._encoder.close()])

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
        elif isinstance(event, Finished):
            if event.finish is Finish.MALFORMED:
                return self._said(Broken(MISMATCH, _malformed(event.said), 502))
        elif isinstance(event, Broken):
            self.failed = True
            if event.kind == MISMATCH:
                self.unfit = event.message
            elif not self._has_begun:
                self.opening_error = _opening(event, self._family)
        elif isinstance(event, Started):
            self._has_begun = True
            if not (event.created and event.model and event.id):
                event = msgspec.structs.replace(
                    event, created=event.created or self._at, model=event.model or self._model, id=event.id or self._name
                )
        return self._encode(event)


def _malformed(said: str) -> str:
    """What the provider itself calls no answer must not be told as one that has ended well."""
    return f"the model's answer is malformed, its provider says: {said}"


def _opening(broken: Broken, family: Family) -> tuple[Refusal, bytes]:
    """An error that a stream has in place of a beginning: what it means, and the answer it would have been."""
    body = {"error": {"message": broken.message, "type": broken.kind, "code": broken.status}}
    refusal = error_event(msgspec.json.encode(body))
    told = coded(ToldError(broken.message or broken.kind, broken.kind), refusal.cause)
    return refusal, _refusal(family, refusal.status, told, "")


def _refusal(family: Family, status: int, told: ToldError, request_id: str) -> bytes:
    if family is Family.ANTHROPIC:
        # Others call most refusals `invalid_request_error`: what a status alone says is said.
        said = told.kind if told.kind in _KINDS_OF_MESSAGES else "invalid_request_error"
        kind = _MESSAGES_KINDS.get(status, said)
        envelope = {"type": "error", "error": {"type": kind, "message": told.message}}
        return msgspec.json.encode(envelope | ({"request_id": request_id} if request_id else {}))
    shape = {"message": told.message, "type": told.kind or "invalid_request_error", "param": told.param, "code": told.code}
    return msgspec.json.encode({"error": shape})
