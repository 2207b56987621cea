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
    """A Flow of whole frames, which raises the GatewayError that ended it. What an event that arrives costs here is a clock
    reading, and a count of events where money is held."""

    __slots__ = (
        "_answer",
        "_meter",
        "_framing",
        "_splitter",
        "_host",
        "_clock",
        "_allowed",
        "_events",
        "_looked_at",
        "_has_overrun",
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
        allowed: int | None,
    ) -> None:
        """`allowed`: how many tokens are paid for, None where no money is held."""
        self._answer = answer
        self._meter = meter
        self._framing = framing
        self._splitter = framing.splitter()
        self._host = host
        self._clock = clock
        self._allowed = allowed
        self._events = 0
        self._looked_at = clock.monotonic()
        self._has_overrun = False
        self._first = b""
        self._take: Take | None = None

    async def begin(self) -> None:
        """Wait for the first whole frame: until it is here, a failure may still go to another target.

        Raises TransportFailure, Disguised for one that begins with an error, and the GatewayError of one without events.
        """
        if not await self._answer.pour(self._open):
            return
        if rest := self._splitter.end():
            self._look_at(rest)
        if not (self._meter.finished or self._meter.failed):
            raise self._host.stream_broken(Outcome.INVALID_RESPONSE, "the stream held no whole event")

    async def pour(self, take: Take) -> bool:
        wants_more = True
        if self._first:
            first, self._first = self._first, b""
            wants_more = take(first)
        try:
            if wants_more and not self._has_overrun:
                self._take = take
                wants_more = await self._answer.pour(self._relay)
            if self._has_overrun:
                raise self._host.stream_broken(Outcome.OVERRUN, "the answer has passed what its budget could hold")
            if not wants_more:
                return False
            last = self._last()
        except TransportFailure as failure:
            outcome = Outcome.TIMEOUT if failure.kind in TIMEOUTS else Outcome.TRUNCATED
            raise self._host.stream_broken(outcome, failure.kind.value) from None
        if last:
            take(last)
        self._end()
        return True

    async def drain(self) -> None:
        """Read an abandoned stream to its end for its usage; TransportFailure where it breaks."""
        await self._answer.pour(self._count)

    def _open(self, chunk: bytes) -> bool:
        """Comments are signs of life before there is an answer."""
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

    def _relay(self, chunk: bytes) -> bool:
        whole = self._splitter.feed(chunk)
        if not whole:
            return True
        out = self._metered(whole)
        assert self._take is not None, "poured into nobody"
        return (not out or self._take(out)) and not self._has_overrun

    def _count(self, chunk: bytes) -> bool:
        self._meter.feed(self._splitter.feed(chunk))
        return True

    def _metered(self, block: bytes) -> bytes:
        """What the caller gets of whole frames: nothing behind the one event that passes the hold."""
        relayed = self._meter.feed(block) if self._allowed is None else self._within(self._allowed, block)
        now = self._clock.monotonic()
        if now - self._looked_at >= CHECKPOINT_S:
            self._looked_at = now
            self._host.has_produced(self._meter.estimated_output_tokens())
        return relayed

    def _within(self, allowed: int, block: bytes) -> bytes:
        """An event is a token at least, so events are counted first, cheaply; only past the bound is it asked of each frame
        whether it held something."""
        meter = self._meter
        self._events += self._framing.count(block)
        if self._events <= allowed:
            return meter.feed(block)
        kept = []
        for frame in self._framing.cut(block):
            out = meter.feed(frame)
            if not self._has_overrun:
                kept.append(out)
                self._has_overrun = meter.frames > allowed
        return b"".join(kept)

    def _last(self) -> bytes:
        """What is relayed only as the end: a frame without its blank line, which nothing could follow and still be read."""
        meter = self._meter
        rest = self._splitter.end()
        last = self._metered(rest) if rest else b""
        if meter.finished:
            return last + meter.close()
        return last if meter.failed else b""

    def _end(self) -> None:
        meter, host = self._meter, self._host
        if meter.failed:
            unfit = unfit_of(meter)
            outcome = Outcome.INVALID_RESPONSE if unfit else Outcome.SERVER_ERROR
            host.stream_ended(outcome, unfit or "the provider sent an error event")
        elif meter.finished:
            host.stream_ended(Outcome.OK)
        else:
            raise host.stream_broken(Outcome.TRUNCATED, "the stream stopped before its end")
