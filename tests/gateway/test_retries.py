"""Classes of failure, Retry-After in all its spellings, and a budget that bounds a storm."""

import pytest

from router.gateway.retries import RetryBudget, backoff_s, retry_after_of
from tests.gateway.fakes import FakeClock

NOW_US = 1_750_000_000_000_000


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("1000000000", 60.0),
        ("-3", 0.0),
        ("Sun, 15 Jun 2025 15:06:50 GMT", 10.0),
        ("Sun, 15 Jun 2025 15:00:00 GMT", 0.0),
        ("garbage", None),
        ("nan", None),
        ("inf", 60.0),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_and_clamped(written: str | None, seconds: float | None) -> None:
    assert retry_after_of(written, NOW_US) == seconds


def test_back_off_is_full_jitter_under_a_cap() -> None:
    assert backoff_s(0, 0.0) == 0.0
    assert 0 < backoff_s(3, 0.999) <= 0.8
    assert backoff_s(1000, 1.0) == 2.0


def test_when_everything_fails_retries_stay_within_a_fifth_and_the_burst_in_any_ten_seconds() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock)
    taken: list[bool] = []
    for _ in range(200 * 30):
        clock.pass_(1 / 200)
        budget.request("a")
        taken.append(budget.take("a"))
    windows = [sum(taken[i : i + 2000]) for i in range(0, len(taken) - 2000, 97)]
    assert max(windows) <= 0.2 * 2200 + 20
    assert sum(taken) >= 0.2 * 5800


def test_budgets_of_aliases_are_apart_and_refill_with_time() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock)
    assert [budget.take("a") for _ in range(21)] == [True] * 20 + [False]
    assert budget.take("b")
    clock.pass_(10.0)
    assert budget.take("a")
