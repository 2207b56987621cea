"""Two daemons whose Redis is cut, slowed, stopped and emptied under load: limits hold, budgets are exact, it comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import missing
from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, chat, settings, until
from tests.limits.proxy import Proxy
from tests.process.money_load import Load, audited, books, figures, mixed, received, settled
from tests.servers import RedisServer, Unavailable

pytestmark = pytest.mark.process

LIMIT = 400
SHARED = 40
CALLERS = 4
RECOVERY_S = 5.0
WINDOW_S = 60.0
# A process counts those that live with it every five seconds, for the first time when it starts.
COUNTED_S = 6.0
OTHER, SLOTTED = KEY.replace("demo", "other"), KEY.replace("demo", "slots")
SLOTS = 3
FREED_S = 30.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server that one test may empty."""
    try:
        made = RedisServer()
    except Unavailable as reason:
        missing(reason)
    yield made
    made.close()


@dataclass(slots=True)
class Pair:
    """Two daemons on one database, and the way to their Redis. At `counted_at` each of them knows of the other."""

    daemons: list[Daemon]
    proxy: Proxy
    server: Redis
    sim: Simulator
    counted_at: float

    async def states(self) -> list[str]:
        """How each daemon finds Redis: "ok" or "down"."""
        found = []
        for daemon in self.daemons:
            async with daemon.client(None) as http, http.get("/health") as health:
                found.append((await health.json())["checks"]["redis"]["status"])
        return found

    async def joined(self) -> float:
        """Seconds until both count in Redis again."""
        clock = asyncio.get_running_loop().time
        since = clock()
        while await self.states() != ["ok", "ok"]:
            assert clock() - since < RECOVERY_S, await self.states()
            await asyncio.sleep(0.05)
        return clock() - since

    def degradations(self) -> list[int]:
        return [len(daemon.events("limiter_degraded")) for daemon in self.daemons]


@asynccontextmanager
async def pair(folder: Workplace, postgres_url: str, redis: RedisServer) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        sim = stack.enter_context(Simulator(folder, "sim", "--tokens-per-second", "0"))
        proxy = await stack.enter_async_context(Proxy.before(redis.port))
        server: Redis = await stack.enter_async_context(Redis.from_url(redis.url))
        config = money(postgres_url, proxy.url, sim)
        counted_at = asyncio.get_running_loop().time() + COUNTED_S
        daemons = [await asyncio.to_thread(Daemon, folder, config, name=name) for name in ("one", "two")]
        made = Pair(daemons, proxy, server, sim, counted_at)
        await made.joined()
        yield made
        for daemon in daemons:
            # The proxy lives in this loop, and must answer while they say goodbye.
            if daemon.process.poll() is None:
                await asyncio.to_thread(daemon.stop)


def money(database: str, redis: str, sim: Simulator) -> Entry:
    """Tenants with a budget and a limited key each."""
    secret = KEY.partition(".")[2]
    config = settings(
        {"sim": sim.provider},
        {"m": "sim"},
        database={"url": database},
        redis={"url": redis},
        server={"secret": "0123456789abcdef" * 2},
    )
    limits = {
        "demo": {"requests_per_minute": LIMIT},
        "other": {"requests_per_minute": SHARED},
        "slots": {"parallel_requests": SLOTS},
    }
    return config | {
        "bootstrap": {
            "tenants": [{"name": name} for name in limits],
            "api_keys": [
                {"tenant": name, "name": name, "prefix": name, "secret": secret, "rate_limit": limit}
                for name, limit in limits.items()
            ],
            "tenant_budgets": [{"tenant": name, "budget_usd": 50} for name in limits],
        }
    }


async def cut(pair: Pair) -> None:
    await pair.proxy.cut()


async def slow(pair: Pair) -> None:
    pair.proxy.delay_s = 0.2


async def stop(pair: Pair) -> None:
    pair.proxy.is_blocked = True


async def empty(pair: Pair) -> None:
    await pair.server.flushall()


FAULTS: Sequence[Callable[[Pair], Awaitable[None]]] = (cut, empty, slow, stop)


async def _suffers(pair: Pair, fault: Callable[[Pair], Awaitable[None]], for_s: float) -> float:
    """One fault, noticed by both daemons; seconds until both count together again."""
    before = pair.degradations()
    await fault(pair)
    await until(
        lambda: all(now > then for now, then in zip(pair.degradations(), before, strict=True)),
        RECOVERY_S,
        what=f"{fault.__name__} in both logs",
    )
    await asyncio.sleep(for_s)
    await pair.proxy.mend()
    return await pair.joined()


