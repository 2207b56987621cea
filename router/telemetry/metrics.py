"""Prometheus metrics: additions on the event loop, text in whichever thread scrapes. Labels come from configuration only."""

from collections.abc import Callable, Iterator
from platform import python_version
from typing import assert_never

from prometheus_client import CollectorRegistry, GCCollector, Metric, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from router.config.snapshot import Snapshot
from router.domain.observations import (
    ConfigRejected,
    ConfigReloaded,
    CredentialRested,
    Failure,
    LedgerFlushed,
    LedgerStalled,
    LimiterDegraded,
    LimiterRestored,
    Notice,
    Observation,
    ProbeFinished,
    RequestRefused,
    RequestReplayed,
    RequestsFinished,
    TargetEjected,
    TargetRecovered,
)
from router.domain.ports import Clock
from router.telemetry.request_metrics import RequestMetrics
from router.telemetry.series import SHORT_BOUNDS_US, Histogram, Labels, LabelSet, counter, gauge, histogram
from router.telemetry.sums import packed

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

Reading = Callable[[], float]


class Metrics(Collector):
    """Implements domain.ports.Observer. `render` is for a thread: it takes milliseconds and touches no event loop."""

    def __init__(self, clock: Clock, version: str) -> None:
        self._clock = clock
        self._version = version
        self._requests = RequestMetrics()
        self._readings: list[tuple[str, str, Reading]] = []
        self._providers = LabelSet()
        self._down: set[str] = set()
        self._ejections: dict[Labels, int] = {}
        self._probes: dict[Labels, int] = {}
        self._rests: dict[Labels, int] = {}
        self._replays = 0
        self._failures = 0
        self._fingerprint = ""
        self._reload_success = 1
        self._reloaded_at_us = clock.now_us()
        self._ledger_waiting = 0
        self._ledger_failures = 0
        self._ledger_flushes = Histogram(SHORT_BOUNDS_US)
        self._limiter_degraded = 0
        self._limiter_degradations = 0
        self._loop_lag = Histogram(SHORT_BOUNDS_US)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    def reconfigure(self, snapshot: Snapshot) -> None:
        """Allow the labels of this configuration; values of earlier ones are "other" from now on, their series stay."""
        aliases = [*snapshot.aliases.values(), *snapshot.wildcards]
        targets = {target.id for alias in aliases for target in alias.targets}
        self._requests.configure([alias.name for alias in aliases], snapshot.providers, targets)
        self._providers.configure(snapshot.providers)
        self._down &= targets
        self._fingerprint = snapshot.fingerprint
        self._reloaded_at_us = self._clock.now_us()

    def watch(self, name: str, documentation: str, read: Reading) -> None:
        """A value that is asked for at each scrape, in the scrape's thread; a counter if its name ends in `_total`."""
        self._readings.append((name, documentation, read))

    def observe_loop_lag(self, seconds: float) -> None:
        self._loop_lag.observe(int(seconds * 1e6))

    def render(self) -> bytes:
        """The exposition text, of type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def pack(self) -> bytes:
        """The same for `telemetry.sums`, which adds up what several processes say. For a thread, too."""
        return packed(self._registry)

    def emit(self, observation: Observation) -> None:
        match observation:
            case RequestsFinished():
                self._requests.finished(observation.entries)
            case RequestRefused():
                self._requests.refused(observation)
            case RequestReplayed():
                self._replays += 1
            case TargetEjected() | TargetRecovered() | ProbeFinished() | CredentialRested():
                self._emit_health(observation)
            case ConfigReloaded():
                self._reload_success = 1
                self._reloaded_at_us = self._clock.now_us()
            case ConfigRejected():
                self._reload_success = 0
            case LedgerFlushed(waiting=waiting, duration_us=duration_us):
                self._ledger_waiting = waiting
                self._ledger_flushes.observe(duration_us)
            case LedgerStalled(waiting=waiting):
                self._ledger_waiting = waiting
                self._ledger_failures += 1
            case LimiterDegraded() | LimiterRestored():
                self._limiter_degraded = int(isinstance(observation, LimiterDegraded))
                self._limiter_degradations += self._limiter_degraded
            case Failure():
                self._failures += 1
            case Notice():
                pass
            case _:
                assert_never(observation)

    def _emit_health(self, observation: TargetEjected | TargetRecovered | ProbeFinished | CredentialRested) -> None:
        match observation:
            case TargetEjected(target=target):
                target = self._requests.target(target)
                self._down.add(target)
                _add(self._ejections, (target,))
            case TargetRecovered(target=target):
                self._down.discard(target)
            case ProbeFinished(target=target, ok=ok):
                _add(self._probes, (self._requests.target(target), "ok" if ok else "failed"))
            case CredentialRested(provider=provider):
                _add(self._rests, (self._providers.admit(provider),))

    def collect(self) -> Iterator[Metric]:
        yield from self._requests.collect()
        yield from self._collect_health()
        yield from self._collect_process()
        for name, documentation, read in tuple(self._readings):
            make = counter if name.endswith("_total") else gauge
            yield make(name, documentation, (), _now(read))

    def describe(self) -> Iterator[Metric]:
        """Nothing: without it the registry would collect once just to learn names."""
        return iter(())

    def _collect_health(self) -> Iterator[Metric]:
        up = [((target,), 0.0 if target in self._down else 1.0) for target in self._requests.targets()]
        yield gauge("routerd_target_up", "1, or 0 while the target is ejected.", ("target",), up)
        yield counter("routerd_target_ejections_total", "Ejections.", ("target",), self._ejections.copy().items())
        yield counter("routerd_probes_total", "Health probes.", ("target", "result"), self._probes.copy().items())
        yield counter(
            "routerd_credential_rests_total",
            "Provider keys left out for a while because the provider refused them.",
            ("provider",),
            self._rests.copy().items(),
        )

    def _collect_process(self) -> Iterator[Metric]:
        build, config = (self._version, python_version()), (self._fingerprint,)
        yield gauge("routerd_build_info", "Always 1.", ("version", "python"), [(build, 1)])
        yield gauge("routerd_config_info", "Always 1; the configuration in force.", ("fingerprint",), [(config, 1)])
        yield _single("routerd_config_reload_success", "1 if the last reload was good, else 0.", self._reload_success)
        yield _single(
            "routerd_config_last_reload_timestamp_seconds",
            "When the configuration in force was last found good.",
            self._reloaded_at_us / 1e6,
        )
        yield _single("routerd_ledger_waiting", "Requests not yet in the database.", self._ledger_waiting)
        yield counter("routerd_ledger_failures_total", "Failed ledger writes.", (), [((), self._ledger_failures)])
        yield histogram("routerd_ledger_flush_seconds", "Ledger writes.", (), [((), self._ledger_flushes)])
        yield _single("routerd_limiter_degraded", "1 while limits are enforced without Redis.", self._limiter_degraded)
        yield counter(
            "routerd_limiter_degradations_total", "Times Redis was lost for limits.", (), [((), self._limiter_degradations)]
        )
        yield histogram("routerd_event_loop_lag_seconds", "How late the event loop was.", (), [((), self._loop_lag)])
        yield counter("routerd_idempotent_replays_total", "Kept answers told again.", (), [((), self._replays)])
        yield counter("routerd_internal_failures_total", "Errors of the daemon itself.", (), [((), self._failures)])


def _now(read: Reading) -> list[tuple[Labels, float]]:
    """The value, or none where it cannot be read: one bad reading must not cost the operator all the others."""
    try:
        return [((), float(read()))]
    except Exception:  # noqa: BLE001  a reading is a stranger's code
        return []


def _single(name: str, documentation: str, value: float) -> Metric:
    return gauge(name, documentation, (), [((), value)])


def _add(counts: dict[Labels, int], labels: Labels) -> None:
    counts[labels] = counts.get(labels, 0) + 1
