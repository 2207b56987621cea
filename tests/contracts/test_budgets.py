"""What the budgets' rows must do on both engines: limits are kept, nothing leaks, answers that were lost are made good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from router.domain.budgets import Budget, BudgetScope, Lease, Period, Standing, period_at
from router.domain.errors import StorageUnavailable
from router.domain.usage import NanoUSD
from router.storage.budgets import BudgetRows
from router.storage.database import Database, Transaction, unavailable
from router.storage.instances import LIVE_FOR_US, Instances
from tests.contracts.processes import StillClock
from tests.stores import NOW

DAY_US = 86_400_000_000
MONTH = period_at("calendar_month", "UTC", NOW)
TENANT = Budget(BudgetScope.TENANT, "t1", NanoUSD(1_000))


class LosesAnswers:
    """A database whose next commit goes through, while the word of it is lost."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.is_losing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self._db.tx() as tx:
            yield tx
        if self.is_losing:
            self.is_losing = False
            raise unavailable("the connection was lost")


def rows(db: Any, instance: str = "a") -> BudgetRows:
    return BudgetRows(cast(Database, db), instance, StillClock())


async def leased(store: BudgetRows, need: int, *, processes: int = 1, period: Period = MONTH) -> int:
    lease = await store.take(TENANT, period, need, processes)
    assert isinstance(lease, Lease), lease
    return lease.amount


async def remaining(db: Database, instance: str = "a", period: Period = MONTH) -> int:
    """What is left of one lease, which must be what its budget's row says when there is no other."""
    row = await db.one("SELECT remaining_nano FROM leases WHERE instance = $1 AND period = $2", instance, period.key)
    return 0 if row is None else int(row["remaining_nano"])


async def test_a_lease_is_a_twentieth_of_what_remains_shared_by_the_live_processes(db: Database) -> None:
    lease = await rows(db).take(TENANT, MONTH, 1, 1)
    assert lease == Lease(NanoUSD(50), Standing(NanoUSD(0), NanoUSD(50)))
    assert await leased(rows(db, "b"), 1, processes=2) == 23
    assert await rows(db).standing(TENANT, MONTH) == Standing(NanoUSD(0), NanoUSD(73))


async def test_a_need_beyond_the_share_is_met_exactly_up_to_the_last_nano(db: Database) -> None:
    store = rows(db)
    assert await leased(store, 990) == 990
    assert await leased(store, 10) == 10
    assert await store.take(TENANT, MONTH, 1, 1) == Standing(NanoUSD(0), NanoUSD(1_000))


async def test_a_refusal_takes_nothing(db: Database) -> None:
    store = rows(db)
    assert await store.take(TENANT, MONTH, 1_001, 1) == Standing(NanoUSD(0), NanoUSD(0))
    assert await store.take(TENANT, MONTH, 2**62, 1) == Standing(NanoUSD(0), NanoUSD(0))
    assert await leased(store, 1_000) == 1_000


async def test_a_lowered_limit_refuses_and_changes_nothing_that_was_taken(db: Database) -> None:
    store = rows(db)
    await leased(store, 600)
    lowered = replace(TENANT, limit=NanoUSD(500))
    assert await store.take(lowered, MONTH, 1, 1) == Standing(NanoUSD(0), NanoUSD(600))
    assert await leased(store, 400) == 400


async def test_each_period_starts_from_nothing(db: Database) -> None:
    store = rows(db)
    await leased(store, 1_000)
    following = period_at("calendar_month", "UTC", NOW + 31 * DAY_US)
    assert await leased(store, 1_000, period=following) == 1_000


async def test_a_rolling_window_counts_its_days_and_forgets_those_before(db: Database) -> None:
    store = rows(db)
    days = [period_at("rolling_3d", "UTC", NOW + day * DAY_US) for day in range(4)]
    assert await leased(store, 400, period=days[0]) == 400
    assert await leased(store, 500, period=days[1]) == 500
    assert await store.take(TENANT, days[2], 101, 1) == Standing(NanoUSD(0), NanoUSD(900))
    assert await leased(store, 100, period=days[2]) == 100
    assert await leased(store, 400, period=days[3]) == 400
    assert await store.standing(TENANT, days[3]) == Standing(NanoUSD(0), NanoUSD(1_000))


