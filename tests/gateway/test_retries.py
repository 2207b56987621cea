"""Classes of failure, waits that are clamped, and a budget that bounds a storm."""

import pytest

from router.domain.ledger import Outcome
from router.gateway.retries import RetryBudget, Verdict, backoff_s, clamped, verdict_of
from router.providers.refusals import Cause
from tests.gateway.fakes import FakeClock


@pytest.mark.parametrize(
    ("asked", "seconds"), [(5.0, 5.0), (0.0, 0.0), (1e9, 60.0), (-3.0, 0.0), (float("inf"), 60.0), (None, None)]
)
def test_what_a_provider_asks_to_wait_is_clamped(asked: float | None, seconds: float | None) -> None:
    assert clamped(asked) == seconds


@pytest.mark.parametrize(
    ("cause", "verdict", "outcome"),
    [
        (Cause.RATE_LIMITED, Verdict.CREDENTIAL, Outcome.RATE_LIMITED),
        (Cause.QUOTA, Verdict.CREDENTIAL, Outcome.CREDENTIAL),
        (Cause.AUTH, Verdict.CREDENTIAL, Outcome.CREDENTIAL),
        (Cause.OVERLOADED, Verdict.RETRY, Outcome.SERVER_ERROR),
        (Cause.SERVER, Verdict.RETRY, Outcome.SERVER_ERROR),
        (Cause.BAD_REQUEST, Verdict.ANSWER, Outcome.REFUSED_UPSTREAM),
        (Cause.NOT_FOUND, Verdict.ANSWER, Outcome.REFUSED_UPSTREAM),
        (Cause.CONTEXT_WINDOW, Verdict.ANSWER, Outcome.REFUSED_UPSTREAM),
        (Cause.CONTENT_POLICY, Verdict.ANSWER, Outcome.REFUSED_UPSTREAM),
    ],
)
def test_only_what_is_not_the_requests_fault_goes_elsewhere(cause: Cause, verdict: Verdict, outcome: Outcome) -> None:
    assert verdict_of(cause) == (verdict, outcome)


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
        budget.request("a", clock.monotonic())
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
