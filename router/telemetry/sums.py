"""Metrics of several processes as one text: counters and histograms add up, and never fall when a process has ended."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from router.telemetry.series import counter, gauge

LEAST = frozenset(
    {
        "process_max_fds",
        "process_start_time_seconds",
        "routerd_config_last_reload_timestamp_seconds",
        "routerd_config_reload_success",
        "routerd_target_up",
    }
)
"""Gauges of which the worst process counts. Those of neither set are sums."""

GREATEST = frozenset({"python_info", "routerd_build_info", "routerd_config_info", "routerd_limiter_degraded"})
"""Gauges that are 1 where anybody's is."""

_Labels = tuple[tuple[str, str], ...]


class Family(msgspec.Struct, array_like=True):
    """One metric of one process; a sample is its name, its labels and its value."""

    name: str
    kind: str
    documentation: str
    samples: list[tuple[str, dict[str, str], float]]

    @property
    def only_grows(self) -> bool:
        return self.kind in ("counter", "histogram", "summary")


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[Family]).decode


def packed(registry: CollectorRegistry) -> bytes:
    """Everything the registry's collectors say now, for `WorkerMetrics.heard`."""
    return _ENCODE(
        [
            Family(
                m.name, m.type, m.documentation, [(sample.name, dict(sample.labels), sample.value) for sample in m.samples]
            )
            for m in registry.collect()
        ]
    )


@dataclass(slots=True)
class _Sum:
    """One metric of all processes."""

    kind: str
    documentation: str
    samples: dict[tuple[str, _Labels], float] = field(default_factory=dict)


class Sums(Collector):
    """Families added up. Implements prometheus_client's Collector."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}

    def add(self, families: Iterable[Family]) -> None:
        for family in families:
            total = self._sums.setdefault(family.name, _Sum(family.kind, family.documentation))
            for name, labels, value in family.samples:
                key = name, tuple(labels.items())
                total.samples[key] = _joined(family, total.samples[key], value) if key in total.samples else value

    def collect(self) -> Iterator[Metric]:
        for name, total in self._sums.items():
            metric = Metric(name, total.documentation, total.kind)
            for (sample, labels), value in total.samples.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric

    def families(self) -> Iterator[Family]:
        for name, total in self._sums.items():
            samples = [(sample, dict(labels), value) for (sample, labels), value in total.samples.items()]
            yield Family(name, total.kind, total.documentation, samples)


def _joined(family: Family, one: float, other: float) -> float:
    if family.name in LEAST:
        return min(one, other)
    if family.name in GREATEST:
        return max(one, other)
    return one + other


class WorkerMetrics:
    """What the workers of one daemon have told, as one exposition text.

    Counters of a worker that is silent or has ended stay as it last told them: a sum that fell would look like a reset, and
    every rate over it would jump. Gauges are those of the workers that have answered.
    """

    def __init__(self) -> None:
        self._latest: dict[int, list[Family]] = {}
        self._ended = Sums()

    def heard(self, worker: int, told: bytes) -> None:
        """`told` is a worker's `packed`."""
        self._latest[worker] = _DECODE(told)

    def ended(self, worker: int) -> None:
        """Its process has ended; what comes from this worker next is another process's, from zero."""
        self._ended.add(family for family in self._latest.pop(worker, ()) if family.only_grows)

    def render(self, answered: Iterable[int], states: Mapping[str, int], restarts: int) -> bytes:
        """`answered`: the workers heard for this text; `states`: how many workers are in each."""
        sums, present = Sums(), frozenset(answered)
        for worker, families in self._latest.items():
            sums.add(families if worker in present else (f for f in families if f.only_grows))
        sums.add(self._ended.families())
        registry = CollectorRegistry()
        registry.register(sums)
        registry.register(_Crew(states, restarts))
        return generate_latest(registry)


class _Crew(Collector):
    def __init__(self, states: Mapping[str, int], restarts: int) -> None:
        self._states = states
        self._restarts = restarts

    def collect(self) -> Iterator[Metric]:
        return crew_families(self._states, self._restarts)


def crew_families(states: Mapping[str, int], restarts: int) -> Iterator[Metric]:
    """What the supervisor itself knows of its workers."""
    states_now = [((state,), float(count)) for state, count in states.items()]
    yield gauge("routerd_workers", "Workers, by whether they answered this scrape.", ("state",), states_now)
    yield counter("routerd_worker_restarts_total", "Workers started again.", (), [((), float(restarts))])
