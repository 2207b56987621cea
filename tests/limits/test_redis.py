"""The shared limiter over a real server: several processes are one, turns are one call, nothing stays behind."""

import asyncio
import random
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from router.domain.limits import LimitRule, Limits, LimitScope, Refusal, Resource
from router.domain.observations import Failure, LimiterDegraded
from router.domain.ports import Reservation
from router.limits.memory import MemoryLimiter
from router.limits.redis import Mode
from router.limits.redis_member import Settings
from router.limits.redis_scripts import Scripts
from tests.limits.redis_rig import Replica, own_names, until

QUICK = Settings(heartbeat_s=0.05, believed_s=0.25, touch_s=0.1)
STILL = "local function clock() return tonumber(redis.call('GET', '{prefix}:now')) end\n"


def key(
    requests: int | None = None, tokens: int | None = None, parallel: int | None = None, subject: str = "k"
) -> LimitRule:
    return LimitRule(LimitScope.KEY, subject, Limits(requests, tokens, parallel))


async def admitted(replica: Replica, *rules: LimitRule, tokens: int = 0) -> Reservation:
    decision = await replica.limiter.acquire(rules, tokens)
    assert not isinstance(decision, Refusal), decision
    return decision


async def refused(replica: Replica, *rules: LimitRule, tokens: int = 0) -> Refusal:
    decision = await replica.limiter.acquire(rules, tokens)
    assert isinstance(decision, Refusal)
    return decision


async def slots_in_redis(replica: Replica) -> dict[str, int]:
    """Requests in flight by window, as Redis has them."""
    found: dict[str, int] = {}
    async for name in replica.redis.scan_iter(match=f"{replica.names.prefix}:key:*"):
        packed = await replica.redis.get(name)
        if isinstance(packed, bytes):
            flat = msgspec.msgpack.decode(packed, type=list[int | str])
            owners = flat[0]
            assert isinstance(owners, int)
            found[name.decode()] = sum(n for n in flat[2 : 1 + 2 * owners : 2] if isinstance(n, int))
    return found


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    names = own_names()
    async with Replica.at(redis_url, names, live=2) as one, Replica.at(redis_url, names, live=2) as two:
        yield one, two


# -- the same as in memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_every_decision_and_every_number_is_the_one_that_memory_gives(redis_url: str, seed: int) -> None:
    """With one clock that stands still between steps, the answers are equal to the millisecond."""
    chance, names = random.Random(seed), own_names()
    replica = Replica(redis_url, names, scripts=Scripts(STILL.format(prefix=names.prefix)))
    memory = MemoryLimiter(replica.clock)
    rules = (key(5, 1000, 2, "a"), key(None, 400, None, "b"), LimitRule(LimitScope.TENANT, "t", Limits(8, None, 4)))
    open_: list[tuple[Reservation, Reservation]] = []

    async def tick(seconds: float) -> None:
        replica.clock.pass_(seconds)
        await replica.redis.set(f"{names.prefix}:now", int(replica.clock.monotonic() * 1e6))

    await tick(0)
    async with replica.running():
        for _ in range(250):
            step = chance.random()
            if step < 0.2:
                await tick(chance.choice([0.001, 0.25, 0.999, 1.0, 7.0, 29.5, 59.999]))
            elif step < 0.45 and open_:
                tokens = chance.randrange(2000)
                for reservation in open_.pop(chance.randrange(len(open_))):
                    reservation.settle(tokens)
                await replica.settled()
            else:
                asked, tokens = chance.sample(rules, chance.randint(1, 3)), chance.randrange(1500)
                mine, theirs = memory.decide(asked, tokens), await replica.limiter.acquire(asked, tokens)
                assert mine.allowance == theirs.allowance
                if isinstance(mine, Refusal) or isinstance(theirs, Refusal):
                    assert mine == theirs
                else:
                    open_.append((mine, theirs))
        assert replica.observer.of(Failure) == replica.observer.of(LimiterDegraded) == []


