"""A key is known as long as money is when the database is gone, is read anew when it is back, and nobody waits meanwhile."""

import asyncio
from typing import Any

import pytest

from router.config.snapshot import BudgetSettings
from router.domain.budgets import Budget, BudgetMode, BudgetScope, BudgetTerms
from router.domain.errors import InvalidApiKey, StorageUnavailable, TenantSuspended
from router.domain.identity import ApiKey, Member, Tenant, TenantStatus, digest_of
from router.domain.usage import NanoUSD
from router.gateway.authenticate import FRESH_S, VOUCH_S, VOUCHED_S, Authenticator
from router.gateway.purses import LEASE_S
from router.gateway.reach import RETRY_S, Reach
from tests.gateway.fakes import FakeClock, OneKey, snapshot

TENANT = Tenant("t1", "demo", TenantStatus.ACTIVE, ("*",))
KEY = ApiKey("k1", "t1", "ci", "p", digest_of("secret", b"d"))
PRESENTED = "sk-p.secret"
GONE = StorageUnavailable("the database is not available", hint="connection refused")


class Door:
    """An authenticator over one key, and what goes through it."""

    def __init__(self, key: ApiKey = KEY, tenant: Tenant = TENANT, **settings: Any) -> None:
        self.keys = OneKey(key, tenant)
        self.clock = FakeClock()
        self.reach = Reach(self.clock)
        self.snapshot = snapshot(**settings)
        self.authenticator = Authenticator(
            self.keys, self.clock, lambda secret: digest_of(secret, b"d"), b"c" * 16, reach=self.reach
        )

    async def enter(self, presented: str = PRESENTED) -> Any:
        return await self.authenticator.authenticate(self.snapshot, presented)

    async def enter_without_storage(self) -> Any:
        """Once known, then past its freshness with the database gone."""
        await self.enter()
        self.keys.failure = GONE
        self.clock.pass_(FRESH_S + 0.1)
        return await self.enter()


async def test_a_key_serves_as_long_as_a_lease_without_the_database_and_no_longer() -> None:
    door = Door()
    assert (await door.enter_without_storage()).key_id == "k1"
    door.clock.pass_(LEASE_S - FRESH_S - 1)
    assert (await door.enter()).key_id == "k1"
    door.clock.pass_(2)
    with pytest.raises(StorageUnavailable):
        await door.enter()


async def test_without_the_database_it_is_asked_twice_a_second_however_many_knock() -> None:
    door = Door()
    await door.enter_without_storage()
    asked = len(door.keys.lookups)
    for _ in range(1000):
        await door.enter()
    assert len(door.keys.lookups) == asked
    for _ in range(4):
        door.clock.pass_(RETRY_S)
        await asyncio.gather(*(door.enter() for _ in range(100)))
    assert len(door.keys.lookups) == asked + 4


async def test_nobody_waits_behind_the_one_who_asks_a_database_that_hangs() -> None:
    door = Door()
    await door.enter_without_storage()
    door.clock.pass_(RETRY_S)
    hanging: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def hang(prefix: str) -> Any:
        return await hanging

    door.keys.find_key = hang  # type: ignore[method-assign]  # the same store, in another state
    waiting = asyncio.create_task(door.enter())
    await asyncio.sleep(0)
    assert (await door.enter()).key_id == "k1"
    hanging.set_exception(GONE)
    assert (await waiting).key_id == "k1"


async def test_a_key_that_was_revoked_meanwhile_is_refused_within_half_a_second_of_the_database_s_return() -> None:
    door = Door()
    await door.enter_without_storage()
    door.keys.failure, door.keys.found = None, None
    door.clock.pass_(RETRY_S)
    with pytest.raises(InvalidApiKey):
        await door.enter()
    door.keys.failure = GONE
    door.clock.pass_(FRESH_S + 1)
    with pytest.raises(StorageUnavailable):
        await door.enter()


