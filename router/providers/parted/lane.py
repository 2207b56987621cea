"""The lane of an API without streams: one request, the bodies it becomes, and one answer made of all that came back."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import msgspec

from router.domain.errors import UnsupportedFeature
from router.domain.requests import ModelRequest
from router.domain.upstream import FailureKind, Parts, TransportFailure
from router.domain.usage import NOTHING, Usage, usage_sum
from router.providers.codec import ToldError
from router.providers.refusals import Cause, coded
from router.providers.translated import SSE, Framing

_BYTES_PER_TOKEN = 4


class Part(NamedTuple):
    """One call's body. `estimate` is what it uses if the provider does not say."""

    body: bytes
    estimate: Usage


class Said(NamedTuple):
    """A request in a target's words. `dropped` are members of it that the target was not told."""

    parts: Sequence[Part]
    dropped: tuple[str, ...] = ()


class Piece(Protocol):
    """What one part's answer says; `usage` None where it does not tell."""

    @property
    def usage(self) -> Usage | None: ...


Q = TypeVar("Q")
R = TypeVar("R", bound=Piece)
Q_contra = TypeVar("Q_contra", contravariant=True)
R_contra = TypeVar("R_contra", bound=Piece, contravariant=True)
R_co = TypeVar("R_co", bound=Piece, covariant=True)


class PartedCaller(Protocol[Q, R_contra]):
    """To and from a caller. Pure."""

    def decode_query(self, body: bytes) -> Q:
        """Raises InvalidRequest naming the field."""
        ...

    def encode_result(self, query: Q, pieces: Sequence[R_contra], model: str, usage: Usage) -> bytes:
        """Of all parts, in their order. Raises ValueError where together they are no answer."""
        ...


class PartedTarget(Protocol[Q_contra, R_co]):
    """To and from a provider. Pure."""

    def encode_query(self, query: Q_contra, model: str, target: str) -> Said:
        """Raises UnsupportedFeature naming the field and `target`."""
        ...

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> R_co:
        """Raises ValueError where it is no answer."""
        ...

    def decode_error(self, status: int, body: bytes) -> ToldError: ...


class PartedLane:
    """One caller's dialect over one target's."""

    def __init__(self, caller: PartedCaller[Q, R], target: PartedTarget[Q, R]) -> None:
        self.caller: PartedCaller[Any, Any] = caller
        self.target: PartedTarget[Any, Any] = target

    def translation(self, request: ModelRequest, model: str, target: str, *, cap: int | None = None) -> "PartedRequest":
        """Idempotent. Raises InvalidRequest, and UnsupportedFeature where it cannot be said."""
        query = self.caller.decode_query(request.body)
        return PartedRequest(self, query, self.target.encode_query(query, model, target), model)


class PartedRequest:
    """One request in its target's words, and the way back: what came is read from `parts`, not from an answer's body."""

    __slots__ = ("dropped", "parts", "_lane", "_query", "_said", "_model")

    def __init__(self, lane: PartedLane, query: object, said: Said, model: str) -> None:
        self.parts = Parts(tuple(part.body for part in said.parts))
        self.dropped = said.dropped
        self._lane = lane
        self._query = query
        self._said = said.parts
        self._model = model

    @property
    def body(self) -> bytes:
        return self.parts.bodies[0]

    @property
    def framing(self) -> Framing:
        return SSE

    def answer(self, body: bytes, at: int, name: str = "") -> tuple[bytes, Usage]:
        pieces, usages = [], []
        for number, part in enumerate(self._said):
            answered = self.parts.answered[number]
            piece = self._lane.target.decode_result(answered.body, answered.headers)
            pieces.append(piece)
            usages.append(piece.usage or part.estimate)
        usage = usages[0] if len(usages) == 1 else usage_sum(usages)
        return self._lane.caller.encode_result(self._query, pieces, self._model, usage), usage

    def refusal(self, status: int, body: bytes, cause: Cause = Cause.BAD_REQUEST, request_id: str = "") -> bytes:
        told = coded(self._lane.target.decode_error(status, body), cause)
        shape = {
            "message": told.message,
            "type": told.kind or "invalid_request_error",
            "param": told.param,
            "code": told.code,
        }
        return msgspec.json.encode({"error": shape})

    def meter(self, at: int, name: str = "") -> NoReturn:
        raise TransportFailure(FailureKind.PROTOCOL, "this API has no streams")

    def spent(self) -> Usage:
        """What was answered at its count, what was sent and not answered at its estimate; refused parts are free."""
        known = [self._counted(number) for number in self.parts.answered]
        known += [self._said[number].estimate for number in self.parts.unanswered]
        return usage_sum(known) if known else NOTHING

    def _counted(self, number: int) -> Usage:
        answered, estimate = self.parts.answered[number], self._said[number].estimate
        try:
            return self._lane.target.decode_result(answered.body, answered.headers).usage or estimate
        except ValueError:
            return estimate


def estimate_of(texts: Sequence[str], *, searches: int = 0) -> Usage:
    """A token per four bytes; at least one."""
    size = sum(len(text.encode()) for text in texts)
    return Usage(input_tokens=max(1, size // _BYTES_PER_TOKEN), estimated=True, searches=searches)


def refuse(field: str, target: str, why: str) -> UnsupportedFeature:
    return UnsupportedFeature(f"{field} cannot be said to {target}: {why}", param=field)


def refuse_others(others: Sequence[str], target: str) -> None:
    if others:
        raise refuse(others[0], target, "it has no word for it")
