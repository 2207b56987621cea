"""The event loop's lag is what a sleep took beyond its time."""

from router.jobs.lag import INTERVAL_S, LoopLag
from tests.gateway.fakes import FakeClock


async def test_lag_is_how_much_later_than_asked_the_loop_woke_us() -> None:
    clock, seen = FakeClock(), list[float]()
    late = iter([0.0, 0.25, -0.01])

    async def sleep(seconds: float) -> None:
        assert seconds == INTERVAL_S
        clock.pass_(seconds + next(late))

    lag = LoopLag(clock, seen.append, sleep=sleep)
    for _ in range(3):
        await lag.tick()
    assert [round(s, 6) for s in seen] == [0.0, 0.25, 0.0]