async def test_a_tenant_that_was_suspended_is_not_served_from_memory() -> None:
    door = Door()
    await door.enter()
    door.keys.found = (KEY, Tenant("t1", "demo", TenantStatus.SUSPENDED, ("*",)))
    door.clock.pass_(FRESH_S + 0.1)
    with pytest.raises(TenantSuspended):
        await door.enter()
    door.keys.failure = GONE
    with pytest.raises(StorageUnavailable):
        await door.enter()


async def test_an_unknown_key_is_unavailable_while_nobody_can_tell() -> None:
    door = Door()
    await door.enter_without_storage()
    for presented in ("sk-other.secret", "sk-p.wrong"):
        with pytest.raises(StorageUnavailable):
            await door.enter(presented)


async def test_a_configuration_that_comes_during_the_outage_applies_to_known_keys() -> None:
    door = Door()
    await door.enter_without_storage()
    door.snapshot = snapshot(budgets=BudgetSettings(NanoUSD(7)))
    assert [budget.limit for budget in (await door.enter()).budgets] == [7]
    assert await door.enter() is await door.enter()


async def test_what_is_to_be_forgotten_is_read_again_at_once() -> None:
    door = Door()
    await door.enter()
    door.keys.found = None
    assert (await door.enter()).key_id == "k1"
    door.authenticator.forget()
    with pytest.raises(InvalidApiKey):
        await door.enter()


async def test_a_key_is_read_once_in_ten_minutes_while_every_change_would_be_told() -> None:
    door = Door()
    await door.enter()
    for _ in range(int(VOUCHED_S / FRESH_S)):
        door.clock.pass_(FRESH_S)
        door.authenticator.vouch(0.5)
        await door.enter()
    assert len(door.keys.lookups) == 1
    door.clock.pass_(FRESH_S)
    door.authenticator.vouch(0.0)
    await door.enter()
    assert len(door.keys.lookups) == 2


async def test_a_key_is_read_again_within_five_seconds_once_nobody_vouches() -> None:
    door = Door()
    door.authenticator.vouch(1.0)
    await door.enter()
    door.clock.pass_(VOUCH_S - 1.0)
    await door.enter()
    assert len(door.keys.lookups) == 1
    door.clock.pass_(0.1)
    await door.enter()
    assert len(door.keys.lookups) == 2


async def test_a_change_that_is_told_counts_at_once_however_surely_it_was_vouched_for() -> None:
    door = Door()
    await door.enter()
    door.authenticator.vouch(0.0)
    door.authenticator.forget()
    await door.enter()
    assert len(door.keys.lookups) == 2


async def test_a_read_that_was_under_way_when_everything_was_to_be_forgotten_does_not_count() -> None:
    door = Door()
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    find = door.keys.find_key

    async def slow(prefix: str) -> Any:
        await answer
        return KEY, TENANT

    door.keys.find_key = slow  # type: ignore[method-assign]  # the same store, in another state
    waiting = asyncio.create_task(door.enter())
    await asyncio.sleep(0)
    door.authenticator.forget()
    answer.set_result(None)
    await waiting
    door.keys.find_key, door.keys.found = find, None  # type: ignore[method-assign]  # and back
    with pytest.raises(InvalidApiKey):
        await door.enter()


def of_member(**changes: Any) -> ApiKey:
    return ApiKey("k2", "t1", "hers", "p", KEY.digest, member=Member("u1", "ann@example.com", NanoUSD(5), **changes))


async def test_a_member_s_budget_is_named_by_tenant_and_account_and_has_the_file_s_terms() -> None:
    terms = BudgetTerms(BudgetMode.SOFT, "weekly")
    who = await Door(of_member(), budgets=BudgetSettings(terms=terms)).enter()
    assert who.member == "ann@example.com"
    assert who.budgets == (Budget(BudgetScope.MEMBER, "t1/u1", NanoUSD(5), terms, "ann@example.com", "t1", "demo"),)


async def test_the_key_of_somebody_who_is_no_longer_a_member_is_refused_as_any_unknown_one() -> None:
    with pytest.raises(InvalidApiKey, match="the API key is not valid"):
        await Door(of_member(is_active=False)).enter()
