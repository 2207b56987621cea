"""Keeps an eye on a long stream: a checkpoint a second for the journal, and its end when it passes what was held for it."""

from router.domain.ports import Journal
from router.gateway.meter import Attempt, Meter
from router.gateway.purses import Hold
from router.providers.dialect import StreamMeter
from router.providers.translated import SSE, Framing

CHECKPOINT_S = 1.0


class Watch:
    """Every block of frames passes it; costs a clock reading, and a count of events where money is held.

    `has_overrun`: the stream has produced more than its hold covers.
    """

    def __init__(
        self,
        meter: Meter,
        journal: Journal,
        attempt: Attempt,
        stream: StreamMeter,
        *,
        request: str,
        hold: Hold | None,
        framing: Framing = SSE,
    ) -> None:
        self._clock = meter.clock
        self._journal = journal
        self._attempt = attempt
        self._stream = stream
        self._request = request
        self._allowed = None if hold is None else hold.bound.output_tokens
        self._events = 0
        self._framing = framing
        self._looked_at = self._clock.monotonic()
        self.has_overrun = False

    def relayed(self, block: bytes) -> bytes:
        """Meter whole frames. What the caller gets of them: nothing behind the one event that passes the hold."""
        relayed = self._metered(block)
        now = self._clock.monotonic()
        if now - self._looked_at >= CHECKPOINT_S:
            self._looked_at = now
            self._journal.progressed(self._request, self._attempt.number, self._stream.estimated_output_tokens())
        return relayed

    def _metered(self, block: bytes) -> bytes:
        """An event is a token at least, so events are counted first, cheaply; only past the bound is it asked of each frame
        whether it held something."""
        if self._allowed is None:
            return self._stream.feed(block)
        self._events += self._framing.count(block)
        if self._events <= self._allowed:
            return self._stream.feed(block)
        kept = []
        for frame in self._framing.cut(block):
            out = self._stream.feed(frame)
            if not self.has_overrun:
                kept.append(out)
                self.has_overrun = self._stream.frames > self._allowed
        return b"".join(kept)
