"""Ejection, trials and resting credentials, on a clock of our own."""

from router.domain.observations import TargetEjected, TargetRecovered
from router.domain.routes import ALL_WELL, HealthView, Strategy
from router.gateway.health import Health
from tests.gateway.fakes import CollectingObserver, FakeClock
from tests.gateway.table import alias


class Ward:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.observer = CollectingObserver()
        self.health = Health(self.clock, self.observer)

    def call(self, target: str, ok: bool) -> None:
        trial = self.health.started(target)
        if ok:
            self.health.answered(target, 10.0, was_trial=trial)
            return
        self.health.ended(target, was_trial=trial)
        self.health.failed(target, "HTTP 500")

    def view(self, *providers: str) -> HealthView:
        return self.health.view(alias("a", *providers), [f"{p}/m" for p in providers])


def test_all_is_well_until_something_fails_often() -> None:
    ward = Ward()
    for _ in range(4):
        ward.call("p/m", ok=False)
    assert ward.view("p", "q") is ALL_WELL


def test_five_failures_in_a_row_eject() -> None:
    ward = Ward()
    for _ in range(5):
        ward.call("p/m", ok=False)
    assert ward.view("p", "q").ejected == {"p/m"}
    assert [e.target for e in ward.observer.of(TargetEjected)] == ["p/m"]


def test_more_than_half_of_the_last_requests_eject() -> None:
    ward = Ward()
    for ok in (True, False, False, True, False):
        ward.call("p/m", ok)
    assert ward.view("p", "q").ejected == {"p/m"}


def test_failures_older_than_the_window_are_forgotten() -> None:
    ward = Ward()
    for ok in [False, False, True, True, True] + [True] * 20 + [False] * 4:
        ward.call("p/m", ok)
    assert ward.view("p", "q") is ALL_WELL


def test_after_the_cooldown_one_request_tries_and_its_success_readmits() -> None:
    ward = Ward()
    for _ in range(5):
        ward.call("p/m", ok=False)
    ward.clock.pass_(30.0)
    assert ward.view("p", "q").trial == {"p/m"}
    trial = ward.health.started("p/m")
    assert trial and ward.view("p", "q").ejected == {"p/m"}
    ward.health.answered("p/m", 5.0, was_trial=trial)
    assert ward.view("p", "q") is ALL_WELL
    assert [e.target for e in ward.observer.of(TargetRecovered)] == ["p/m"]


def test_a_failed_trial_ejects_for_another_cooldown() -> None:
    ward = Ward()
    for _ in range(5):
        ward.call("p/m", ok=False)
    ward.clock.pass_(30.0)
    ward.call("p/m", ok=False)
    assert ward.view("p", "q").ejected == {"p/m"}


def test_a_trial_that_was_abandoned_may_be_tried_again() -> None:
    ward = Ward()
    for _ in range(5):
        ward.call("p/m", ok=False)
    ward.clock.pass_(30.0)
    trial = ward.health.started("p/m")
    ward.health.ended("p/m", was_trial=trial)
    assert ward.view("p", "q").trial == {"p/m"}


def test_the_last_target_is_kept_as_shaky() -> None:
    ward = Ward()
    for target in ("p/m", "q/m"):
        ward.clock.pass_(1.0)
        for _ in range(5):
            ward.call(target, ok=False)
    view = ward.view("p", "q")
    assert view.shaky == {"q/m"} and view.ejected == {"p/m"}


def test_a_retry_after_rests_a_target_at_once_for_a_minute_at_most() -> None:
    ward = Ward()
    ward.health.started("p/m")
    ward.health.failed("p/m", "HTTP 429", rest_s=3600.0)
    assert ward.view("p", "q").ejected == {"p/m"}
    ward.clock.pass_(60.0)
    assert ward.view("p", "q").trial == {"p/m"}


def test_a_dead_probe_ejects_and_a_living_one_opens_the_door() -> None:
    ward = Ward()
    ward.health.probed("p/m", False, "connect")
    assert ward.view("p", "q").ejected == {"p/m"}
    ward.health.probed("p/m", True, "HTTP 200")
    assert ward.view("p", "q").trial == {"p/m"}


def test_a_living_probe_does_not_shorten_an_ejection_that_requests_have_earned() -> None:
    ward = Ward()
    for _ in range(5):
        ward.call("p/m", ok=False)
    ward.health.probed("p/m", True, "HTTP 200")
    assert ward.view("p", "q").ejected == {"p/m"}


def test_watching_strategies_see_load_and_latency() -> None:
    ward = Ward()
    ward.health.started("p/m")
    view = ward.health.view(alias("a", "p", "q", strategy=Strategy.LEAST_BUSY), ["p/m", "q/m"])
    assert view.busy == {"p/m": 1}


def test_credentials_rest_and_come_back() -> None:
    ward = Ward()
    ward.health.rest_credential("p", "one", 429, 7.0)
    assert ward.health.resting("p") == {"one"}
    ward.clock.pass_(7.1)
    assert ward.health.resting("p") == frozenset()