async def test_what_is_given_back_can_be_taken_by_another(db: Database) -> None:
    one, other = rows(db, "a"), rows(db, "b")
    await leased(one, 1_000)
    await one.give_back(TENANT.id, MONTH.key, 300)
    assert await leased(other, 300) == 300
    assert (await remaining(db, "a"), await remaining(db, "b")) == (700, 300)


async def test_no_more_is_given_back_than_the_lease_has_left(db: Database) -> None:
    one, other = rows(db, "a"), rows(db, "b")
    await leased(one, 100)
    await leased(other, 100)
    await one.give_back(TENANT.id, MONTH.key, 150)
    await one.give_back("tenant:nobody", MONTH.key, 5)
    assert await one.standing(TENANT, MONTH) == Standing(NanoUSD(0), NanoUSD(100))
    assert await remaining(db, "a") == 0


async def test_a_refused_process_asks_those_who_hold_something_and_each_is_told_once(db: Database) -> None:
    one, other = rows(db, "a"), rows(db, "b")
    await leased(one, 900)
    assert await one.wanted() == []
    assert isinstance(await other.take(TENANT, MONTH, 200, 2), Standing)
    assert await one.wanted() == [(TENANT.id, MONTH.key)]
    assert await one.wanted() == []
    assert await other.wanted() == []


async def test_a_process_does_not_ask_itself(db: Database) -> None:
    one, other = rows(db, "a"), rows(db, "b")
    await leased(one, 500)
    await leased(other, 400)
    assert isinstance(await one.take(TENANT, MONTH, 200, 2), Standing)
    assert await one.wanted() == []
    assert await other.wanted() == [(TENANT.id, MONTH.key)]


async def test_who_is_refused_while_nobody_holds_anything_writes_nothing(db: Database) -> None:
    store = rows(db)
    await store.take(TENANT, MONTH, 2_000, 1)
    row = await db.one("SELECT wanted FROM budget_periods")
    assert row is not None
    assert row["wanted"] == 0


async def test_days_of_a_rolling_window_are_asked_back_too(db: Database) -> None:
    one, other = rows(db, "a"), rows(db, "b")
    yesterday, today = (period_at("rolling_7d", "UTC", NOW + day * DAY_US) for day in (0, 1))
    await leased(one, 1_000, period=yesterday)
    assert isinstance(await other.take(TENANT, today, 1, 2), Standing)
    assert await one.wanted() == [(TENANT.id, yesterday.key)]


async def test_a_take_whose_answer_was_lost_is_handed_out_by_the_next_one(db: Database) -> None:
    losing = LosesAnswers(db)
    store = rows(losing)
    losing.is_losing = True
    with pytest.raises(StorageUnavailable):
        await store.take(TENANT, MONTH, 300, 1)
    assert await remaining(db) == 300
    assert await leased(store, 200) == 300
    losing.is_losing = True
    with pytest.raises(StorageUnavailable):
        await store.take(TENANT, MONTH, 100, 1)
    assert await leased(store, 150) == 150
    assert await remaining(db) == 450


async def test_a_return_whose_answer_was_lost_is_not_made_twice(db: Database) -> None:
    losing = LosesAnswers(db)
    store = rows(losing)
    await leased(store, 500)
    losing.is_losing = True
    with pytest.raises(StorageUnavailable):
        await store.give_back(TENANT.id, MONTH.key, 200)
    await store.wanted()
    await store.give_back(TENANT.id, MONTH.key, 100)
    assert await remaining(db) == 200


async def test_a_return_that_did_not_arrive_is_made_by_the_next_look_for_wishes(db: Database) -> None:
    class Away(LosesAnswers):
        @asynccontextmanager
        async def tx(self) -> AsyncIterator[Transaction]:
            if self.is_losing:
                raise unavailable("the database is away")
            async with self._db.tx() as tx:
                yield tx

    away = Away(db)
    store = rows(away)
    await leased(store, 500)
    away.is_losing = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await store.give_back(TENANT.id, MONTH.key, 100)
    away.is_losing = False
    assert await remaining(db) == 500
    await store.wanted()
    assert await remaining(db) == 300


async def test_cancelled_at_any_step_a_take_leaks_nothing(db: Database) -> None:
    store = rows(db)
    known = 0
    for turns in range(30):
        task = asyncio.create_task(store.take(TENANT, MONTH, 7, 100))
        for _ in range(turns):
            await asyncio.sleep(0.0003 if turns % 2 else 0)
        task.cancel()
        [answer] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(answer, Lease | asyncio.CancelledError)
        known += answer.amount if isinstance(answer, Lease) else 0
    known += await leased(store, 7, processes=100)
    assert await remaining(db) == known


