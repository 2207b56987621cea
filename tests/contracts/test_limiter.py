"""What every limiter must do, told once. A rig brings one implementation, its time, and the moment a settlement shows."""

from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from router.domain.limits import UNLIMITED, LimitRule, Limits, LimitScope, Refusal, Resource
from router.domain.ports import Limiter, Reservation
from router.limits.memory import MemoryLimiter
from tests.gateway.fakes import FakeClock
from tests.limits.redis_rig import Replica


class Rig(Protocol):
    limiter: Limiter

    async def pass_(self, seconds: float) -> None:
        """Let this much time go by, as the limiter sees it."""
        ...

    async def settled(self) -> None:
        """Return when every `settle` called so far has taken effect."""
        ...


class MemoryRig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.limiter: Limiter = MemoryLimiter(self.clock)

    async def pass_(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    async def settled(self) -> None:
        """In memory a settlement shows at once."""


class RedisRig:
    """Over a real server, whose clock is moved by the scripts that read it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.limiter: Limiter = replica.limiter

    async def pass_(self, seconds: float) -> None:
        await self._replica.pass_(seconds)

    async def settled(self) -> None:
        await self._replica.settled()


@pytest.fixture(params=["memory", "redis"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        yield MemoryRig()
        return
    async with Replica.at(request.getfixturevalue("redis_url")) as replica:
        yield RedisRig(replica)


def key(
    requests: int | None = None, tokens: int | None = None, parallel: int | None = None, *, subject: str = "k"
) -> LimitRule:
    return LimitRule(LimitScope.KEY, subject, Limits(requests, tokens, parallel))


def tenant(requests: int | None = None, tokens: int | None = None, parallel: int | None = None) -> LimitRule:
    return LimitRule(LimitScope.TENANT, "t", Limits(requests, tokens, parallel))


async def admitted(rig: Rig, *rules: LimitRule, tokens: int = 0) -> Reservation:
    decision = await rig.limiter.acquire(rules, tokens)
    assert not isinstance(decision, Refusal), decision
    return decision


async def refused(rig: Rig, *rules: LimitRule, tokens: int = 0) -> Refusal:
    decision = await rig.limiter.acquire(rules, tokens)
    assert isinstance(decision, Refusal), decision.allowance
    return decision


async def settle(rig: Rig, reservation: Reservation, tokens: int = 0) -> None:
    reservation.settle(tokens)
    await rig.settled()


async def test_without_rules_everything_is_admitted_and_nothing_is_promised(rig: Rig) -> None:
    assert (await admitted(rig, tokens=10**9)).allowance == UNLIMITED


async def test_a_minute_takes_as_many_requests_as_the_limit_and_no_more(rig: Rig) -> None:
    left = [(await admitted(rig, key(3))).allowance.remaining_requests for _ in range(3)]
    refusal = await refused(rig, key(3))
    assert left == [2, 1, 0]
    assert (refusal.scope, refusal.subject, refusal.resource, refusal.limit) == (LimitScope.KEY, "k", Resource.REQUESTS, 3)
    assert (refusal.allowance.limit_requests, refusal.allowance.remaining_requests) == (3, 0)
    assert 0 < refusal.retry_after_ms <= 61_000


async def test_whoever_comes_back_when_told_is_admitted(rig: Rig) -> None:
    await admitted(rig, key(2))
    await rig.pass_(20)
    await admitted(rig, key(2))
    wait_ms = (await refused(rig, key(2))).retry_after_ms
    assert 39_000 <= wait_ms <= 41_000
    await rig.pass_(wait_ms / 1000)
    await admitted(rig, key(2))
    await refused(rig, key(2))


async def test_one_key_does_not_use_up_anothers_limit(rig: Rig) -> None:
    await admitted(rig, key(1, subject="a"))
    await admitted(rig, key(1, subject="b"))


async def test_a_key_and_a_tenant_of_one_id_are_counted_apart(rig: Rig) -> None:
    await admitted(rig, LimitRule(LimitScope.KEY, "x", Limits(1)))
    await admitted(rig, LimitRule(LimitScope.TENANT, "x", Limits(1)))


async def test_a_refused_request_has_consumed_nothing_of_the_rules_that_would_admit_it(rig: Rig) -> None:
    await admitted(rig, tenant(requests=1))
    for _ in range(5):
        refusal = await refused(rig, key(10, 1000, 1), tenant(requests=1), tokens=400)
        assert refusal.scope is LimitScope.TENANT
    allowance = (await admitted(rig, key(10, 1000, 1), tokens=400)).allowance
    assert (allowance.remaining_requests, allowance.remaining_tokens) == (9, 600)


async def test_of_several_refusals_the_one_that_lasts_longest_is_told(rig: Rig) -> None:
    await admitted(rig, tenant(requests=1))
    await rig.pass_(30)
    await admitted(rig, key(requests=1))
    refusal = await refused(rig, tenant(requests=1), key(requests=1))
    assert refusal.scope is LimitScope.KEY
    assert refusal.retry_after_ms > 58_000


async def test_the_allowance_is_that_of_the_strictest_rule_for_each_resource(rig: Rig) -> None:
    allowance = (await admitted(rig, key(10, 10_000), tenant(5, 50_000), tokens=100)).allowance
    assert (allowance.limit_requests, allowance.remaining_requests) == (5, 4)
    assert (allowance.limit_tokens, allowance.remaining_tokens) == (10_000, 9900)
    assert allowance.reset_requests_ms is not None
    assert 0 < allowance.reset_requests_ms <= 61_000


async def test_tokens_not_used_are_given_back(rig: Rig) -> None:
    reservation = await admitted(rig, key(tokens=1000), tokens=900)
    assert (await refused(rig, key(tokens=1000), tokens=200)).resource is Resource.TOKENS
    await settle(rig, reservation, 100)
    assert (await admitted(rig, key(tokens=1000), tokens=200)).allowance.remaining_tokens == 700


async def test_tokens_used_beyond_the_hold_may_overdraw_but_never_show_as_negative(rig: Rig) -> None:
    await settle(rig, await admitted(rig, key(tokens=1000), tokens=100), 5000)
    refusal = await refused(rig, key(tokens=1000), tokens=1)
    assert refusal.allowance.remaining_tokens == 0
    await rig.pass_(refusal.retry_after_ms / 1000)
    await admitted(rig, key(tokens=1000), tokens=1)


async def test_tokens_settled_after_their_minute_change_nothing(rig: Rig) -> None:
    late = await admitted(rig, key(tokens=1000), tokens=900)
    await rig.pass_(62)
    await admitted(rig, key(tokens=1000), tokens=300)
    await settle(rig, late, 100_000)
    assert (await admitted(rig, key(tokens=1000), tokens=300)).allowance.remaining_tokens == 400


async def test_a_request_larger_than_the_limit_passes_only_alone(rig: Rig) -> None:
    first = await admitted(rig, key(tokens=1000), tokens=50_000)
    assert first.allowance.remaining_tokens == 0
    wait_ms = (await refused(rig, key(tokens=1000), tokens=50_000)).retry_after_ms
    await settle(rig, first, 40_000)
    await rig.pass_(wait_ms / 1000)
    await admitted(rig, key(tokens=1000), tokens=50_000)


@pytest.mark.parametrize("rule", [key(requests=0), key(tokens=0), key(parallel=0)])
async def test_a_limit_of_nothing_admits_nothing(rig: Rig, rule: LimitRule) -> None:
    assert (await refused(rig, rule, tokens=5)).retry_after_ms >= 1


async def test_requests_in_flight_are_limited_and_make_room_when_they_end(rig: Rig) -> None:
    first, _ = await admitted(rig, key(parallel=2)), await admitted(rig, key(parallel=2))
    refusal = await refused(rig, key(parallel=2))
    assert refusal.resource is Resource.PARALLEL
    assert refusal.retry_after_ms >= 1
    await settle(rig, first)
    await admitted(rig, key(parallel=2))


async def test_settling_twice_frees_one_slot_and_counts_once(rig: Rig) -> None:
    rule = key(tokens=1000, parallel=2)
    first = await admitted(rig, rule, tokens=100)
    await admitted(rig, rule, tokens=100)
    await settle(rig, first, 200)
    await settle(rig, first, 900)
    assert (await admitted(rig, rule, tokens=100)).allowance.remaining_tokens == 600
    assert (await refused(rig, rule, tokens=100)).resource is Resource.PARALLEL


async def test_a_request_in_flight_for_many_minutes_still_holds_its_slot(rig: Rig) -> None:
    long = await admitted(rig, key(parallel=1))
    for _ in range(10):
        await rig.pass_(45)
        await refused(rig, key(parallel=1))
    await settle(rig, long)
    await admitted(rig, key(parallel=1))


async def test_a_changed_limit_counts_what_was_used_before(rig: Rig) -> None:
    for _ in range(4):
        await admitted(rig, key(requests=5))
    await refused(rig, key(requests=3))
    assert (await admitted(rig, key(requests=10))).allowance.remaining_requests == 5
