"""What is observed of targets becomes alerts: once when it begins, once when it ends, nothing in between."""

from dataclasses import dataclass, field

import pytest

from router.alerts.watch import MIN_REQUESTS, TargetWatch
from router.config.snapshot import HealthSettings
from router.domain.alerts import Alert, ErrorRate, Latency, TargetDown, TargetUp
from router.domain.ledger import Outcome
from router.domain.observations import RequestsFinished, TargetEjected, TargetRecovered
from tests.gateway.fakes import FakeClock
from tests.telemetry.entries import attempt, entry

DOWN, UP = TargetEjected("a/b", "HTTP 500", 30.0), TargetRecovered("a/b")


@dataclass
class Desk:
    """A watch and who it notifies; `is_heard` False stands for a cool-down."""

    bounds: HealthSettings = field(default_factory=HealthSettings)
    is_heard: bool = True
    alerts: list[Alert] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.watch = TargetWatch(self.clock)
        self.watch.attach(self, lambda: self.bounds)
        self.watch.review()

    def notify(self, alert: Alert) -> None:
        if self.is_heard:
            self.alerts.append(alert)
            self.watch.told(alert)

    def requests(self, outcome: Outcome, count: int, duration_us: int = 1000, stream: bool = False) -> None:
        tries = (attempt(target="a/b", outcome=outcome, duration_us=duration_us, first_byte_us=500),)
        for _ in range(count):
            self.watch.emit(RequestsFinished([entry(attempts=tries, stream=stream)]))
        self.watch.review()


def test_down_and_up_are_told_when_they_happen() -> None:
    desk = Desk()
    desk.watch.emit(DOWN)
    assert desk.alerts == [TargetDown("a/b", "HTTP 500")]
    desk.watch.emit(UP)
    assert desk.alerts[1:] == [TargetUp("a/b")]
    desk.watch.review()
    assert len(desk.alerts) == 2


def test_a_target_still_down_when_the_cool_down_has_passed_is_told_then() -> None:
    desk = Desk(is_heard=False)
    desk.watch.emit(DOWN)
    desk.watch.review()
    desk.is_heard = True
    desk.watch.review()
    desk.watch.review()
    assert desk.alerts == [TargetDown("a/b", "HTTP 500")]


def test_a_failure_that_passed_during_the_cool_down_is_no_news_and_neither_is_its_end() -> None:
    desk = Desk(is_heard=False)
    desk.watch.emit(DOWN)
    desk.watch.emit(UP)
    desk.is_heard = True
    desk.watch.review()
    assert desk.alerts == []


def test_a_recovery_held_back_is_told_later() -> None:
    desk = Desk()
    desk.watch.emit(DOWN)
    desk.is_heard = False
    desk.watch.emit(UP)
    desk.is_heard = True
    desk.watch.review()
    assert desk.alerts == [TargetDown("a/b", "HTTP 500"), TargetUp("a/b")]


def test_too_many_failures_are_told_with_their_share() -> None:
    desk = Desk(HealthSettings(alert_error_ppm=200_000))
    desk.requests(Outcome.OK, 30)
    desk.requests(Outcome.TIMEOUT, 7)
    assert desk.alerts == []
    desk.requests(Outcome.SERVER_ERROR, 3)
    assert desk.alerts == [ErrorRate("a/b", 25.0, 20.0)]


def test_a_share_at_its_bound_and_a_handful_of_requests_are_no_news() -> None:
    desk = Desk(HealthSettings(alert_error_ppm=200_000))
    desk.requests(Outcome.RESET, MIN_REQUESTS - 1)
    assert desk.alerts == []
    desk.requests(Outcome.OK, 4 * (MIN_REQUESTS - 1))
    assert desk.alerts == []


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.FORCED, Outcome.REFUSED_UPSTREAM, Outcome.INTERNAL])
def test_what_is_not_the_targets_fault_does_not_count_against_it(outcome: Outcome) -> None:
    desk = Desk(HealthSettings(alert_error_ppm=10_000, alert_p95_us=10**9))
    desk.requests(Outcome.OK, 50)
    desk.requests(outcome, 50)
    assert desk.alerts == []


def test_a_slow_target_is_told_with_its_percentile() -> None:
    desk = Desk(HealthSettings(alert_p95_us=2_000_000))
    desk.requests(Outcome.OK, 90, duration_us=100_000)
    assert desk.alerts == []
    desk.requests(Outcome.OK, 10, duration_us=5_000_000)
    (alert,) = desk.alerts
    assert isinstance(alert, Latency)
    assert alert.p95_ms == pytest.approx(5000, rel=0.03)
    assert alert.bound == 2000


def test_a_stream_is_judged_by_its_first_byte() -> None:
    desk = Desk(HealthSettings(alert_p95_us=2_000_000))
    desk.requests(Outcome.OK, 50, duration_us=60_000_000, stream=True)
    assert desk.alerts == []


def test_nothing_is_measured_without_bounds() -> None:
    desk = Desk()
    desk.requests(Outcome.TIMEOUT, 1000)
    desk.bounds = HealthSettings(alert_error_ppm=1)
    desk.watch.review()
    assert desk.alerts == []
    desk.requests(Outcome.TIMEOUT, 100)
    assert len(desk.alerts) == 1


def test_before_it_is_attached_nothing_is_told_and_nothing_lost() -> None:
    watch, desk = TargetWatch(FakeClock()), Desk()
    watch.emit(DOWN)
    watch.attach(desk, HealthSettings)
    watch.review()
    assert desk.alerts == [TargetDown("a/b", "HTTP 500")]
