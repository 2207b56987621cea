"""When another attempt is right: classes of failure, back-off, and the retry budget of each alias."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from router.domain.ledger import Outcome
from router.domain.ports import Clock
from router.domain.routes import FallbackReason
from router.domain.upstream import TIMEOUTS, FailureKind
from router.providers.refusals import Cause

BUDGET_SHARE = 0.2
BUDGET_BURST = 20
WINDOW_S = 10
MAX_RETRY_AFTER_S = 60.0
MAX_WAIT_FOR_SAME_S = 2.0
_BACKOFF_BASE_S = 0.1
_BACKOFF_CAP_S = 2.0


class Verdict(Enum):
    """What a provider's refusal means for the request."""

    ANSWER = "answer"  # goes to the caller: the request itself is refused
    RETRY = "retry"  # the target's fault or misfortune
    CREDENTIAL = "credential"  # another key of the same provider first, then as RETRY


_VERDICTS: Mapping[Cause, tuple[Verdict, Outcome]] = {
    Cause.RATE_LIMITED: (Verdict.CREDENTIAL, Outcome.RATE_LIMITED),
    Cause.QUOTA: (Verdict.CREDENTIAL, Outcome.CREDENTIAL),
    Cause.AUTH: (Verdict.CREDENTIAL, Outcome.CREDENTIAL),
    Cause.OVERLOADED: (Verdict.RETRY, Outcome.SERVER_ERROR),
    Cause.SERVER: (Verdict.RETRY, Outcome.SERVER_ERROR),
}
_REFUSED = (Verdict.ANSWER, Outcome.REFUSED_UPSTREAM)
FALLBACKS: Mapping[Cause, FallbackReason] = {
    Cause.CONTEXT_WINDOW: FallbackReason.CONTEXT_WINDOW,
    Cause.CONTENT_POLICY: FallbackReason.CONTENT_POLICY,
}
"""Refusals that another alias may be asked for instead."""


def verdict_of(cause: Cause) -> tuple[Verdict, Outcome]:
    """What is to be done about a refusal, and the ledger's word for it."""
    return _VERDICTS.get(cause, _REFUSED)


def outcome_of(kind: FailureKind) -> Outcome:
    """The ledger's word for a transport failure."""
    if kind is FailureKind.FORCED:
        return Outcome.FORCED
    if kind is FailureKind.RESET:
        return Outcome.RESET
    if kind in (FailureKind.PROTOCOL, FailureKind.TOO_LARGE):
        return Outcome.INVALID_RESPONSE
    return Outcome.TIMEOUT if kind in TIMEOUTS else Outcome.CONNECT


def clamped(wait_s: float | None) -> float | None:
    """What a provider asked to wait, within 0..60 s; None where it did not."""
    return None if wait_s is None else min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def backoff_s(nth: int, draw: float) -> float:
    """Full jitter: uniform in 0 .. min(cap, base * 2^nth) for the nth return to a target."""
    return draw * min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2.0 ** min(nth, 16))


@dataclass(slots=True)
class _Window:
    second: int = 0
    requests: list[int] = field(default_factory=lambda: [0] * WINDOW_S)
    retries: list[int] = field(default_factory=lambda: [0] * WINDOW_S)

    def advance(self, second: int) -> int:
        for gone in range(self.second + 1, min(second, self.second + WINDOW_S) + 1):
            self.requests[gone % WINDOW_S] = self.retries[gone % WINDOW_S] = 0
        self.second = second
        return second % WINDOW_S


class RetryBudget:
    """Per alias: retries of the last 10 s may be a fifth of its requests of the last 10 s, plus a burst of 20.

    When everything fails, the burst is spent once and what remains is the fifth: the storm stays bounded.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def request(self, alias: str, now_s: float) -> None:
        """Count a request that begins at `now_s` of the monotonic clock."""
        window = self._windows.get(alias)
        if window is None:
            window = self._windows[alias] = _Window()
        second = int(now_s)
        window.requests[second % WINDOW_S if second == window.second else window.advance(second)] += 1

    def take(self, alias: str) -> bool:
        """Take one retry if the budget has it."""
        window = self._windows.setdefault(alias, _Window())
        slot = window.advance(int(self._clock.monotonic()))
        if sum(window.retries) >= BUDGET_BURST + BUDGET_SHARE * sum(window.requests):
            return False
        window.retries[slot] += 1
        return True
