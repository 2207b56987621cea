"""Watches what is observed of targets, and notifies: down, up, too many failures, too slow."""

from collections.abc import Callable
from dataclasses import dataclass

from router.alerts.window import TargetWindow
from router.config.snapshot import HealthSettings
from router.domain.alerts import Alert, ErrorRate, Latency, TargetDown, TargetUp
from router.domain.ledger import AttemptEntry, LedgerEntry, Outcome
from router.domain.observations import Observation, RequestsFinished, TargetEjected, TargetRecovered
from router.domain.ports import Clock, Notifier

MIN_REQUESTS = 20

# What speaks for a target, and what against it; the rest (the caller left, a rehearsal) says nothing about it.
_GOOD = frozenset({Outcome.OK, Outcome.REFUSED_UPSTREAM})
_BAD = frozenset(
    {
        Outcome.RATE_LIMITED,
        Outcome.CREDENTIAL,
        Outcome.SERVER_ERROR,
        Outcome.CONNECT,
        Outcome.TIMEOUT,
        Outcome.RESET,
        Outcome.INVALID_RESPONSE,
        Outcome.TRUNCATED,
    }
)


@dataclass(slots=True)
class _State:
    """Whether a target is down, why, and what people were last told. They differ while a cool-down keeps us quiet."""

    is_down: bool = False
    reason: str = ""
    is_told_down: bool = False


class TargetWatch:
    """Implements domain.ports.Observer. Silent until it is attached.

    A flapping target is told of once a cool-down; when that has passed, `review` tells what is so by then, and a recovery
    nobody was told the beginning of is no news.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._notifier: Notifier | None = None
        self._bounds: Callable[[], HealthSettings] = HealthSettings
        self._states: dict[str, _State] = {}
        self._windows: dict[str, TargetWindow] = {}
        self.is_measuring = False

    def attach(self, notifier: Notifier, bounds: Callable[[], HealthSettings]) -> None:
        self._notifier = notifier
        self._bounds = bounds

    def emit(self, observation: Observation) -> None:
        if isinstance(observation, RequestsFinished):
            if self.is_measuring:
                for entry in observation.entries:
                    self._measure(entry)
        elif isinstance(observation, TargetEjected):
            state = self._states.setdefault(observation.target, _State())
            state.is_down, state.reason = True, observation.reason
            self._tell(observation.target, state)
        elif isinstance(observation, TargetRecovered):
            state = self._states.setdefault(observation.target, _State())
            state.is_down = False
            self._tell(observation.target, state)

    def told(self, alert: Alert) -> None:
        """The alert has been raised: it was not held back by a cool-down."""
        if isinstance(alert, TargetDown | TargetUp) and (state := self._states.get(alert.target)) is not None:
            state.is_told_down = isinstance(alert, TargetDown)

    def review(self) -> None:
        """Compare with the bounds, and say what a cool-down held back. Called every few seconds."""
        for target, state in self._states.items():
            self._tell(target, state)
        bounds, now = self._bounds(), self._clock.monotonic()
        self.is_measuring = bounds.alert_error_ppm is not None or bounds.alert_p95_us is not None
        if not self.is_measuring:
            self._windows.clear()
        for target, window in list(self._windows.items()):
            total, failed = window.counts(now)
            if not total:
                del self._windows[target]
            elif total >= MIN_REQUESTS:
                self._compare(target, window, failed / total, bounds)

    def _compare(self, target: str, window: TargetWindow, rate: float, bounds: HealthSettings) -> None:
        bound = bounds.alert_error_ppm
        if bound is not None and rate * 1_000_000 > bound:
            self._notify(ErrorRate(target, round(rate * 100, 1), bound / 10_000))
        if bounds.alert_p95_us is not None:
            p95_us = window.p95_us(self._clock.monotonic())
            if p95_us > bounds.alert_p95_us:
                self._notify(Latency(target, p95_us // 1000, bounds.alert_p95_us // 1000))

    def _tell(self, target: str, state: _State) -> None:
        if state.is_down != state.is_told_down:
            self._notify(TargetDown(target, state.reason) if state.is_down else TargetUp(target))

    def _notify(self, alert: Alert) -> None:
        if self._notifier is not None:
            self._notifier.notify(alert)

    def _measure(self, entry: LedgerEntry) -> None:
        now = self._clock.monotonic()
        for attempt in entry.attempts:
            if attempt.outcome in _GOOD:
                self._window(attempt.target).note(now, _duration_us(attempt, entry.stream))
            elif attempt.outcome in _BAD:
                self._window(attempt.target).note(now, None)

    def _window(self, target: str) -> TargetWindow:
        return self._windows.setdefault(target, TargetWindow())


def _duration_us(attempt: AttemptEntry, is_stream: bool) -> int:
    """How long a caller waited: for the first byte of a stream, whose end depends on its length, else for the answer."""
    return attempt.first_byte_us if is_stream and attempt.first_byte_us is not None else attempt.duration_us
