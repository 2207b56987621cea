"""What the gateway has learnt about its targets and credentials from calling them; the plan sees it as a HealthView."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.domain.observations import CredentialRested, TargetEjected, TargetRecovered
from router.domain.ports import Clock, Observer
from router.domain.routes import ALL_WELL, WATCHING, Alias, HealthView

CONSECUTIVE_FAILURES = 5
WINDOW = 20
MIN_SAMPLES = 5
MAX_REST_S = 60.0
_RECENT = (1 << WINDOW) - 1
_LATENCY_WEIGHT = 0.2


@dataclass(slots=True)
class _Record:
    """`is_found_dead`: a probe ejected it, so a probe may open the door again.

    `recent` is a bit per request, newest lowest, 1 for a failure; `ejected_until` 0 while the target stands."""

    consecutive: int = 0
    recent: int = 0
    samples: int = 0
    ejected_until: float = 0.0
    ejected_at: float = 0.0
    on_trial: bool = False
    is_found_dead: bool = False
    busy: int = 0
    latency_ms: float = 0.0

    def is_ill(self) -> bool:
        if self.consecutive >= CONSECUTIVE_FAILURES:
            return True
        return self.samples >= MIN_SAMPLES and self.recent.bit_count() * 2 > self.samples

    def forget(self) -> None:
        self.consecutive = self.recent = self.samples = 0
        self.ejected_until = 0.0
        self.on_trial = self.is_found_dead = False


class Health:
    """Ejection, half-open trials and resting credentials. Kept over reloads, since it is keyed by target id.

    A target is ejected after 5 failures in a row or more than half of its last 20 requests (at least 5); after the
    cooldown one request tries it. Which target is the last of an alias, and so never left out, is decided in `view`.
    """

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._records: dict[str, _Record] = {}
        self._ejected: set[str] = set()
        self._rests: dict[str, dict[str, float]] = {}
        self.cooldown_s = 30.0

    def view(self, alias: Alias, reach: Iterable[str]) -> HealthView:
        """The state of every target the alias can reach; the shared ALL_WELL where nothing can change the order."""
        is_watching = alias.strategy in WATCHING
        if not self._ejected and not is_watching:
            return ALL_WELL
        busy, latency_ms = self._watched(reach) if is_watching else ({}, {})
        if not self._ejected:
            return HealthView(busy=busy, latency_ms=latency_ms)
        now = self._clock.monotonic()
        ids = tuple(reach)
        out = [i for i in ids if i in self._ejected]
        trial = frozenset(i for i in out if self._may_be_tried(i, now))
        ejected = frozenset(i for i in out if i not in trial)
        shaky: frozenset[str] = frozenset()
        if ejected and len(ejected) == len(set(ids)):
            last = max(ejected, key=lambda i: self._records[i].ejected_at)
            shaky, ejected = frozenset((last,)), ejected - {last}
        return HealthView(ejected, trial, shaky, busy, latency_ms) if out or is_watching else ALL_WELL

    def _watched(self, reach: Iterable[str]) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """Requests under way, and latencies."""
        known = [(i, self._records[i]) for i in reach if i in self._records]
        return {i: r.busy for i, r in known}, {i: r.latency_ms for i, r in known}

    def _may_be_tried(self, target: str, now: float) -> bool:
        record = self._records[target]
        return record.ejected_until <= now and not record.on_trial

    def started(self, target: str) -> bool:
        """A call to `target` begins; True if the target was due for a trial and this is it."""
        record = self._records.get(target)
        if record is None:
            record = self._records[target] = _Record()
        record.busy += 1
        is_trial = target in self._ejected and self._may_be_tried(target, self._clock.monotonic())
        if is_trial:
            record.on_trial = True
        return is_trial

    def ended(self, target: str, *, was_trial: bool) -> None:
        """The call that `started` has ended without an answer; a trial without a verdict may be tried again."""
        record = self._records[target]
        record.busy -= 1
        if was_trial:
            record.on_trial = False

    def answered(self, target: str, latency_ms: float, *, was_trial: bool) -> None:
        """The call that `started` has ended, and well."""
        record = self._records[target]
        record.busy -= 1
        if was_trial:
            record.on_trial = False
        record.recent = (record.recent << 1) & _RECENT
        record.consecutive = 0
        if record.samples < WINDOW:
            record.samples += 1
        before = record.latency_ms
        record.latency_ms = latency_ms if not before else before + _LATENCY_WEIGHT * (latency_ms - before)
        if target in self._ejected and record.ejected_until <= self._clock.monotonic():
            self._readmit(target, record)

    def failed(self, target: str, reason: str, *, rest_s: float | None = None) -> None:
        """Count a failure. `rest_s` (a provider's Retry-After) ejects at once for that long, at most a minute."""
        record = self._records.setdefault(target, _Record())
        record.recent = (record.recent << 1 | 1) & _RECENT
        record.consecutive += 1
        if record.samples < WINDOW:
            record.samples += 1
        record.is_found_dead = False
        if rest_s is not None:
            self._eject(target, record, reason, min(rest_s, MAX_REST_S))
        elif target in self._ejected or record.is_ill():
            self._eject(target, record, reason, self.cooldown_s)

    def probed(self, target: str, ok: bool, reason: str) -> None:
        """A free probe's finding: a dead target is ejected at once; when it lives again the next request may try it.

        That a target lists its models says nothing about inference, so an ejection by requests runs its time.
        """
        record = self._records.setdefault(target, _Record())
        if not ok:
            record.is_found_dead = target not in self._ejected or record.is_found_dead
            self._eject(target, record, reason, self.cooldown_s)
        elif record.is_found_dead:
            record.is_found_dead = False
            record.ejected_until = 0.0

    def _eject(self, target: str, record: _Record, reason: str, rest_s: float) -> None:
        now = self._clock.monotonic()
        is_news = target not in self._ejected
        self._ejected.add(target)
        record.ejected_until = max(record.ejected_until, now + rest_s)
        if is_news:
            record.ejected_at = now
            self._observer.emit(TargetEjected(target, reason, rest_s))

    def _readmit(self, target: str, record: _Record) -> None:
        record.forget()
        self._ejected.discard(target)
        self._observer.emit(TargetRecovered(target))

    def resting(self, provider: str) -> frozenset[str]:
        """Labels of the provider's credentials that it has refused of late."""
        rests = self._rests.get(provider)
        if rests is None:
            return frozenset()
        now = self._clock.monotonic()
        still = {label: until for label, until in rests.items() if until > now}
        if still:
            self._rests[provider] = still
        else:
            del self._rests[provider]
        return frozenset(still)

    def rest_credential(self, provider: str, label: str, status: int, rest_s: float | None) -> None:
        cooldown = self.cooldown_s if rest_s is None else min(rest_s, MAX_REST_S)
        self._rests.setdefault(provider, {})[label] = self._clock.monotonic() + cooldown
        self._observer.emit(CredentialRested(provider, label, status, cooldown))

    def report(self) -> dict[str, dict[str, object]]:
        """Every known target's state, for the operator: `explain`, `/healthz` details, the console."""
        now = self._clock.monotonic()
        return {
            target: {
                "state": self._state(target, record, now),
                "consecutive_failures": record.consecutive,
                "recent_failures": record.recent.bit_count(),
                "recent_requests": record.samples,
                "busy": record.busy,
                "latency_ms": round(record.latency_ms, 3),
                "retry_in_s": round(max(0.0, record.ejected_until - now), 3),
                "ejected_s": round(now - record.ejected_at, 3) if target in self._ejected else 0.0,
                "on_trial": record.on_trial,
            }
            for target, record in sorted(self._records.items())
        }

    def _state(self, target: str, record: _Record, now: float) -> str:
        if target not in self._ejected:
            return "up"
        return "half_open" if record.ejected_until <= now else "ejected"
