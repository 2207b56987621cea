"""What this process knows without Redis: everything it admitted in the last minute, and its part of each limit."""

from collections.abc import Callable, Iterator, Sequence

from router.domain.limits import Allowance, LimitRule, Limits, LimitScope, Refusal
from router.domain.ports import Clock
from router.limits.memory import HeldReservation, MemoryLimiter


class CountedReservation:
    """Implements domain.ports.Reservation: counted in this process, and in the windows of Redis that `keys` names.

    `second` is when Redis counted the tokens; 0 where this process admitted it alone, and Redis knows no more than its slot.
    """

    __slots__ = ("_held", "_release", "allowance", "keys", "rules", "second", "tokens")

    def __init__(self, held: HeldReservation, rules: Sequence[LimitRule], keys: Sequence[str], release: "Release") -> None:
        self.allowance: Allowance = held.allowance
        self.rules, self.keys = rules, keys
        self.tokens = self.second = 0
        self._held: HeldReservation | None = held
        self._release = release

    def settle(self, tokens: int) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.settle(tokens)
            self._release(self, max(tokens, 0))


Release = Callable[[CountedReservation, int], None]


class LocalShare:
    """A MemoryLimiter that is told what Redis admitted for this process, and decides by limit / live processes.

    Since it knows what this process has admitted already, the minute in which Redis is lost holds no more than the limit.
    """

    def __init__(self, clock: Clock, live_processes: Callable[[], int]) -> None:
        self._memory = MemoryLimiter(clock)
        self._clock = clock
        self._live_processes = live_processes
        self.note = self._memory.note
        self.in_flight = self._memory.in_flight

    def decide(self, rules: Sequence[LimitRule], tokens: int) -> HeldReservation | Refusal:
        live = self._live_processes()
        return self._memory.decide(rules if live <= 1 else [_divided(rule, live) for rule in rules], tokens)

    def now_us(self) -> int:
        """The time by which `statement` knows seconds as older or newer."""
        return int(self._clock.monotonic() * 1e6)

    def busy(self) -> Iterator[tuple[LimitScope, str]]:
        """Subjects with requests in flight."""
        return ((scope, subject) for scope, subject, window in self._memory.windows() if window.parallel)

    def statement(self, since_us: int) -> Iterator[tuple[LimitScope, str, list[int]]]:
        """For scripts/restate.lua: requests in flight, then age, requests and tokens of each second since `since_us`."""
        now_us = self.now_us()
        for scope, subject, window in self._memory.windows():
            window.expire(now_us)
            told = [window.parallel]
            slot = window.oldest
            while slot is not None:
                if slot.last_us >= since_us:
                    told += (now_us - slot.last_us, slot.requests, slot.tokens)
                slot = slot.next
            if told != [0]:
                yield scope, subject, told


def _divided(rule: LimitRule, live: int) -> LimitRule:
    limits = rule.limits
    parts = Limits(_part(limits.requests, live), _part(limits.tokens, live), _part(limits.parallel, live))
    return LimitRule(rule.scope, rule.subject, parts)


def _part(limit: int | None, live: int) -> int | None:
    """Never less than one, unless the limit itself admits nothing."""
    return limit if not limit else max(1, limit // live)
