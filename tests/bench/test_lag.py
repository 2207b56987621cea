"""The lag of the event loop is read from what routerd itself renders, between two scrapes."""

import pytest

from bench.lag import Buckets, lag_buckets, pooled
from router.system import SystemClock
from router.telemetry.metrics import Metrics

INF = float("inf")


def scrape(metrics: Metrics) -> Buckets:
    return lag_buckets(metrics.render().decode())


def test_only_what_was_observed_between_two_scrapes_counts() -> None:
    metrics = Metrics(SystemClock(), "1.0")
    metrics.observe_loop_lag(2.0)
    before = scrape(metrics)
    for _ in range(99):
        metrics.observe_loop_lag(0.0005)
    metrics.observe_loop_lag(0.02)
    window = scrape(metrics) - before
    assert window.observations == 100
    assert window.quantile_ms(0.5) == pytest.approx(0.505, abs=0.01)
    assert window.quantile_ms(1.0) == pytest.approx(25)


def test_a_quantile_is_linear_within_its_bucket() -> None:
    assert Buckets([(0.01, 50), (0.02, 100), (INF, 100)]).quantile_ms(0.75) == pytest.approx(15)


def test_beyond_the_last_bound_the_bound_is_all_that_is_known() -> None:
    assert Buckets([(0.01, 1), (INF, 4)]).quantile_ms(0.99) == pytest.approx(10)


def test_without_observations_there_is_no_quantile() -> None:
    assert Buckets().quantile_ms(0.99) is None
    assert Buckets([(0.01, 0), (INF, 0)]).quantile_ms(0.99) is None


def test_windows_are_pooled_bound_by_bound() -> None:
    assert pooled([Buckets([(0.01, 1), (INF, 2)]), Buckets(), Buckets([(0.01, 3), (INF, 3)])]) == ((0.01, 4), (INF, 5))
