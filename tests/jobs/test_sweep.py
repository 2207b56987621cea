"""The sweep of idempotency keys: what is owed often, the table seldom, and a database that is away ends nothing."""

from router.domain.errors import StorageUnavailable
from router.jobs.sweep import SWEEP_EVERY, KeySweep


class CountedKeys:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_away = False

    async def pay(self) -> None:
        self.calls.append("pay")

    async def sweep(self) -> None:
        self.calls.append("sweep")
        if self.is_away:
            raise StorageUnavailable("away")


async def test_what_is_owed_is_paid_at_every_tick_and_the_table_is_swept_at_some() -> None:
    keys = CountedKeys()
    sweep = KeySweep(keys)
    for _ in range(2 * SWEEP_EVERY):
        await sweep.tick()
    assert (keys.calls.count("pay"), keys.calls.count("sweep")) == (2 * SWEEP_EVERY, 2)


async def test_a_database_that_is_away_is_asked_again_the_next_time() -> None:
    keys = CountedKeys()
    keys.is_away = True
    sweep = KeySweep(keys)
    for _ in range(2 * SWEEP_EVERY):
        await sweep.tick()
    assert keys.calls.count("sweep") == 2
