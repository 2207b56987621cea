"""One subject's last minute: requests and tokens in one-second slots with running sums, and the requests in flight.

Knows numbers and times only: no rule, no subject, no clock. Times are integer microseconds of a clock that never steps.
"""

from dataclasses import dataclass

WINDOW_US = 60_000_000
SLOT_US = 1_000_000


@dataclass(slots=True, eq=False)
class Slot:
    """What was admitted in one second. It leaves the window as a whole, a minute after its *last* request.

    So nothing is forgotten early, no minute ever sees more than the limit, and a caller at a steady pace of exactly the
    limit is never refused. `counted` turns False when the slot has left.
    """

    second: int
    last_us: int
    requests: int = 0
    tokens: int = 0
    counted: bool = True
    next: "Slot | None" = None


class Window:
    """Slots as a chain from oldest to newest, at most 61 of them: memory is what was used, not what might be.

    `requests` and `tokens` are always the sums over the chain. Call `expire` before reading them.
    """

    __slots__ = ("examine_us", "newest", "oldest", "parallel", "requests", "tokens")

    def __init__(self, now_us: int) -> None:
        self.oldest: Slot | None = None
        self.newest: Slot | None = None
        self.requests = 0
        self.tokens = 0
        self.parallel = 0
        self.examine_us = now_us + WINDOW_US

    @property
    def is_idle(self) -> bool:
        return self.oldest is None and self.parallel == 0

    def expire(self, now_us: int) -> None:
        """Forget the slots that have left the window; each slot is forgotten once."""
        slot, horizon = self.oldest, now_us - WINDOW_US
        while slot is not None and slot.last_us <= horizon:
            self.requests -= slot.requests
            self.tokens -= slot.tokens
            slot.counted = False
            slot = slot.next
        self.oldest = slot
        if slot is None:
            self.newest = None

    def take(self, tokens: int, now_us: int) -> Slot:
        """Count one request and its tokens; its slot is where the tokens can be corrected, as long as it is `counted`."""
        second = now_us // SLOT_US
        slot = self.newest
        if slot is None or slot.second != second:
            slot = self.open(second, now_us)
        slot.last_us = now_us
        slot.requests += 1
        slot.tokens += tokens
        self.requests += 1
        self.tokens += tokens
        return slot

    def open(self, second: int, now_us: int) -> Slot:
        """A new newest slot."""
        fresh = Slot(second, now_us)
        if self.newest is None:
            self.oldest = fresh
        else:
            self.newest.next = fresh
        self.newest = fresh
        return fresh

    def requests_free_us(self, wanted: int, now_us: int) -> int:
        """Microseconds until `wanted` requests, or all of them, have left the window; 0 when there are none."""
        slot = self.oldest
        if slot is not None and 0 < wanted <= slot.requests:
            return slot.last_us + WINDOW_US - now_us
        left = min(wanted, self.requests)
        while slot is not None and left > 0:
            left -= slot.requests
            if left <= 0:
                return slot.last_us + WINDOW_US - now_us
            slot = slot.next
        return 0

    def tokens_free_us(self, wanted: int, now_us: int) -> int:
        """Microseconds until `wanted` tokens, or all of them, have left the window; 0 when there are none."""
        slot = self.oldest
        if slot is not None and 0 < wanted <= slot.tokens:
            return slot.last_us + WINDOW_US - now_us
        left = min(wanted, self.tokens)
        while slot is not None and left > 0:
            left -= slot.tokens
            if left <= 0:
                return slot.last_us + WINDOW_US - now_us
            slot = slot.next
        return 0
