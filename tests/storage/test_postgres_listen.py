"""What PostgreSQL tells at once: who is told of what, and what happens when the connection that listens is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from router.domain.bootstrap import KeyItem, TenantItem
from router.domain.budgets import Budget, BudgetScope, Lease, Standing, period_at
from router.domain.observations import Notice, Observation
from router.domain.usage import NanoUSD
from router.storage.bootstrap import BootstrapSeals, apply_bootstrap
from router.storage.budgets import BudgetRows
from router.storage.keys import Keys
from router.storage.migrate import migrate
from router.storage.postgres import PostgresDatabase
from router.storage.postgres_listen import PostgresListener
from router.storage.tenants import Tenants
from router.system import SystemClock
from tests.servers import PostgresServer
from tests.stores import NOW, TENANT, CountingIds, key

BUDGET = Budget(BudgetScope.TENANT, "t1", NanoUSD(1_000))
MONTH = period_at("calendar_month", "UTC", NOW)
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'routerd listen' AND datname = current_database()"
SEALS = BootstrapSeals(lambda secret: f"digest of {secret}", b"k" * 32)


@dataclass
class Told:
    """Counts what was heard of, and lets a test wait for the next of it."""

    changes: int = 0
    wants: list[tuple[str, str, str]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    something: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        self.changes += 1
        self.something.set()

    def wanted(self, who: str, budget: str, period: str) -> None:
        self.wants.append((who, budget, period))
        self.something.set()

    def emit(self, observation: Observation) -> None:
        assert isinstance(observation, Notice)
        self.notices.append(observation)
        self.something.set()

    async def until(self, is_so: Callable[[], object], timeout_s: float = 20.0) -> float:
        """Wait until it is so; how many seconds that took."""
        began = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while not is_so():
                await self.something.wait()
                self.something.clear()
        return time.monotonic() - began


@asynccontextmanager
async def listening(db: PostgresDatabase, told: Told, **settings: Any) -> AsyncIterator[PostgresListener]:
    listener = PostgresListener(db, CountingIds(), told, changed=told.changed, wanted=told.wanted, **settings)
    running = asyncio.create_task(listener.run())
    try:
        yield listener
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(postgres_url)
    try:
        await migrate(opened, NOW)
        yield opened
    finally:
        await opened.close()


async def _bootstrap(db: PostgresDatabase) -> object:
    return await apply_bootstrap(
        db, [TenantItem("b"), KeyItem("b", "first", "first", "secret-of-the-tests")], SEALS, CountingIds(), NOW
    )


CHANGES: dict[str, Callable[[PostgresDatabase], Awaitable[object]]] = {
    "a key is made": lambda db: Keys(db).create(key(2)),
    "a key is revoked": lambda db: Keys(db).revoke("p1", NOW),
    "a tenant is made": lambda db: Tenants(db).create(replace(TENANT, id="t2", name="other"), NOW),
    "the file's bootstrap section is applied": _bootstrap,
    "somebody with psql": lambda db: db.run("UPDATE api_keys SET disabled = 1"),
    "a row is gone": lambda db: db.run("DELETE FROM api_keys"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_every_change_of_keys_and_tenants_is_told_once_it_is_committed(
    db: PostgresDatabase, change: Callable[[PostgresDatabase], Awaitable[object]]
) -> None:
    await Tenants(db).create(TENANT, NOW)
    await Keys(db).create(key(1))
    told = Told()
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        before = told.changes
        await change(db)
        assert await told.until(lambda: told.changes > before) < 2


async def _delete_and_fail(db: PostgresDatabase) -> None:
    async with db.tx() as tx:
        await tx.run("DELETE FROM api_keys")
        raise ZeroDivisionError


async def test_a_change_that_was_undone_is_not_told(db: PostgresDatabase) -> None:
    told = Told()
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        before = told.changes
        with pytest.raises(ZeroDivisionError):
            await _delete_and_fail(db)
        await db.one('SELECT pg_notify(\'routerd_wanted\', \'["a","b","c"]\')')
        await told.until(lambda: told.wants)
        assert told.changes == before


async def test_what_others_hold_is_asked_for_by_name_when_a_budget_is_refused(db: PostgresDatabase) -> None:
    told = Told()
    one, other = (BudgetRows(db, name, SystemClock()) for name in ("one", "other"))
    assert isinstance(await one.take(BUDGET, MONTH, 990, 1), Lease)
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        assert isinstance(await other.take(BUDGET, MONTH, 100, 1), Standing)
        took = await told.until(lambda: told.wants)
        assert told.wants == [("other", "tenant:t1", MONTH.key)]
    assert await one.wanted() == [("tenant:t1", MONTH.key)]
    assert await other.wanted() == []
    assert took < 2


async def test_a_refusal_that_nobody_could_help_is_kept_to_oneself(db: PostgresDatabase) -> None:
    told = Told()
    one, other = (BudgetRows(db, name, SystemClock()) for name in ("one", "other"))
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        assert isinstance(await one.take(BUDGET, MONTH, 1_001, 1), Standing)
        assert isinstance(await one.take(BUDGET, MONTH, 1_000, 1), Lease)
        assert isinstance(await other.take(BUDGET, MONTH, 1, 1), Standing)
        await told.until(lambda: told.wants)
    assert told.wants == [("other", "tenant:t1", MONTH.key)]


async def test_a_rolling_window_asks_those_who_hold_of_its_days(db: PostgresDatabase) -> None:
    told = Told()
    today, tomorrow = (period_at("rolling_3d", "UTC", NOW + day * 86_400_000_000) for day in range(2))
    one, other = (BudgetRows(db, name, SystemClock()) for name in ("one", "other"))
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        assert isinstance(await one.take(BUDGET, today, 600, 1), Lease)
        assert isinstance(await other.take(BUDGET, tomorrow, 500, 1), Standing)
        await told.until(lambda: told.wants)
    assert told.wants == [("other", "tenant:t1", today.key)]


async def test_what_others_write_to_the_channel_does_no_harm(db: PostgresDatabase) -> None:
    told = Told()
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        for payload in ("", "no JSON", "[1,2,3]", '["a"]', '{"a":1}'):
            await db.one("SELECT pg_notify('routerd_wanted', $1)", payload)
        await db.one("SELECT pg_notify('routerd_wanted', $1)", '["a","b","c"]')
        await told.until(lambda: told.wants)
        assert told.wants == [("a", "b", "c")]


async def test_a_connection_that_was_ended_comes_back_by_itself_and_all_is_read_again(db: PostgresDatabase) -> None:
    told = Told()
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        for loss in (1, 2):
            heard_before = told.changes
            await db.all(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS l")
            await told.until(lambda: not listener.is_heard)
            took = await told.until(lambda: listener.is_heard)
            assert told.changes > heard_before
            assert took < 5
            levels = [notice.level for notice in told.notices]
            assert levels == ["warning", "info"] * loss
        before = told.changes
        await db.run("DELETE FROM api_keys")
        await told.until(lambda: told.changes > before)
        assert len(await db.all(LISTENERS)) == 1


@pytest.mark.blocking
async def test_a_server_that_was_restarted_is_listened_to_again(restartable_postgres: PostgresServer) -> None:
    server, told = restartable_postgres, Told()
    db = await PostgresDatabase.open(server.url(), pool_size=3)
    try:
        await migrate(db, NOW)
        async with listening(db, told) as listener:
            await told.until(lambda: listener.is_heard)
            server.stop()
            await told.until(lambda: not listener.is_heard and told.notices)
            assert [notice.level for notice in told.notices] == ["warning"]
            server.start()
            await told.until(lambda: listener.is_heard)
            before = told.changes
            await db.run("DELETE FROM api_keys")
            await told.until(lambda: told.changes > before)
    finally:
        await db.close()


class Pooler:
    """A database whose pool leads elsewhere than the connection that listens: nothing sent through it is ever heard."""

    def __init__(self, db: PostgresDatabase, elsewhere: PostgresDatabase) -> None:
        self.apart = db.apart
        self.one = elsewhere.one


async def test_a_listener_that_nothing_reaches_says_so_and_is_not_relied_on(
    db: PostgresDatabase, postgres_server: Any
) -> None:
    told = Told()
    elsewhere = await PostgresDatabase.open(postgres_server.url(tcp=True))
    deaf: Any = Pooler(db, elsewhere)
    try:
        async with listening(deaf, told, pulse_wait_s=0.2) as listener:
            await told.until(lambda: told.notices)
            assert not listener.is_heard
            assert "pooler" in told.notices[0].message
            assert told.changes == 0
    finally:
        await elsewhere.close()


async def test_it_leaves_no_connection_behind(db: PostgresDatabase) -> None:
    told = Told()
    async with listening(db, told) as listener:
        await told.until(lambda: listener.is_heard)
        assert len(await db.all(LISTENERS)) == 1
    async with asyncio.timeout(10):
        while await db.all(LISTENERS):
            await asyncio.sleep(0.02)
