"""What a target says instead of an answer: the body of a refusal, within bounds, and the error that a stream begins with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from router.domain.flow import pieces_of
from router.domain.upstream import TransportFailure, UpstreamAnswer
from router.providers.dialect import StreamMeter
from router.providers.disguises import error_body, error_event, is_error
from router.providers.refusals import Cause, Refusal
from router.providers.sse import frames
from router.providers.translated import TranslatedMeter

MAX_REFUSAL_BYTES = 2**20
READ_WITHIN_S = 2.0
"""For the body of a refusal that goes to nobody: it only tells more of why."""

_NOT_SHOWN = frozenset({401, 402, 403, 408, 409, 424, 425, 429})
_TOLD = frozenset({Cause.QUOTA, Cause.CONTEXT_WINDOW, Cause.CONTENT_POLICY})


class Disguised(Exception):
    """An error inside a 200: instead of an answer, or as a stream's first event. `is_told`: it is in the caller's words."""

    def __init__(self, refusal: Refusal, body: bytes, *, is_told: bool = False) -> None:
        super().__init__(refusal.cause.value)
        self.refusal = refusal
        self.body = body
        self.is_told = is_told


def is_shown(status: int) -> bool:
    """Whether a provider says with it that the request is at fault, so that the caller may see its answer."""
    return 400 <= status < 500 and status not in _NOT_SHOWN


async def refusal_body(answer: UpstreamAnswer) -> bytes:
    """The body of an answer that is no 2xx. Raises TransportFailure where one breaks that the caller would see."""
    if is_shown(answer.status):
        return b"".join([piece async for piece in _beginning(answer)])
    pieces: list[bytes] = []
    with suppress(TransportFailure, TimeoutError):
        async with asyncio.timeout(READ_WITHIN_S):
            async for piece in _beginning(answer):
                pieces.append(piece)  # noqa: PERF401  what came before a break counts
    return b"".join(pieces)


async def _beginning(answer: UpstreamAnswer) -> AsyncIterator[bytes]:
    """The body until it is over a megabyte: a refusal that echoes a large request is a refusal still."""
    size = 0
    async for piece in pieces_of(answer):
        yield piece
        size += len(piece)
        if size > MAX_REFUSAL_BYTES:
            return


def opening_error(stream: StreamMeter, block: bytes) -> tuple[Refusal, bytes] | None:
    """The error that a stream has in place of a beginning, and what it says in the caller's envelope; None where it began.

    `stream` has failed and has said nothing. `block` is what came first.
    """
    if isinstance(stream, TranslatedMeter):
        return stream.opening_error
    name, data = next(frames(block), (b"", b""))
    return (error_event(data), error_body(data)) if name == b"error" or is_error(data) else None


def unfit_of(stream: StreamMeter) -> str:
    """Why the answer is not what was asked for, "" where the provider itself broke it off: the one is nobody's illness."""
    return stream.unfit if isinstance(stream, TranslatedMeter) else ""


def is_silence(block: bytes) -> bool:
    """Whether whole frames are comments only: signs of life before there is an answer."""
    return block.startswith(b":") and b"data:" not in block


def reason_of(refusal: Refusal, status: int) -> str:
    """For ledger and log: the status, and what it was about where that does not say it."""
    is_telling = refusal.cause not in _TOLD and status >= 400
    return f"HTTP {status}" if is_telling else f"HTTP {status}, {refusal.cause.value}"
