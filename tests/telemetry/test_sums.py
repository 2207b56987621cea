"""What several workers tell becomes one scrape: counts add up, never fall, and what cannot be added is chosen."""

from collections.abc import Iterator, Mapping

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from router.telemetry.metrics import Metrics
from router.telemetry.series import Histogram, counter, gauge, histogram
from router.telemetry.sums import GREATEST, LEAST, WorkerMetrics, packed
from tests.gateway.fakes import FakeClock

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
READY = {"ready": 2}


class Told:
    """One worker's metrics; `durations` are microseconds."""

    def __init__(
        self,
        *,
        requests: float = 0,
        inflight: float = 0,
        durations: tuple[int, ...] = (),
        gauges: Mapping[str, float] | None = None,
    ) -> None:
        self._requests = requests
        self._inflight = inflight
        self._durations = Histogram((10_000, 1_000_000))
        for duration in durations:
            self._durations.observe(duration)
        self._gauges = gauges or {}

    def collect(self) -> Iterator[Metric]:
        yield counter("routerd_requests_total", "Requests.", ("alias",), [(("a",), self._requests)])
        yield gauge("routerd_inflight_requests", "Now.", (), [((), self._inflight)])
        yield histogram("routerd_request_duration_seconds", "Time.", ("alias",), [(("a",), self._durations)])
        for name, value in self._gauges.items():
            yield gauge(name, name, (), [((), value)])

    @property
    def packed(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        return packed(registry)


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def requests(text: bytes) -> float:
    return samples(text)["routerd_requests_total", (("alias", "a"),)]


def test_counters_histograms_and_gauges_of_work_are_sums() -> None:
    metrics = WorkerMetrics()
    metrics.heard(0, Told(requests=3, inflight=2, durations=(5_000, 500_000)).packed)
    metrics.heard(1, Told(requests=4, inflight=1, durations=(5_000, 5_000_000)).packed)
    found = samples(metrics.render([0, 1], READY, 0))
    a = ("alias", "a")
    assert found["routerd_requests_total", (a,)] == 7
    assert found["routerd_inflight_requests", ()] == 3
    assert [found["routerd_request_duration_seconds_bucket", (a, ("le", le))] for le in ("0.01", "1.0", "+Inf")] == [2, 3, 4]
    assert found["routerd_request_duration_seconds_count", (a,)] == 4
    assert found["routerd_request_duration_seconds_sum", (a,)] == pytest.approx(5.51)


@pytest.mark.parametrize(("names", "chosen"), [(LEAST, 0.0), (GREATEST, 1.0)])
def test_what_cannot_be_added_is_the_worst_or_anybody_s(names: frozenset[str], chosen: float) -> None:
    metrics = WorkerMetrics()
    metrics.heard(0, Told(gauges=dict.fromkeys(names, 1.0)).packed)
    metrics.heard(1, Told(gauges=dict.fromkeys(names, 0.0)).packed)
    found = samples(metrics.render([0, 1], READY, 0))
    assert {name: found[name, ()] for name in names} == dict.fromkeys(names, chosen)


def test_a_silent_worker_s_counts_stay_and_its_gauges_go() -> None:
    metrics = WorkerMetrics()
    metrics.heard(0, Told(requests=3, inflight=2).packed)
    metrics.heard(1, Told(requests=4, inflight=1).packed)
    found = metrics.render([0], {"ready": 1, "silent": 1}, 0)
    assert (requests(found), samples(found)["routerd_inflight_requests", ()]) == (7, 2)
    assert samples(found)["routerd_workers", (("state", "silent"),)] == 1


def test_no_sum_falls_when_a_worker_dies_and_its_successor_counts_from_zero() -> None:
    metrics = WorkerMetrics()
    metrics.heard(0, Told(requests=3).packed)
    metrics.heard(1, Told(requests=4, inflight=9).packed)
    metrics.ended(1)
    found = metrics.render([0], {"ready": 1, "down": 1}, 1)
    assert (requests(found), samples(found)["routerd_inflight_requests", ()]) == (7, 0)
    assert samples(found)["routerd_worker_restarts_total", ()] == 1
    metrics.heard(1, Told(requests=1).packed)
    assert requests(metrics.render([0, 1], READY, 1)) == 8
    metrics.ended(1)
    metrics.ended(1)
    assert requests(metrics.render([0], READY, 2)) == 8


def test_one_worker_s_own_metrics_survive_the_way_unchanged() -> None:
    own, metrics = Metrics(FakeClock(), "1.2.3"), WorkerMetrics()
    own.observe_loop_lag(0.02)
    metrics.heard(0, own.pack())
    plain, summed = samples(own.render()), samples(metrics.render([0], READY, 0))
    ours = {key: value for key, value in plain.items() if key[0].startswith("routerd_")}
    assert ours
    assert {key: summed.get(key) for key in ours} == ours
    assert set(plain) <= set(summed)
