"""A process's limiter on a real server, as tests want it: keys of its own, a clock to move, and moments to wait for."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from redis.asyncio import Redis

from router.domain.limits import LimitScope
from router.domain.ports import Clock
from router.limits.redis import Mode, RedisLimiter
from router.limits.redis_batch import Names
from router.limits.redis_lanes import Lanes
from router.limits.redis_member import Settings
from router.limits.redis_scripts import Scripts
from router.system import SystemIds, SystemTasks
from tests.gateway.fakes import CollectingObserver, FakeClock

PATIENT_S = 5.0
"""A busy machine is no fault: only tests of faults are as impatient as the daemon."""

_prefixes = itertools.count()


def own_names() -> Names:
    """Keys that nobody else uses on a server that many tests share."""
    return Names(f"{{routerd}}:test:{os.getpid()}:{next(_prefixes)}")


def movable_clock(names: Names) -> Scripts:
    """The server's clock, as many microseconds ahead as the key `<prefix>:ahead` says."""
    return Scripts(
        f"""
        local function clock()
          local time = redis.call('TIME')
          return time[1] * 1000000 + time[2] + (tonumber(redis.call('GET', '{names.prefix}:ahead')) or 0)
        end
        """
    )


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.002)


class Replica:
    """One process of several, in one: a limiter with connections, tasks and clock of its own."""

    def __init__(
        self,
        url: str,
        names: Names,
        *,
        live: int = 1,
        pool_size: int = 4,
        settings: Settings | None = None,
        scripts: Scripts | None = None,
        timeout_s: float = PATIENT_S,
        clock: Clock | None = None,
    ) -> None:
        self.names = names
        self.live = live
        self.observer = CollectingObserver()
        self.clock = FakeClock()
        self.tasks = SystemTasks(self.observer)
        self.jobs = SystemTasks(self.observer)
        self.limiter = RedisLimiter(
            Lanes(url, pool_size, timeout_s=timeout_s),
            clock or self.clock,
            SystemIds(),
            self.tasks,
            self.observer,
            live_processes=lambda: self.live,
            settings=replace(settings or Settings(), names=names, scripts=scripts or movable_clock(names)),
        )
        self.redis = Redis.from_url(url)

    @classmethod
    @asynccontextmanager
    async def at(
        cls, url: str, names: Names | None = None, *, live: int = 1, pool_size: int = 4, settings: Settings | None = None
    ) -> AsyncIterator["Replica"]:
        """A replica that has joined; closed at the end."""
        replica = cls(url, names or own_names(), live=live, pool_size=pool_size, settings=settings)
        async with replica.running():
            yield replica

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Joined before, closed after."""
        self.start()
        try:
            await self.joined()
            yield
        finally:
            await self.stop()

    def start(self) -> None:
        self.jobs.spawn(self.limiter.run(), name="limiter")

    async def joined(self, within_s: float = 5.0) -> None:
        await until(lambda: self.limiter.mode is Mode.SHARED, within_s)

    async def settled(self) -> None:
        await until(lambda: not self.limiter._settled and not self.limiter._under_way)

    async def idle(self) -> None:
        """No task that was begun for a request is left."""
        await until(lambda: not self.tasks._running)

    async def pass_(self, seconds: float) -> None:
        self.clock.pass_(seconds)
        await self.redis.incrby(f"{self.names.prefix}:ahead", int(seconds * 1e6))

    def in_flight(self, subject: str = "k", scope: LimitScope = LimitScope.KEY) -> int:
        return self.limiter.in_flight(scope, subject)

    async def die(self) -> None:
        """What `kill -9` leaves behind: no heartbeat, no goodbye."""
        await self.jobs.stop()
        await self.tasks.stop()
        self.limiter._lanes.drop()

    async def stop(self) -> None:
        await self.jobs.stop()
        await self.limiter.close()
        await self.tasks.stop()
        await self.redis.aclose()
