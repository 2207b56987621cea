"""An answer as values: a head, pieces of body with the moment each is due, and how it ends; whoever serves it keeps time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from router.providers.simulated.options import FaultKind
from router.providers.simulated.reply import Count

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
_ABSURD = 10**18


class Ending(StrEnum):
    """What happens after the last piece."""

    COMPLETE = "complete"
    CUT = "cut"  # closed, without the end that HTTP framing promised
    RESET = "reset"
    SILENCE = "silence"  # nothing more, left open


class Frame(NamedTuple):
    """One event of a stream and the output tokens it shows."""

    data: bytes
    tokens: int = 0


class Piece(NamedTuple):
    """`data`, sent `times` times, due `at` seconds after the head. `frames`: how many events it completes."""

    data: bytes
    tokens: int = 0
    at: float = 0.0
    times: int = 1
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """`status` 0: no head ever comes, only the ending. `head_after` in seconds from the request.

    `usage` is what the log notes, whatever a fault makes of it on the wire; `length` is the promised Content-Length of a
    JSON answer, None for streams.
    """

    status: int
    content_type: str
    pieces: tuple[Piece, ...]
    head_after: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = Ending.COMPLETE
    usage: Mapping[str, int] | None = None
    length: int | None = None

    @property
    def is_stream(self) -> bool:
        return self.length is None


def json_exchange(body: object, *, status: int = 200, usage: Count | None = None, visible: int = 0) -> Exchange:
    data = msgspec.json.encode(body)
    return Exchange(status, JSON, (Piece(data, visible),), usage=noted(usage), length=len(data))


def error_exchange(status: int, message: str, kind: str, param: str | None = None, code: str | None = None) -> Exchange:
    return json_exchange({"error": {"message": message, "type": kind, "param": param, "code": code}}, status=status)


def stream_exchange(frames: Iterable[Frame], usage: Count | None) -> Exchange:
    pieces = tuple(Piece(frame.data, frame.tokens, frames=1) for frame in frames)
    return Exchange(200, EVENT_STREAM, pieces, usage=noted(usage))


def paced(exchange: Exchange, first_token: float, tokens_per_second: float) -> Exchange:
    """The same exchange with its moments: a token is due when those before it, the hidden ones too, have been made."""
    hidden = exchange.usage["reasoning_tokens"] if exchange.usage else 0
    each = 1 / tokens_per_second if tokens_per_second else 0.0
    if not exchange.is_stream:
        shown = sum(piece.tokens for piece in exchange.pieces)
        wait = first_token + (hidden + shown) * each if exchange.usage else 0.0
        return replace(exchange, head_after=exchange.head_after + wait)
    if not each and not first_token:
        return exchange
    made, pieces = hidden, []
    for piece in exchange.pieces:
        pieces.append(piece._replace(at=first_token + made * each))
        made += piece.tokens
    return replace(exchange, pieces=tuple(pieces))


def next_burst(pieces: Sequence[Piece], index: int, elapsed: float) -> tuple[int, Piece]:
    """What goes out in one write at `elapsed` seconds, from `pieces[index]` on, and where to go on after it.

    Pieces that are due are joined; one that is repeated stands alone.
    """
    if pieces[index].times > 1:
        return index + 1, pieces[index]
    end = index + 1
    while end < len(pieces) and pieces[end].times == 1 and pieces[end].at <= elapsed:
        end += 1
    if end == index + 1:
        return end, pieces[index]
    due = pieces[index:end]
    data = b"".join(piece.data for piece in due)
    return end, Piece(data, sum(p.tokens for p in due), due[0].at, frames=sum(p.frames for p in due))


def noted(usage: Count | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {"input_tokens": usage.input, "output_tokens": usage.output, "reasoning_tokens": usage.reasoning}


def faulty_count(usage: Count, fault: FaultKind | None) -> Count | None:
    """The numbers as they go out; None where they go out as null."""
    if fault is FaultKind.USAGE_NULL:
        return None
    if fault is FaultKind.USAGE_ZERO:
        return Count(0, 0, 0)
    if fault is FaultKind.USAGE_ABSURD:
        return Count(_ABSURD, _ABSURD, 0)
    if fault is FaultKind.USAGE_NEGATIVE:
        return Count(-usage.input, -usage.output, 0)
    return usage


def usage_member(usage: Count, fault: FaultKind | None, *, responses: bool = False) -> dict[str, Any]:
    """The `usage` member to lay into an answer: {} where a fault leaves it out."""
    if fault is FaultKind.USAGE_ABSENT:
        return {}
    said = faulty_count(usage, fault)
    if said is None:
        return {"usage": None}
    total = said.input + said.output
    if responses:
        return {
            "usage": {
                "input_tokens": said.input,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": said.output,
                "output_tokens_details": {"reasoning_tokens": said.reasoning},
                "total_tokens": total,
            }
        }
    return {
        "usage": {
            "prompt_tokens": said.input,
            "completion_tokens": said.output,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": said.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
    }