async def test_takes_side_by_side_are_told_apart_from_lost_ones(db: Database) -> None:
    store = rows(db)
    answers = await asyncio.gather(*(store.take(TENANT, MONTH, 30, 100) for _ in range(20)))
    assert sum(answer.amount for answer in answers if isinstance(answer, Lease)) == await remaining(db) == 600


async def test_a_take_whose_answer_is_only_slow_is_not_handed_out_twice(db: Database) -> None:
    class Slow(LosesAnswers):
        arrived, may_answer = asyncio.Event(), asyncio.Event()

        @asynccontextmanager
        async def tx(self) -> AsyncIterator[Transaction]:
            async with self._db.tx() as tx:
                yield tx
            if not self.arrived.is_set():
                self.arrived.set()
                await self.may_answer.wait()

    slow = Slow(db)
    store = rows(slow)
    first = asyncio.create_task(leased(store, 300))
    await slow.arrived.wait()
    assert await leased(store, 200) == 200
    slow.may_answer.set()
    assert await first == 300


async def test_a_lease_that_was_ended_and_made_anew_owes_nothing_for_the_old_one(db: Database) -> None:
    store = rows(db)
    await leased(store, 500)
    await store.give_back(TENANT.id, MONTH.key, 400)
    await rows(db, "b").settle_instance("a")
    await leased(store, 300)
    await store.give_back(TENANT.id, MONTH.key, 50)
    assert await remaining(db) == 250


async def test_a_renewed_lease_says_so_and_is_otherwise_the_same(db: Database) -> None:
    clock = StillClock()
    store = BudgetRows(db, "a", clock)
    await leased(store, 10)
    clock.now += 5
    assert await store.renew(TENANT, MONTH)
    [row] = await db.all("SELECT taken_at, renewed_at, remaining_nano FROM leases")
    assert (row["taken_at"], row["renewed_at"], row["remaining_nano"]) == (NOW, NOW + 5, 50)


async def test_a_lease_that_is_gone_or_that_its_budget_does_not_admit_any_more_is_not_renewed(db: Database) -> None:
    store = rows(db)
    assert not await store.renew(TENANT, MONTH)
    await leased(store, 600)
    await leased(rows(db, "b"), 400)
    assert await store.renew(TENANT, MONTH)
    assert not await store.renew(replace(TENANT, limit=NanoUSD(999)), MONTH)
    await rows(db, "b").settle_instance("a")
    assert not await store.renew(TENANT, MONTH)


async def test_a_rolling_window_s_lease_is_renewed_while_all_its_days_fit(db: Database) -> None:
    store = rows(db)
    days = [period_at("rolling_3d", "UTC", NOW + day * DAY_US) for day in range(2)]
    await leased(store, 600, period=days[0])
    await leased(store, 400, period=days[1])
    assert await store.renew(TENANT, days[1])
    assert not await store.renew(replace(TENANT, limit=NanoUSD(999)), days[1])


async def test_settling_an_instance_returns_all_it_holds_and_forgets_it(db: Database) -> None:
    store, clock = rows(db), StillClock()
    await Instances(db, clock).sign("a", "host", 1)
    await leased(store, 500)
    await leased(store, 50, period=period_at("daily", "UTC", NOW))
    await leased(rows(db, "b"), 5)
    assert await store.settle_instance("a") == 550
    assert await store.settle_instance("a") == 0
    assert await store.standing(TENANT, MONTH) == Standing(NanoUSD(0), NanoUSD(25))
    assert await Instances(db, clock).live() == []
    assert await leased(store, 900) == 900
    await store.give_back(TENANT.id, MONTH.key, 1)
    assert await remaining(db) == 899


async def test_processes_are_live_while_they_sign(db: Database) -> None:
    clock = StillClock()
    instances = Instances(db, clock)
    await instances.sign("a", "one", 1)
    clock.now += LIVE_FOR_US
    await instances.sign("b", "two", 2)
    await instances.sign("b", "two", 2)
    assert [(live.id, live.host, live.pid, live.started_at) for live in await instances.live()] == [
        ("a", "one", 1, NOW),
        ("b", "two", 2, clock.now),
    ]
    clock.now += 1
    assert [live.id for live in await instances.live()] == ["b"]
    await instances.leave("b")
    assert await instances.live() == []
