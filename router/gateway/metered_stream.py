"""A target's stream on its way to the caller: cut into whole frames, metered, and ended where it passes what was held."""

from typing import Protocol

from router.domain.errors import GatewayError
from router.domain.flow import Take
from router.domain.ledger import Outcome
from router.domain.ports import Clock
from router.domain.upstream import TIMEOUTS, TransportFailure, UpstreamAnswer
from router.gateway.refused import Disguised, is_silence, opening_error, unfit_of
from router.providers.dialect import StreamMeter
from router.providers.translated import Framing

CHECKPOINT_S = 1.0
_LEAST_EVENT = 32
"""Bytes of the shortest events that hold something: `data:{"choices":[{"text":"a"}]}` and a blank line are 33."""


class Host(Protocol):
    """The attempt, to its stream."""

    def stream_ended(self, outcome: Outcome, reason: str = "") -> None: ...

    def stream_broken(self, outcome: Outcome, reason: str) -> GatewayError:
        """What the caller is told of it."""
        ...

    def has_produced(self, output_tokens: int) -> None:
        """Said once a second, for the journal."""
        ...


class MeteredStream:
    """A Flow of whole frames, which raises the GatewayError that ended it."""

    __slots__ = (
        "_answer",
        "_meter",
        "_framing",
        "_splitter",
        "_host",
        "_now",
        "_allowed",
        "_left",
        "_checkpoint_at",
        "_has_overrun",
        "_is_over",
        "_first",
        "_take",
    )

    def __init__(
        self,
        answer: UpstreamAnswer,
        meter: StreamMeter,
        host: Host,
        clock: Clock,
        *,
        framing: Framing,
        allowed: float,
    ) -> None:
        """`allowed`: how many tokens are paid for, infinitely many where no money is held."""
        self._answer = answer
        self._meter = meter
        self._framing = framing
        self._splitter = framing.splitter()
        self._host = host
        self._now = clock.monotonic
        self._allowed = allowed
        self._left = allowed
        """At least so many of them are left: every block is taken for as many events as it could hold."""
        self._checkpoint_at = clock.monotonic() + CHECKPOINT_S
        self._has_overrun = self._is_over = False
        self._first = b""
        self._take: Take | None = None

    async def begin(self) -> None:
        """Wait for the first whole frame: until it is here, a failure may still go to another target.

        Raises TransportFailure, Disguised for one that begins with an error, and the GatewayError of one without events.
        """
        last = await self._answer.pour(self._open)
        if last is None:
            return
        self._is_over = True
        if last and not self._open(last):
            return
        if rest := self._splitter.end():
            self._look_at(rest)
        if not (self._meter.finished or self._meter.failed):
            raise self._host.stream_broken(Outcome.INVALID_RESPONSE, "the stream held no whole event")

    async def pour(self, take: Take) -> bytes | None:
        try:
            relayed = self._first if self._is_over else await self._poured(take)
            if relayed is None:
                return None
            try:
                return relayed + self._ending()
            except (TransportFailure, GatewayError):
                if relayed:
                    take(relayed)
                raise
        except TransportFailure as failure:
            outcome = Outcome.TIMEOUT if failure.kind in TIMEOUTS else Outcome.TRUNCATED
            raise self._host.stream_broken(outcome, failure.kind.value) from None

    async def drain(self) -> None:
        """Read an abandoned stream to its end for its usage; TransportFailure where it breaks."""
        if last := await self._answer.pour(self._count):
            self._count(last)

    def _open(self, chunk: bytes) -> bool:
        """Whether there is only silence: comments are signs of life before there is an answer."""
        whole = self._splitter.feed(chunk)
        if whole:
            self._look_at(whole)
        return not whole or is_silence(whole)

    def _look_at(self, block: bytes) -> None:
        """Raises Disguised where a stream begins with an error: nothing was relayed, so that there was no answer."""
        meter = self._meter
        self._first += self._metered(block)
        if meter.failed and not meter.frames and (found := opening_error(meter, block)) is not None:
            raise Disguised(*found, is_told=True)

    async def _poured(self, take: Take) -> bytes | None:
        """The whole frames that come with the end of the body, the others being taken; None where no more are wanted."""
        first, self._first = self._first, b""
        if first and not take(first) and not self._has_overrun:
            return None
        if not self._has_overrun:
            self._take = take
            last = await self._answer.pour(self._relay)
            if last is not None:
                self._is_over = True
                whole = self._splitter.feed(last) if last else b""
                return self._metered(whole) if whole else b""
        return b"" if self._has_overrun else None

    def _relay(self, chunk: bytes) -> bool:
        whole = self._splitter.feed(chunk)
        if not whole:
            return True
        relayed = self._metered(whole)
        assert self._take is not None, "poured into nobody"
        return (not relayed or self._take(relayed)) and not self._has_overrun

    def _count(self, chunk: bytes) -> bool:
        self._meter.feed(self._splitter.feed(chunk))
        return True

    def _metered(self, block: bytes) -> bytes:
        """What the caller gets of whole frames: nothing behind the one event that passes the hold."""
        self._left -= len(block) // _LEAST_EVENT
        relayed = self._meter.feed(block) if self._left >= 0 else self._within(block)
        now = self._now()
        if now >= self._checkpoint_at:
            self._checkpoint_at = now + CHECKPOINT_S
            self._host.has_produced(self._meter.estimated_output_tokens())
        return relayed

    def _within(self, block: bytes) -> bytes:
        """An event is a token at least, so events are counted first, cheaply; only past the bound is it asked of each frame
        whether it held something."""
        meter = self._meter
        self._left = self._allowed - meter.frames - self._framing.count(block)
        if self._left >= 0:
            return meter.feed(block)
        kept = []
        for frame in self._framing.cut(block):
            relayed = meter.feed(frame)
            if not self._has_overrun:
                kept.append(relayed)
                self._has_overrun = meter.frames > self._allowed
        return b"".join(kept)

    def _ending(self) -> bytes:
        """What is relayed only as the end: a frame without its blank line, which nothing could follow and still be read.
        Raises TransportFailure, and the GatewayError of a stream that has not come to its end."""
        meter, host = self._meter, self._host
        if self._has_overrun:
            raise host.stream_broken(Outcome.OVERRUN, "the answer has passed what its budget could hold")
        rest = self._splitter.end()
        last = self._metered(rest) if rest else b""
        if meter.finished:
            last += meter.close()
        if meter.failed:
            unfit = unfit_of(meter)
            outcome = Outcome.INVALID_RESPONSE if unfit else Outcome.SERVER_ERROR
            host.stream_ended(outcome, unfit or "the provider sent an error event")
        elif meter.finished:
            host.stream_ended(Outcome.OK)
        else:
            raise host.stream_broken(Outcome.TRUNCATED, "the stream stopped before its end")
        return last