async def _each_keeps_to_half(pair: Pair) -> None:
    """Without Redis: of a limit that nobody has used yet, each of the two admits its half and no more."""
    await pair.proxy.cut()
    await until(lambda: min(pair.degradations()) > 0, RECOVERY_S, what="the loss of Redis")
    load = Load("", OTHER)
    async with aiohttp.ClientSession() as http:
        for daemon in pair.daemons:
            answers = []
            for number in range(SHARED):
                case = f"half-{daemon.file.stem}-{number}"
                answers.append(await load.ask(http, case, mixed("m")(case, random.Random(case)), daemon.url))
            assert answers == [(200, "")] * (SHARED // 2) + [(429, "rate_limited")] * (SHARED - SHARED // 2)
    await pair.proxy.mend()
    await pair.joined()


def _busiest_minute(loads: Sequence[Load]) -> int:
    """The most requests that were admitted within any minute."""
    times = sorted(at for load in loads for at in load.times(200))
    busiest = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - WINDOW_S:
            first += 1
        busiest = max(busiest, last - first + 1)
    return busiest


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("faults", "longest_s"), [(4, 0.5), pytest.param(40, 6.0, marks=pytest.mark.torture)])
async def test_redis_failing_under_load_costs_no_limit_no_budget_and_no_request(
    folder: Workplace, postgres_url: str, redis: RedisServer, faults: int, longest_s: float
) -> None:
    draws = random.Random(faults)
    async with pair(folder, postgres_url, redis) as both:
        loads = [Load(daemon.url, KEY, seed=number) for number, daemon in enumerate(both.daemons)]
        running = [
            asyncio.create_task(load.run(CALLERS, mixed("m"), prefix=f"d{number}", pause_s=0.04 * longest_s**0.5))
            for number, load in enumerate(loads)
        ]
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(both.counted_at - begun)
        recovery = []
        for number in range(faults):
            await asyncio.sleep(draws.uniform(0.1, longest_s))
            recovery.append(await _suffers(both, FAULTS[number % len(FAULTS)], draws.uniform(0, longest_s)))
        took = asyncio.get_running_loop().time() - begun
        for load in loads:
            load.is_over = True
        await asyncio.gather(*running)
        await _each_keeps_to_half(both)
        truth = received(both.sim)
        found = await settled(postgres_url, lambda now: not now.lost(truth), 5, "the ledger")
        assert (found.lost(truth), found.unsent(truth), found.doubled) == ({}, [], [])
        assert found.posted("tenant:") == found.cost > 0
        assert (await audited(both.daemons[0]))["holds"] is True
    last = await books(postgres_url)
    assert (last.leased, last.leases) == (0, [])
    for load in loads:
        assert load.statuses.keys() == {(200, ""), (429, "rate_limited")}, load.statuses
    busiest, admitted = _busiest_minute(loads), sum(load.statuses[200, ""] for load in loads)
    figures(
        f"{faults} faults in {took:.0f} s: {busiest} admitted in the busiest minute of a limit of {LIMIT}, {admitted} of "
        f"{sum(load.statuses.total() for load in loads)} in all, slowest recovery {max(recovery):.2f} s, 0 lost, 0 double"
    )
    assert busiest <= LIMIT * 1.1
    assert admitted >= LIMIT * max(0.9, 0.75 * took / WINDOW_S), "limits were kept by serving nobody"


@pytest.mark.torture
@pytest.mark.timeout(120)
async def test_the_slots_of_a_killed_daemon_are_free_again_within_thirty_seconds(
    folder: Workplace, postgres_url: str, redis: RedisServer
) -> None:
    clock = asyncio.get_running_loop().time
    async with pair(folder, postgres_url, redis) as both:
        living, dying = both.daemons
        async with dying.client(SLOTTED) as http, living.client(SLOTTED) as other:
            order = "output_tokens=1000;tokens_per_second=10"
            for number in range(SLOTS):
                body = chat("m", order, case=f"held-{number}", stream=True, max_tokens=1000)
                assert (await http.post("/v1/chat/completions", json=body)).status == 200
            # As long as their process lives, so do they.
            for _ in range(20):
                assert (await other.post("/v1/chat/completions", json=chat("m"))).status == 429
                await asyncio.sleep(1)
            dying.kill()
            killed_at = clock()
            while (await other.post("/v1/chat/completions", json=chat("m"))).status == 429:
                assert clock() - killed_at < FREED_S
                await asyncio.sleep(0.1)
            took = clock() - killed_at
            await living.event("adoption", 15)
        assert (await audited(living))["holds"] is True
    figures(f"{SLOTS} slots of a killed daemon free again {took:.1f} s after its death")
