"""Redis cut off, blocked, slow, emptied, replaced, full: limits hold, nobody gets an exception, and it comes back."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from router.domain.limits import LimitRule, Limits, LimitScope, Refusal
from router.domain.observations import Failure, LimiterDegraded, LimiterRestored
from router.domain.ports import Reservation
from router.limits.redis import Mode
from router.limits.redis_batch import Names
from router.limits.redis_lanes import OPERATION_TIMEOUT_S, RedisUnavailable
from router.limits.redis_member import Settings
from router.system import SystemClock
from tests.conftest import missing
from tests.limits.proxy import Proxy
from tests.limits.redis_rig import Replica, own_names, until
from tests.servers import RedisServer, Unavailable

LIMIT = 400
RECOVERY_S = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One that these tests may empty and misconfigure."""
    try:
        made = RedisServer()
    except Unavailable as reason:
        missing(reason)
    yield made
    made.close()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    async with Proxy.before(server.port) as made:
        yield made


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(server.url)
    yield client
    await client.aclose()


def key(
    requests: int | None = None, tokens: int | None = None, parallel: int | None = None, subject: str = "k"
) -> LimitRule:
    return LimitRule(LimitScope.KEY, subject, Limits(requests, tokens, parallel))


async def admitted(replica: Replica, rule: LimitRule, tokens: int = 0) -> Reservation:
    decision = await replica.limiter.acquire([rule], tokens)
    assert not isinstance(decision, Refusal), decision
    return decision


@asynccontextmanager
async def replicas(*urls: str, settings: Settings | None = None) -> AsyncIterator[list[Replica]]:
    """As impatient as the daemon, on the real clock, one for each way to the server."""
    names = own_names()
    made = [
        Replica(url, names, live=len(urls), settings=settings, timeout_s=OPERATION_TIMEOUT_S, clock=SystemClock())
        for url in urls
    ]
    async with AsyncExitStack() as stack:
        for replica in made:
            await stack.enter_async_context(replica.running())
        yield made


async def admissions(replica: Replica, seconds: float, *, at_most: int = 10**9, rule: LimitRule | None = None) -> int:
    """Four callers who never rest; how many of their requests were admitted."""
    ends, count = time.monotonic() + seconds, 0

    async def call() -> None:
        nonlocal count
        while time.monotonic() < ends and count < at_most:
            count += 1
            decision = await replica.limiter.acquire([rule or key(LIMIT)], 1)
            if isinstance(decision, Refusal):
                count -= 1
                await asyncio.sleep(0.002)
            else:
                decision.settle(1)

    await asyncio.gather(*(call() for _ in range(4)))
    return count


async def all_admissions(group: list[Replica], seconds: float, *, at_most: int = 10**9) -> int:
    return sum(await asyncio.gather(*(admissions(replica, seconds, at_most=at_most) for replica in group)))


Fault = Callable[[Proxy, Redis], Awaitable[None]]


async def cut(proxy: Proxy, admin: Redis) -> None:
    await proxy.cut()


async def block(proxy: Proxy, admin: Redis) -> None:
    proxy.is_blocked = True


async def slow(proxy: Proxy, admin: Redis) -> None:
    proxy.delay_s = 0.2


async def full(proxy: Proxy, admin: Redis) -> None:
    await admin.config_set("maxmemory", 1)


async def recovered(proxy: Proxy, admin: Redis) -> None:
    await proxy.mend()
    await admin.config_set("maxmemory", 0)


