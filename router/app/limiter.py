"""What counts the limits of one process: Redis together with the others where `redis.url` is set, else its own memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.app.instruments import Instruments
from router.config.schema import RedisConfig
from router.domain.ports import Limiter, Pinger
from router.limits.memory import MemoryLimiter
from router.system import SystemTasks


class LimiterRefused(Exception):
    """`redis.url` cannot be used at all; a Redis that cannot be reached is no reason not to start."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`start` spawns what must run while requests are served; `close` comes when none is left."""

    limiter: Limiter
    pingers: tuple[Pinger, ...]
    start: Callable[[SystemTasks], None]
    close: Callable[[], Awaitable[None]]


def limits_of(config: RedisConfig, instruments: Instruments, live_processes: Callable[[], int]) -> Limits:
    """Raises LimiterRefused."""
    if not config.url:
        return Limits(MemoryLimiter(instruments.clock), (), lambda jobs: None, _nothing)
    from router.limits.redis import RedisLimiter
    from router.limits.redis_lanes import Lanes

    try:
        lanes = Lanes(config.url, config.pool_size)
    except ValueError:
        # The driver's text may quote the URL, and a password in it.
        raise LimiterRefused(
            "redis.url: found a URL that cannot be used; expected redis://user:password@host:6379/0"
        ) from None
    limiter = RedisLimiter(
        lanes,
        instruments.clock,
        instruments.ids,
        instruments.tasks,
        instruments.observer,
        live_processes=live_processes,
    )
    return Limits(limiter, (limiter,), lambda jobs: jobs.spawn(limiter.run(), name="shared limits"), limiter.close)


async def _nothing() -> None:
    """Memory needs no closing."""
