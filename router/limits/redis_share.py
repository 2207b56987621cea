"""What this process knows without Redis: everything it admitted in the last minute, and its part of each limit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from router.domain.limits import Allowance, LimitRule, Limits, LimitScope, Refusal
from router.domain.ports import Clock
from router.limits.memory import HeldReservation, MemoryLimiter
from router.limits.window import WINDOW_US


class CountedReservation(msgspec.Struct, eq=False):
    """Implements domain.ports.Reservation: counted in this process, and in Redis under all `rules`.

    `second` is when Redis counted the tokens; 0 where this process admitted it alone, and Redis knows no more than its slot.
    """

    allowance: Allowance
    rules: Sequence[LimitRule]
    held: Sequence[HeldReservation]
    release: "Release"
    tokens: int = 0
    second: int = 0

    def settle(self, tokens: int) -> None:
        held, self.held = self.held, ()
        if held:
            if tokens < 0:
                tokens = 0
            for one in held:
                one.settle(tokens)
            self.release(self, tokens)


Release = Callable[[CountedReservation, int], None]


@dataclass(slots=True)
class Statement:
    """What is told to Redis, a subject each: requests in flight, then age (us), requests and tokens of each second."""

    subjects: list[tuple[LimitScope, str, list[int]]]
    told: list[tuple[int, MemoryLimiter]]


class LocalShare:
    """A MemoryLimiter that is told what Redis admitted for this process, and decides by limit / live processes.

    Since it knows what this process has admitted already, the minute in which Redis is lost holds no more than the limit.
    What it admits itself is kept a second time, until Redis has been told.
    """

    def __init__(self, clock: Clock, live_processes: Callable[[], int]) -> None:
        self._clock = clock
        self._memory = MemoryLimiter(clock)
        self._alone = MemoryLimiter(clock)
        self._untold: list[tuple[int, MemoryLimiter]] = []
        self.live_processes = live_processes
        self.in_flight = self._memory.in_flight

    def note(self, rules: Sequence[LimitRule], tokens: int) -> tuple[HeldReservation, ...]:
        """Count what Redis has admitted."""
        return (self._memory.note(rules, tokens),)

    def decide(self, rules: Sequence[LimitRule], tokens: int) -> tuple[HeldReservation, ...] | Refusal:
        live = self.live_processes()
        parts = rules if live <= 1 else [_divided(rule, live) for rule in rules]
        decision = self._memory.decide(parts, tokens)
        return decision if isinstance(decision, Refusal) else (decision, self._alone.note(parts, tokens))

    def busy(self) -> Iterator[tuple[LimitScope, str]]:
        """Subjects with requests in flight."""
        return ((scope, subject) for scope, subject, window in self._memory.windows() if window.parallel)

    @property
    def subjects(self) -> int:
        """How many keys, tenants and aliases there may be something to tell about."""
        return self._memory.subjects

    def tell(self, *, everything: bool, in_flight: bool) -> Statement:
        """This moment's truth: what was admitted in the last minute and not told yet, or `everything` that was admitted in
        it, and the requests `in_flight`. Counts as told from now on, unless it is taken back.
        """
        now_us = self._now_us()
        told = [(until_us, memory) for until_us, memory in self._untold if until_us > now_us - WINDOW_US]
        told.append((now_us, self._alone))
        self._alone, self._untold = MemoryLimiter(self._clock), []
        subjects = {subject: [self.in_flight(*subject)] for subject in (self.busy() if in_flight else ())}
        for memory in [self._memory] if everything else [memory for _, memory in told]:
            for scope, subject, window in memory.windows():
                window.expire(now_us)
                slot = window.oldest
                while slot is not None:
                    seconds = subjects.setdefault((scope, subject), [0])
                    seconds += (now_us - slot.last_us, slot.requests, slot.tokens)
                    slot = slot.next
        return Statement([(scope, subject, numbers) for (scope, subject), numbers in subjects.items()], told)

    def take_back(self, statement: Statement) -> None:
        """It was not told after all, or not whole."""
        self._untold += statement.told

    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1e6)


def _divided(rule: LimitRule, live: int) -> LimitRule:
    limits = rule.limits
    parts = Limits(_part(limits.requests, live), _part(limits.tokens, live), _part(limits.parallel, live))
    return LimitRule(rule.scope, rule.subject, parts)


def _part(limit: int | None, live: int) -> int | None:
    """Never less than one, unless the limit itself admits nothing."""
    return limit if not limit else max(1, limit // live)
