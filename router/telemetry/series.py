"""Counters and histograms as plain integers: an increment is an addition, and text is made only when somebody scrapes."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

OTHER = "other"

Labels = tuple[str, ...]

LATENCY_BOUNDS_US = tuple(
    int(s * 1e6) for s in (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
)
SHORT_BOUNDS_US = tuple(int(s * 1e6) for s in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))


class LabelSet:
    """The values one label may take: those configured, or the first `cap` seen where none are; all else is "other".

    "" (there was none) is always allowed.
    """

    __slots__ = ("_cap", "_known")

    def __init__(self, known: Iterable[str] = (), *, cap: int = 0) -> None:
        self._known = {"", *known}
        self._cap = cap

    def configure(self, known: Iterable[str]) -> None:
        """Replace the configured values; series of values that are gone stay, they are facts of the past."""
        self._known = {"", *known}

    def admit(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) <= self._cap:
            self._known.add(value)
            return value
        return OTHER

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._known - {""}))


class Histogram:
    """Durations in microseconds, counted by upper bound."""

    __slots__ = ("_bounds", "_counts", "_sum_us")

    def __init__(self, bounds_us: Sequence[int] = LATENCY_BOUNDS_US) -> None:
        self._bounds = bounds_us
        self._counts = [0] * (len(bounds_us) + 1)
        self._sum_us = 0

    def observe(self, duration_us: int) -> None:
        self._counts[bisect_left(self._bounds, duration_us)] += 1
        self._sum_us += duration_us

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative (upper bound in seconds, count) pairs, and the sum in seconds."""
        total, pairs = 0, []
        for bound, count in zip((*self._bounds, None), list(self._counts), strict=True):
            total += count
            pairs.append(("+Inf" if bound is None else _seconds_text(bound), float(total)))
        return pairs, self._sum_us / 1e6


def _seconds_text(bound_us: int) -> str:
    return repr(bound_us / 1e6)


def counter(name: str, documentation: str, labels: Sequence[str], values: Iterable[tuple[Labels, float]]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def gauge(name: str, documentation: str, labels: Sequence[str], values: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def histogram(name: str, documentation: str, labels: Sequence[str], values: Iterable[tuple[Labels, Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for key, value in values:
        pairs, total = value.buckets()
        family.add_metric(key, pairs, total)
    return family
