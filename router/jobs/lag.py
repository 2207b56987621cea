"""How late the event loop runs what it promised: measured ten times a second, for next to nothing."""

from asyncio import sleep as real_sleep
from collections.abc import Awaitable, Callable

from router.domain.ports import Clock

INTERVAL_S = 0.1


class LoopLag:
    """Sleeps, and reports by how many seconds it woke too late."""

    def __init__(
        self,
        clock: Clock,
        report: Callable[[float], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = real_sleep,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._clock = clock
        self._report = report
        self._sleep = sleep
        self._interval_s = interval_s

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self.tick()

    async def tick(self) -> None:
        asleep_since = self._clock.monotonic()
        await self._sleep(self._interval_s)
        self._report(max(self._clock.monotonic() - asleep_since - self._interval_s, 0.0))
