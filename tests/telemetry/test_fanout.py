"""One broken sink is noticed once and silences nobody."""

from router.domain.observations import Failure, Notice, Observation
from router.telemetry.fanout import Fanout
from tests.gateway.fakes import CollectingObserver

NOTICE = Notice("info", "started", "")


class Broken:
    def emit(self, observation: Observation) -> None:
        raise RuntimeError("no disk")


def test_every_sink_hears_everything_and_a_broken_one_is_reported_once() -> None:
    before, after = CollectingObserver(), CollectingObserver()
    fanout = Fanout([before, Broken(), after])
    for _ in range(3):
        fanout.emit(NOTICE)
    assert fanout.failures == {"Broken": 3}
    for sink in (before, after):
        assert len(sink.of(Notice)) == 3
        (failure,) = sink.of(Failure)
        assert (failure.where, "RuntimeError: no disk" in failure.traceback) == ("telemetry sink Broken", True)


def test_when_every_sink_is_broken_nothing_is_raised() -> None:
    fanout = Fanout([Broken(), Broken()])
    for _ in range(3):
        fanout.emit(NOTICE)
    assert fanout.failures["Broken"] >= 6
