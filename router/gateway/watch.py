"""Keeps an eye on a long stream: a checkpoint a second for the journal, and its end when it passes what was held for it."""

from router.domain.ports import Journal
from router.gateway.meter import Attempt, Meter
from router.gateway.treasury import Secured
from router.providers.dialect import StreamMeter

CHECKPOINT_S = 1.0


class Watch:
    """Asked after each block of frames; costs a clock reading, and a count of events where money is held."""

    def __init__(
        self, meter: Meter, journal: Journal, attempt: Attempt, stream: StreamMeter, secured: Secured | None
    ) -> None:
        self._clock = meter.clock
        self._journal = journal
        self._attempt = attempt
        self._stream = stream
        self._allowed = None if secured is None else secured.bound.output_tokens
        self._events = 0
        self._looked_at = self._clock.monotonic()

    def has_overrun(self, block: bytes, request: str) -> bool:
        """Whether the stream has produced more than its hold covers. An event is a token at least, so events are counted
        first, cheaply, and only past the bound is it asked how many of them held something."""
        now = self._clock.monotonic()
        if now - self._looked_at >= CHECKPOINT_S:
            self._looked_at = now
            self._journal.progressed(request, self._attempt.number, self._stream.estimated_output_tokens())
        if self._allowed is None:
            return False
        self._events += block.count(b"data:")
        return self._events > self._allowed and self._stream.frames > self._allowed