@pytest.mark.parametrize("fault", [cut, block, slow, full])
async def test_a_fault_under_load_keeps_the_limit_and_passes_by_itself(proxy: Proxy, admin: Redis, fault: Fault) -> None:
    async with replicas(proxy.url, proxy.url) as both:
        total = await all_admissions(both, 2, at_most=LIMIT // 4)
        assert total == LIMIT // 2
        await fault(proxy, admin)
        total += await all_admissions(both, 0.4)
        assert LIMIT * 0.9 <= total <= LIMIT * 1.1
        assert all(r.limiter.mode is Mode.LOCAL for r in both)
        await recovered(proxy, admin)
        started = time.monotonic()
        for replica in both:
            await replica.joined(RECOVERY_S)
        assert time.monotonic() - started < RECOVERY_S
        total += await all_admissions(both, 0.2)
        assert total <= LIMIT * 1.1
        for replica in both:
            assert len(replica.observer.of(LimiterDegraded)) == len(replica.observer.of(LimiterRestored)) >= 1
            assert replica.observer.of(Failure) == []


async def test_what_is_admitted_while_redis_is_gone_counts_when_it_is_back(proxy: Proxy, admin: Redis) -> None:
    async with replicas(proxy.url) as (one,):
        await proxy.cut()
        assert await admissions(one, 0.3, at_most=150) == 150
        assert one.limiter.mode is Mode.LOCAL
        held = await one.limiter.acquire([key(LIMIT)], 1)
        assert not isinstance(held, Refusal)
        await proxy.mend()
        await one.joined(RECOVERY_S)
        decision = await one.limiter.acquire([key(LIMIT, parallel=2)], 1)
        assert not isinstance(decision, Refusal)
        assert decision.allowance.remaining_requests in range(LIMIT - 160, LIMIT - 151)
        assert isinstance(await one.limiter.acquire([key(LIMIT, parallel=2)], 1), Refusal)
        held.settle(1)
        await one.settled()
        assert not isinstance(await one.limiter.acquire([key(LIMIT, parallel=2)], 1), Refusal)


async def test_redis_gone_for_one_process_only_costs_no_more_than_its_share(
    proxy: Proxy, server: RedisServer, admin: Redis
) -> None:
    async with replicas(proxy.url, server.url) as (lonely, other):
        await proxy.cut()
        total = await all_admissions([lonely, other], 0.5)
        assert lonely.limiter.mode is Mode.LOCAL
        assert LIMIT <= total <= LIMIT * 1.5


async def test_an_emptied_server_is_told_what_was_admitted_and_what_is_in_flight(proxy: Proxy, admin: Redis) -> None:
    async with replicas(proxy.url, proxy.url) as (one, two):
        total = await all_admissions([one, two], 2, at_most=LIMIT // 4)
        await asyncio.gather(one.settled(), two.settled())
        held = [await admitted(r, key(parallel=2), tokens=900) for r in (one, two)]
        await admin.flushall()
        total += 2 + await all_admissions([one, two], 0.3)
        assert LIMIT * 0.9 <= total <= LIMIT * 1.1
        for replica in (one, two):
            await replica.joined(RECOVERY_S)
            await replica.settled()
            assert isinstance(await replica.limiter.acquire([key(parallel=2)], 0), Refusal)
        for reservation in held:
            reservation.settle(0)
        await asyncio.gather(one.settled(), two.settled())
        allowance = (await admitted(one, key(tokens=10**6, parallel=1))).allowance
        assert allowance.remaining_tokens is not None
        assert 10**6 - LIMIT * 1.1 < allowance.remaining_tokens <= 10**6 - LIMIT * 0.9


async def test_an_emptied_server_costs_a_single_process_no_share(server: RedisServer, admin: Redis) -> None:
    async with Replica.at(server.url) as one:
        held = await admitted(one, key(10, parallel=2))
        await admin.flushall()
        assert (await admitted(one, key(10, parallel=2))).allowance.remaining_requests == 8
        assert isinstance(await one.limiter.acquire([key(parallel=2)], 0), Refusal)
        held.settle(0)
        await one.settled()
        await admitted(one, key(parallel=2))
        assert one.observer.of(LimiterDegraded) == []


async def test_a_request_that_ends_while_an_emptied_server_is_being_told_frees_its_slot(
    server: RedisServer, admin: Redis
) -> None:
    async with Replica.at(server.url, settings=Settings(others_s=0.3)) as one:
        held = await admitted(one, key(parallel=1))
        one.live = 2
        await admin.flushall()
        await admitted(one, key(10, subject="other"))
        assert one.limiter.mode is Mode.LOCAL
        while not await admin.zcard(one.names.owners):
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)
        assert one.limiter.mode is Mode.LOCAL
        held.settle(0)
        await one.joined(RECOVERY_S)
        await admitted(one, key(parallel=1))


async def test_tokens_that_were_not_used_are_given_back_once_to_an_emptied_server(server: RedisServer, admin: Redis) -> None:
    async with Replica.at(server.url) as one:
        first, second = [await admitted(one, key(tokens=10_000), tokens=900) for _ in range(2)]
        await admin.flushall()
        first.settle(100)
        await one.settled()
        allowance = (await admitted(one, key(tokens=10_000), tokens=0)).allowance
        assert allowance.remaining_tokens == 10_000 - 900 - 100
        second.settle(100)
        await one.settled()
        assert (await admitted(one, key(tokens=10_000), tokens=0)).allowance.remaining_tokens == 10_000 - 200


async def test_nobody_waits_while_an_emptied_server_is_told_of_many_subjects(server: RedisServer, admin: Redis) -> None:
    async with Replica.at(server.url) as one:
        many = [key(2, subject=f"k{number}") for number in range(600)]
        await asyncio.gather(*(one.limiter.acquire([rule], 1) for rule in many))
        await admin.flushall()
        await admitted(one, key(10))
        assert [seen.reason for seen in one.observer.of(LimiterDegraded)] == ["it lost its data"]
        await one.joined(RECOVERY_S)
        for rule in many[::50]:
            await admitted(one, rule)
            assert isinstance(await one.limiter.acquire([rule], 0), Refusal)


async def test_after_a_failover_to_an_empty_server_the_limit_still_holds(proxy: Proxy) -> None:
    second = RedisServer()
    try:
        async with replicas(proxy.url, proxy.url) as both:
            total = await all_admissions(both, 2, at_most=LIMIT // 4)
            await proxy.cut()
            proxy.target = second.port
            await proxy.mend()
            total += await all_admissions(both, 0.2)
            for replica in both:
                await replica.joined(RECOVERY_S)
            total += await all_admissions(both, 0.3)
            assert LIMIT * 0.9 <= total <= LIMIT * 1.1
    finally:
        second.close()


@pytest.mark.parametrize("fault", [block, slow])
async def test_nobody_waits_longer_than_the_operation_timeout(proxy: Proxy, admin: Redis, fault: Fault) -> None:
    async with replicas(proxy.url) as (one,):
        await fault(proxy, admin)
        waits: list[float] = []

        async def ask() -> None:
            started = time.monotonic()
            await one.limiter.acquire([key(10**6)], 1)
            waits.append(time.monotonic() - started)

        async def timeout() -> float:
            """What the operation timeout takes on this machine at this moment."""
            started = time.monotonic()
            for _ in range(2):
                await asyncio.sleep(OPERATION_TIMEOUT_S / 2)
            return time.monotonic() - started

        lasted = asyncio.create_task(timeout())
        await asyncio.gather(*(ask() for _ in range(50)))
        assert max(waits) < await lasted + 0.05
        waits.clear()
        for _ in range(100):
            await ask()
            await asyncio.sleep(0.002)
        assert sum(wait > OPERATION_TIMEOUT_S / 2 for wait in waits) <= 10, "they wait for a Redis that is known to be gone"


async def test_limits_that_are_small_are_never_divided_to_nothing(proxy: Proxy, admin: Redis) -> None:
    async with replicas(*[proxy.url] * 4) as group:
        await proxy.cut()
        for replica in group:
            decision = await replica.limiter.acquire([key(3, 2, 1)], 5)
            assert not isinstance(decision, Refusal)
            assert isinstance(await replica.limiter.acquire([key(3, 2, 1)], 5), Refusal)
            assert isinstance(await replica.limiter.acquire([key(0)], 0), Refusal)
            decision.settle(0)


async def test_a_daemon_that_starts_without_redis_limits_by_itself_and_joins_later(proxy: Proxy) -> None:
    await proxy.cut()
    one = Replica(proxy.url, own_names(), timeout_s=OPERATION_TIMEOUT_S, clock=SystemClock())
    one.start()
    try:
        decisions = [await one.limiter.acquire([key(3)], 0) for _ in range(5)]
        assert [isinstance(d, Refusal) for d in decisions] == [False] * 3 + [True] * 2
        await until(lambda: bool(one.observer.of(LimiterDegraded)))
        with pytest.raises(RedisUnavailable):
            await one.limiter.ping()
        await proxy.mend()
        await one.joined(RECOVERY_S)
        await one.limiter.ping()
        assert isinstance(await one.limiter.acquire([key(3)], 0), Refusal)
    finally:
        await one.stop()


async def test_a_refused_password_is_told_and_never_shown(server: RedisServer, admin: Redis) -> None:
    await admin.config_set("requirepass", "right-word")
    try:
        one = Replica(server.url.replace("//", "//:wrong-word@"), own_names())
        one.start()
        await until(lambda: bool(one.observer.of(LimiterDegraded)))
        assert one.observer.of(LimiterDegraded)[0].reason == "it refuses the user or the password"
        await one.stop()
    finally:
        await admin.config_set("requirepass", "")


async def test_an_event_loop_that_was_away_is_not_taken_for_a_slow_redis(server: RedisServer) -> None:
    async with replicas(server.url) as (one,):
        for _ in range(5):
            asked = asyncio.create_task(one.limiter.acquire([key(10)], 1))
            while not one.limiter._under_way:
                await asyncio.sleep(0)
            time.sleep(0.12)  # noqa: ASYNC251  this is the fault
            await asked
        assert len(one.observer.of(LimiterDegraded)) <= 1


async def test_faults_at_random_raise_nothing_and_leave_no_slot(proxy: Proxy, admin: Redis, server: RedisServer) -> None:
    chance, rule = random.Random(11), key(10**6, 10**9, 10**4)
    quick = Settings(heartbeat_s=0.05, believed_s=0.5, touch_s=0.1, first_retry_s=0.02, last_retry_s=0.1)
    async with replicas(proxy.url, proxy.url, settings=quick) as both:
        is_over = False

        async def call(replica: Replica) -> None:
            while not is_over:
                decision = await replica.limiter.acquire([rule], 5)
                assert not isinstance(decision, Refusal)
                await asyncio.sleep(chance.random() * 0.02)
                decision.settle(chance.randrange(10))

        async def leave_early(replica: Replica) -> None:
            while not is_over:
                with suppress(TimeoutError):
                    async with asyncio.timeout(chance.random() * 0.004):
                        await asyncio.sleep(0.001)
                        decision = await replica.limiter.acquire([rule], 5)
                        assert not isinstance(decision, Refusal)
                        decision.settle(0)

        callers = [asyncio.create_task(work(r)) for r in both for work in (*[call] * 5, *[leave_early] * 3)]
        for _ in range(12):
            await chance.choice([cut, block, slow, flush])(proxy, admin)
            await asyncio.sleep(chance.random() * 0.15)
            await recovered(proxy, admin)
            await asyncio.sleep(chance.random() * 0.15)
        is_over = True
        await asyncio.gather(*callers)
        for replica in both:
            await replica.joined(RECOVERY_S)
            await replica.settled()
            await replica.idle()
            assert replica.in_flight() == 0
            assert replica.limiter._lanes.count <= 5, "the pool, and the one to join with"
            assert replica.observer.of(Failure) == []
        await until_free(both[0].names, server)


async def flush(proxy: Proxy, admin: Redis) -> None:
    await admin.flushall()


async def until_free(names: Names, server: RedisServer) -> None:
    """Another process sees no slot in use, once what failed calls have left is no longer believed."""
    watcher = Replica(server.url, names)
    async with watcher.running(), asyncio.timeout(5):
        while isinstance(decision := await watcher.limiter.acquire([key(parallel=1)], 0), Refusal):
            await asyncio.sleep(0.02)
        decision.settle(0)
