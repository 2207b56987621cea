"""Limits of one process: sliding windows in memory, one per key, tenant and alias. Lost on restart, by design."""

from collections.abc import Iterator, Sequence

import msgspec

from router.domain.limits import (
    UNLIMITED,
    Allowance,
    LimitRule,
    LimitScope,
    Refusal,
    Resource,
    key_of,
    scope_and_subject,
)
from router.domain.ports import Clock, Reservation
from router.limits.table import WindowTable
from router.limits.window import SLOT_US, WINDOW_US, Slot, Window

PARALLEL_RETRY_MS = 1000
"""Nobody knows when a request in flight will end; a second is worth waiting before asking again."""

_Hold = tuple[Window, Slot, int]
_Checked = tuple[LimitRule, Window, int]


class HeldReservation(msgspec.Struct, eq=False, gc=False):
    """Implements domain.ports.Reservation: the windows one request was counted in, until it is settled."""

    allowance: Allowance
    holds: Sequence[_Hold]

    def settle(self, tokens: int) -> None:
        holds, self.holds = self.holds, ()
        if tokens < 0:
            tokens = 0
        for window, slot, held in holds:
            window.parallel -= 1
            if slot.counted:
                change = tokens - held
                slot.tokens += change
                window.tokens += change


class MemoryLimiter:
    """Implements domain.ports.Limiter.

    Windows are kept by (scope, subject) and the numbers are read from the rule, so a reload that changes a limit keeps what
    was counted. A request that asks for more tokens than a rule allows in a whole minute is held at that limit: it
    passes when the minute is otherwise empty, instead of never. A limit of 0 admits nothing.

    A subject that has been idle for a minute is forgotten: every call examines the few whose turn has come.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._table: WindowTable[str] = WindowTable()

    @property
    def subjects(self) -> int:
        """How many keys, tenants and aliases are remembered now."""
        return len(self._table.windows)

    def in_flight(self, scope: LimitScope, subject: str) -> int:
        """Requests of this subject that hold a slot now."""
        window = self._table.windows.get(key_of(scope, subject))
        return 0 if window is None else window.parallel

    def windows(self) -> Iterator[tuple[LimitScope, str, Window]]:
        """Every subject that is remembered, with its window as it stands; call `expire` before reading one."""
        for key, window in self._table.windows.items():
            yield *scope_and_subject(key), window

    async def acquire(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
        return self.decide(rules, tokens)

    def note(self, rules: Sequence[LimitRule], tokens: int) -> HeldReservation:
        """Count a request that was admitted elsewhere, whatever the limits say; no allowance is worked out."""
        now_us = int(self._clock.monotonic() * 1e6)
        if now_us >= self._table.due_us:
            self._table.forget_idle(now_us)
        checked: list[_Checked] = []
        for rule in rules:
            window = self._table.windows.get(rule.key) or self._table.remember(rule.key, now_us)
            window.expire(now_us)
            limit = rule.limits.tokens
            checked.append((rule, window, tokens if limit is None or tokens <= limit else limit))
        return HeldReservation(UNLIMITED, _held(checked, now_us))

    def decide(self, rules: Sequence[LimitRule], tokens: int) -> HeldReservation | Refusal:
        """What `acquire` answers, without a coroutine: deciding in memory never waits."""
        if not rules:
            return HeldReservation(UNLIMITED, ())
        now_us = int(self._clock.monotonic() * 1e6)
        if now_us >= self._table.due_us:
            self._table.forget_idle(now_us)
        windows, horizon = self._table.windows, now_us - WINDOW_US
        checked: list[_Checked] = []
        is_refused = False
        for rule in rules:
            limits, key = rule.limits, rule.key
            window = windows[key] if key in windows else self._table.remember(key, now_us)
            oldest = window.oldest
            if oldest is not None and oldest.last_us <= horizon:
                window.expire(now_us)
            hold, limit = tokens, limits.tokens
            if limit is not None:
                if tokens > limit:
                    hold = limit
                if window.tokens + hold > limit or limit == 0:
                    is_refused = True
            limit = limits.requests
            if limit is not None and window.requests >= limit:
                is_refused = True
            limit = limits.parallel
            if limit is not None and window.parallel >= limit:
                is_refused = True
            checked.append((rule, window, hold))
        if is_refused:
            return _refusal(checked, now_us)
        holds = _held(checked, now_us)
        return HeldReservation(_allowance(checked, now_us), holds)


def _held(checked: Sequence[_Checked], now_us: int) -> list[_Hold]:
    """The request counted under every rule: `Window.take`, in place, since a call a rule costs as much as the counting."""
    second = now_us // SLOT_US
    holds: list[_Hold] = []
    for _, window, hold in checked:
        slot = window.newest
        if slot is None or slot.second != second:
            slot = window.open(second, now_us)
        slot.last_us = now_us
        slot.requests += 1
        slot.tokens += hold
        window.requests += 1
        window.tokens += hold
        window.parallel += 1
        holds.append((window, slot, hold))
    return holds


def _allowance(checked: Sequence[_Checked], now_us: int) -> Allowance:
    """What is left by the rule that leaves least, for each resource."""
    by_requests: Window | None = None
    by_tokens: Window | None = None
    limit_requests = left_requests = limit_tokens = left_tokens = held = 0
    for rule, window, hold in checked:
        limits = rule.limits
        if (limit := limits.requests) is not None:
            left = limit - window.requests
            if by_requests is None or left < left_requests:
                by_requests, limit_requests, left_requests = window, limit, left
        if (limit := limits.tokens) is not None:
            left = limit - window.tokens
            if by_tokens is None or left < left_tokens:
                by_tokens, limit_tokens, left_tokens, held = window, limit, left, hold
    if left_requests < 0:
        left_requests = 0
    if left_tokens < 0:
        left_tokens = 0
    if by_requests is None:
        if by_tokens is None:
            return UNLIMITED
        reset_ms = -(-by_tokens.tokens_free_us(held, now_us) // 1000)
        return Allowance(None, None, None, limit_tokens, left_tokens, reset_ms)
    # A slot has one request at least, so the next to leave are those of the oldest.
    oldest = by_requests.oldest
    reset_ms = 0 if oldest is None else -(-(oldest.last_us + WINDOW_US - now_us) // 1000)
    if by_tokens is None:
        return Allowance(limit_requests, left_requests, reset_ms)
    reset_tokens_ms = -(-by_tokens.tokens_free_us(held, now_us) // 1000)
    return Allowance(limit_requests, left_requests, reset_ms, limit_tokens, left_tokens, reset_tokens_ms)


def _refusal(checked: Sequence[_Checked], now_us: int) -> Refusal:
    """Of everything that says no, what will say no the longest: coming back when told must not meet the next refusal."""
    longest: tuple[int, LimitRule, Resource, int] | None = None
    for rule, window, hold in checked:
        for resource, limit, wait_ms in _obstacles(rule, window, hold, now_us):
            if longest is None or wait_ms > longest[0]:
                longest = (wait_ms, rule, resource, limit)
    assert longest is not None, "a refusal has a reason"
    wait_ms, rule, resource, limit = longest
    return Refusal(rule.scope, rule.subject, resource, limit, wait_ms, _allowance(checked, now_us))


def _obstacles(rule: LimitRule, window: Window, hold: int, now_us: int) -> Iterator[tuple[Resource, int, int]]:
    """Each resource of this rule that is exhausted, its limit, and the milliseconds until it is not."""
    limits = rule.limits
    if limits.requests is not None and window.requests >= limits.requests:
        too_many = window.requests + 1 - limits.requests
        wait_us = WINDOW_US if limits.requests == 0 else window.requests_free_us(too_many, now_us)
        yield Resource.REQUESTS, limits.requests, -(-wait_us // 1000)
    if limits.tokens is not None and (window.tokens + hold > limits.tokens or limits.tokens == 0):
        too_many = window.tokens + hold - limits.tokens
        wait_us = WINDOW_US if limits.tokens == 0 else window.tokens_free_us(too_many, now_us)
        yield Resource.TOKENS, limits.tokens, -(-wait_us // 1000)
    if limits.parallel is not None and window.parallel >= limits.parallel:
        yield Resource.PARALLEL, limits.parallel, PARALLEL_RETRY_MS
