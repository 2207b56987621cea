"""Five minutes of a target: counts slide, percentiles are exact to 2 %."""

import random

import pytest

from router.alerts.window import SPAN_S, TargetWindow


def test_counts_are_those_of_the_last_five_minutes() -> None:
    window = TargetWindow()
    for second in range(600):
        window.note(float(second), None if second % 4 == 0 else 1000)
    total, failed = window.counts(599.0)
    assert SPAN_S - 10 <= total <= SPAN_S
    assert failed == pytest.approx(total / 4, abs=1)
    assert window.counts(599.0 + 2 * SPAN_S) == (0, 0)
    assert window.p95_us(599.0 + 2 * SPAN_S) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_percentile_is_exact_to_two_percent(seed: int) -> None:
    draw = random.Random(seed)
    durations = [int(draw.lognormvariate(13, 1.5)) + 1 for _ in range(draw.randrange(1, 2000))]
    window = TargetWindow()
    for duration in durations:
        window.note(draw.uniform(1000, 1200), duration)
    exact = sorted(durations)[-(-len(durations) * 95 // 100) - 1]
    assert window.p95_us(1200.0) == pytest.approx(exact, rel=0.021)


def test_failures_have_no_duration() -> None:
    window = TargetWindow()
    window.note(0.0, None)
    assert (window.counts(0.0), window.p95_us(0.0)) == ((1, 1), 0)