async def test_numbers_beyond_all_measure_are_decided_like_any_others(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        reservation = await admitted(replica, key(10**30, None, 10**30), tokens=10**30)
        reservation.settle(10**40)
        await replica.settled()
        assert (await refused(replica, key(tokens=10**6), tokens=1)).resource is Resource.TOKENS


# -- several processes ----------------------------------------------------------------------------------------


async def test_two_processes_admit_exactly_one_limit(pair: tuple[Replica, Replica]) -> None:
    decisions = await asyncio.gather(*(r.limiter.acquire([key(37, 3000)], 10) for _ in range(50) for r in pair))
    assert sum(not isinstance(d, Refusal) for d in decisions) == 37
    for _ in range(3):
        for replica in pair:
            assert (await refused(replica, key(37, 3000), tokens=10)).limit == 37


async def test_tokens_settled_in_one_process_are_free_in_the_other(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    reservation = await admitted(one, key(tokens=1000), tokens=900)
    await refused(two, key(tokens=1000), tokens=200)
    reservation.settle(100)
    await one.settled()
    assert (await admitted(two, key(tokens=1000), tokens=200)).allowance.remaining_tokens == 700


async def test_a_process_that_dies_frees_its_slots_and_no_others(redis_url: str) -> None:
    names = own_names()
    async with (
        Replica.at(redis_url, names, settings=QUICK) as survivor,
        Replica.at(redis_url, names, settings=QUICK) as victim,
    ):
        kept = await admitted(survivor, key(parallel=3))
        for _ in range(2):
            await admitted(victim, key(parallel=3))
        await asyncio.sleep(2 * QUICK.believed_s)
        assert (await refused(survivor, key(parallel=3))).resource is Resource.PARALLEL
        await victim.die()
        freed = [await _when_free(survivor, key(parallel=3)) for _ in range(2)]
        assert await slots_in_redis(survivor) == {names.window(LimitScope.KEY, "k"): 3}
        assert isinstance(await survivor.limiter.acquire([key(parallel=3)], 0), Refusal)
        for reservation in (kept, *freed):
            reservation.settle(0)
        await survivor.settled()
        assert await slots_in_redis(survivor) == {names.window(LimitScope.KEY, "k"): 0}


async def _when_free(replica: Replica, rule: LimitRule) -> Reservation:
    async with asyncio.timeout(5):
        while isinstance(decision := await replica.limiter.acquire([rule], 0), Refusal):
            await asyncio.sleep(0.01)
    return decision


def test_the_slots_of_a_killed_process_are_free_within_thirty_seconds() -> None:
    assert Settings().believed_s <= 30
    assert Settings().heartbeat_s * 2 < Settings().believed_s


async def test_a_process_that_ends_in_order_frees_its_slots_at_once(redis_url: str) -> None:
    names = own_names()
    async with Replica.at(redis_url, names) as survivor:
        async with Replica.at(redis_url, names) as other:
            await admitted(other, key(parallel=1))
            await refused(survivor, key(parallel=1))
        await admitted(survivor, key(parallel=1))


async def test_what_is_settled_just_before_the_end_is_not_lost(redis_url: str) -> None:
    names = own_names()
    async with Replica.at(redis_url, names) as survivor:
        async with Replica.at(redis_url, names) as other:
            (await admitted(other, key(tokens=1000), tokens=900)).settle(1)
        assert (await admitted(survivor, key(tokens=1000), tokens=0)).allowance.remaining_tokens == 999


async def test_a_process_that_redis_has_forgotten_joins_again_with_what_it_holds(redis_url: str) -> None:
    names = own_names()
    async with Replica.at(redis_url, names) as one, Replica.at(redis_url, names) as two:
        held = await admitted(one, key(10, parallel=2))
        await one.redis.zrem(names.owners, one.limiter._member.name)
        await admitted(one, key(10, parallel=2))
        assert (await refused(two, key(10, parallel=2))).resource is Resource.PARALLEL
        held.settle(0)
        await one.settled()
        assert (await admitted(two, key(10, parallel=2))).allowance.remaining_requests == 7
        assert one.observer.of(LimiterDegraded) == []


async def test_a_window_that_was_evicted_is_told_again_while_requests_are_in_flight(redis_url: str) -> None:
    async with Replica.at(redis_url, settings=QUICK) as replica:
        await admitted(replica, key(parallel=1))
        window = replica.names.window(LimitScope.KEY, "k")
        await replica.redis.delete(window)
        async with asyncio.timeout(5):
            while not await replica.redis.exists(window):
                await asyncio.sleep(0.02)
        assert (await refused(replica, key(parallel=1))).resource is Resource.PARALLEL


# -- turns, cancellation, memory ------------------------------------------------------------------------------


async def calls(replica: Replica) -> int:
    stats = await replica.redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_requests_of_one_turn_share_one_call_and_settlements_ride_along(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        (await admitted(replica, key(10**6))).settle(0)
        await replica.settled()
        before = await calls(replica)
        decisions = await asyncio.gather(*(replica.limiter.acquire([key(10**6)], 5) for _ in range(50)))
        assert await calls(replica) - before == 1
        for decision in decisions:
            assert not isinstance(decision, Refusal)
            decision.settle(1)
        again = await asyncio.gather(*(replica.limiter.acquire([key(10**6)], 5) for _ in range(50)))
        assert await calls(replica) - before == 2
        assert await slots_in_redis(replica) == {replica.names.window(LimitScope.KEY, "k"): 50}
        for decision in again:
            assert not isinstance(decision, Refusal)
            decision.settle(1)
        await replica.settled()
        assert await calls(replica) - before == 3


async def test_what_is_settled_after_a_call_waits_its_own_time_for_the_next(redis_url: str) -> None:
    async with Replica.at(redis_url, settings=Settings(heartbeat_s=30.0, settle_s=1.0)) as replica:
        (await admitted(replica, key(10**6))).settle(0)
        await asyncio.sleep(0.5)
        before = await calls(replica)
        (await admitted(replica, key(10**6))).settle(0)
        await asyncio.sleep(0.7)
        assert await calls(replica) - before == 1
        await replica.settled()
        assert await calls(replica) - before == 2
        assert set((await slots_in_redis(replica)).values()) <= {0}


async def test_what_cannot_be_said_to_redis_is_decided_without_it(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica, asyncio.timeout(5):
        (await admitted(replica, key(1, subject="\ud800"))).settle(0)
        assert len(replica.observer.of(LimiterDegraded)) == 1


async def test_a_server_that_has_lost_its_scripts_is_given_them_again(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        await admitted(replica, key(10))
        await replica.redis.script_flush()
        assert (await admitted(replica, key(10))).allowance.remaining_requests == 8
        assert replica.observer.of(LimiterDegraded) == []


async def test_a_request_that_comes_while_the_only_connection_is_otherwise_used_is_sent_after_it(redis_url: str) -> None:
    async with Replica.at(redis_url, pool_size=1) as replica, asyncio.timeout(5):
        pinged = asyncio.create_task(replica.limiter.ping())
        await asyncio.sleep(0)
        await admitted(replica, key(10))
        await pinged


async def test_a_request_whose_call_is_cancelled_before_it_began_is_answered_at_the_end(redis_url: str) -> None:
    replica = Replica(redis_url, own_names())
    async with replica.running(), asyncio.timeout(5):
        asked = asyncio.create_task(replica.limiter.acquire([key(1)], 0))
        while not replica.limiter._under_way:
            await asyncio.sleep(0)
        await replica.tasks.stop()
        await replica.limiter.close()
        assert not isinstance(await asked, Refusal)
        assert replica.limiter._lanes.count == 0


async def test_ten_thousand_random_cancels_leave_nothing_in_flight(redis_url: str) -> None:
    chance = random.Random(3)
    async with Replica.at(redis_url) as replica:

        async def request(hold_s: float) -> None:
            decision = await replica.limiter.acquire([key(10**9, 10**12, 10**6), key(10**9, subject="other")], 7)
            assert not isinstance(decision, Refusal)
            try:
                await asyncio.sleep(hold_s)
            finally:
                decision.settle(3)

        for _ in range(50):
            tasks = [asyncio.create_task(request(chance.random() * 0.004)) for _ in range(200)]
            for task in chance.sample(tasks, 150):
                asyncio.get_running_loop().call_later(chance.random() * 0.006, task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
        await replica.settled()
        assert (replica.in_flight(), replica.in_flight("other")) == (0, 0)
        assert set((await slots_in_redis(replica)).values()) == {0}
        assert replica.observer.seen == []


async def test_a_request_cancelled_in_the_turn_of_its_answer_gives_everything_back(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        asked = asyncio.create_task(replica.limiter.acquire([key(tokens=100, parallel=1)], 100))
        while not replica.in_flight():
            await asyncio.sleep(0)
        assert not asked.done()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert replica.in_flight() == 0
        await replica.settled()
        await admitted(replica, key(tokens=100, parallel=1), tokens=100)


async def test_nothing_is_kept_longer_than_it_counts(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        await admitted(replica, key(10, parallel=5, subject="busy"))
        (await admitted(replica, key(10, subject="idle"))).settle(0)
        await replica.settled()
        lives = {
            name.decode().rpartition(":")[2]: await replica.redis.pttl(name)
            async for name in replica.redis.scan_iter(match=f"{replica.names.prefix}:*")
        }
        assert 0 < lives["idle"] <= 61_000
        assert 61_000 < lives["busy"] <= 120_000
        assert min(lives.values()) > 0


async def test_a_whole_minute_of_one_subject_is_about_a_kilobyte(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        for _ in range(120):
            (await admitted(replica, key(10**6, 10**9), tokens=3000)).settle(2000)
            await replica.settled()
            await replica.pass_(0.9)
        size = await replica.redis.strlen(replica.names.window(LimitScope.KEY, "k"))
        assert 60 * 10 < size < 1200


async def test_connections_grow_with_the_need_up_to_the_pool(redis_url: str) -> None:
    async with Replica.at(redis_url, pool_size=3) as replica:
        await asyncio.gather(*(_spaced(replica, n / 20_000) for n in range(200)))
        await until(lambda: not replica.limiter._under_way)
        assert 1 <= replica.limiter._lanes.count <= 3


async def _spaced(replica: Replica, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await admitted(replica, key(10**6))


async def test_after_its_end_a_limiter_decides_by_itself_and_holds_no_connection(redis_url: str) -> None:
    async with Replica.at(redis_url) as replica:
        held = await admitted(replica, key(2))
    assert replica.limiter.mode is Mode.LOCAL
    await admitted(replica, key(2))
    await refused(replica, key(2))
    held.settle(0)
    server: Redis = Redis.from_url(redis_url)
    names = [client["name"] for client in await server.client_list()]
    await server.aclose()
    assert "routerd" not in names
