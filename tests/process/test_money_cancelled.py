"""Streams that their callers leave are metered within 2 % of what the provider sent, and nothing stays held."""

import asyncio
import random
from statistics import median

import aiohttp
import pytest

from tests.daemon import Daemon, Entry, Simulator, Workplace, chat, settings, until
from tests.process.money_load import audited, books, figures, received, settled
from tests.wire import Wire, head

pytestmark = pytest.mark.process

TOLERANCE = 0.02
PACE = 50
LONGEST_S = 4.0
STREAMS_AT_ONCE = 40
LEFT_AT_ONCE = 60
SLOTS = LEFT_AT_ONCE + 20
LATEST_S = 0.4


@pytest.mark.timeout(900)
@pytest.mark.parametrize("streams", [40, pytest.param(2000, marks=pytest.mark.torture)])
async def test_cancelled_streams_are_metered_within_two_percent(folder: Workplace, streams: int) -> None:
    url = f"sqlite:///{folder.path}/data/router.db"
    draws = random.Random(streams)
    with Simulator(folder, "sim", "--tokens-per-second", str(PACE)) as sim:
        config = settings({"sim": sim.provider}, {"m": "sim"})
        config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": 1000}]
        with Daemon(folder, config) as routerd:
            async with routerd.client() as http:
                for begun in range(0, streams, STREAMS_AT_ONCE):
                    some = range(begun, begun + STREAMS_AT_ONCE)
                    await asyncio.gather(*[_leave(http, f"c-{n}", draws.uniform(0.5, LONGEST_S)) for n in some])
            assert await until(lambda: len(sim.log(event="cancelled")) == streams, 20.0, what="the ends of the streams")
            found = await settled(url, lambda now: len(now.requests) == streams, 20, "the ledger")
            sent = _sent(sim)
            assert await routerd.metric("routerd_open_streams") == 0
            assert await routerd.metric("routerd_inflight_requests") == 1  # that is the question itself
            assert (await audited(routerd))["holds"] is True
        assert (await books(url)).leased == 0
    metered = {str(attempt["name"]): int(attempt["output_tokens"]) for attempt in found.attempts}
    assert metered.keys() == sent.keys()
    off = abs(sum(metered.values()) - sum(sent.values())) / sum(sent.values())
    errors = sorted(abs(metered[name] - count) / count for name, count in sent.items())
    figures(
        f"{streams} cancelled streams: {sum(sent.values())} tokens sent, {sum(metered.values())} metered, {off:.2%} off in "
        f"all, {median(errors):.2%} in the median stream, {errors[-1 - streams // 100]:.2%} in the 99th of a hundred"
    )
    assert off <= TOLERANCE
    assert median(errors) <= TOLERANCE


async def _leave(http: aiohttp.ClientSession, case: str, after_s: float) -> None:
    body = chat("m", "output_tokens=4000", case=case, stream=True, max_tokens=4000)
    answer = await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": case})
    assert answer.status == 200
    try:
        async with asyncio.timeout(after_s):
            await answer.content.read(-1)
    except TimeoutError:
        answer.close()


def _sent(sim: Simulator) -> dict[str, int]:
    names = {line["n"]: line["metadata"]["case"] for line in sim.log(event="received")}
    return {names[line["n"]]: line["tokens_sent"] for line in sim.log(event="cancelled")}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("callers", [400, pytest.param(10_000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("limiter", ["memory", "redis"])
async def test_whenever_callers_leave_all_slots_come_back(
    folder: Workplace, limiter: str, callers: int, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{folder.path}/data/router.db"
    with Simulator(folder, "sim") as sim:
        config = settings({"sim": sim.provider}, {"m": "sim"})
        config["bootstrap"]["api_keys"][0]["rate_limit"] = {
            "requests_per_minute": 10**6,
            "tokens_per_minute": 10**9,
            "parallel_requests": SLOTS,
        }
        config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": 1000}]
        if limiter == "redis":
            config["redis"] = {"url": request.getfixturevalue("redis_url")}
        with Daemon(folder, config) as routerd:
            statuses = await _all_leave(routerd, callers)
            await _nothing_in_flight(routerd)
            assert await _slots(routerd, sim) == SLOTS
            truth = received(sim)
            found = await settled(url, lambda now: not now.lost(truth), 20, "the ledger")
            assert found.doubled == []
            assert (await audited(routerd))["holds"] is True
        assert (await books(url)).leased == 0
    cancelled = sum(row["outcome"] == "cancelled" for row in found.requests)
    figures(
        f"{callers} callers left ({limiter} limiter): {len(truth)} reached the provider, {cancelled} are in the ledger as "
        f"cancelled, {statuses} were answered first; {SLOTS} of {SLOTS} slots came back"
    )
    assert cancelled > callers // 3


async def _all_leave(routerd: Daemon, callers: int) -> int:
    """How many had their whole answer before they left."""
    draws = random.Random(callers)
    waiting = [f"l-{number}" for number in range(callers)]
    answered = 0

    async def one_after_the_other() -> None:
        nonlocal answered
        while waiting:
            answered += await _come_and_go(routerd, waiting.pop(), draws)

    await asyncio.gather(*[one_after_the_other() for _ in range(LEFT_AT_ONCE)])
    return answered


def _asked(case: str, draws: random.Random) -> Entry:
    """A stream or JSON; whose head, or whose tokens, are slow; or that never comes."""
    is_stream = draws.random() < 0.6
    order = draws.choice(["latency=0.2", "first_token=0.2", "tokens_per_second=200", "tokens_per_second=20", "timeout"])
    return chat("m", order, case=case, stream=is_stream, max_tokens=draws.randint(5, 80))


async def _come_and_go(routerd: Daemon, case: str, draws: random.Random) -> bool:
    """Leave before the body is complete, before the request can have been sent, or at any moment after."""
    body = _asked(case, draws)
    after_s = draws.choice([0.0, draws.uniform(0, 0.01), draws.uniform(0, LATEST_S), draws.uniform(0, LATEST_S)])
    is_reset, is_partial = draws.random() < 0.5, draws.random() < 0.05
    try:
        async with Wire(routerd) as wire:
            if is_partial:
                wire.send(head("POST", "/v1/chat/completions", {"Content-Length": 1000}) + b'{"model":"m"')
            else:
                wire.post("/v1/chat/completions", body, X_Request_Id=case, Connection="close")
            await wire.writer.drain()
            try:
                answer = await wire.rest(after_s)
                return answer.startswith(b"HTTP/1.1 200")
            except TimeoutError:
                if is_reset:
                    wire.reset()
    except ConnectionError:
        pass
    return False


async def _nothing_in_flight(routerd: Daemon) -> None:
    async with asyncio.timeout(20):
        while await routerd.metric("routerd_inflight_requests") > 1 or await routerd.metric("routerd_open_streams"):
            await asyncio.sleep(0.05)


async def _slots(routerd: Daemon, sim: Simulator) -> int:
    """How many requests the key may have in flight: as many as are let in before the first is refused."""
    async with routerd.client() as http:
        asking = [asyncio.ensure_future(_wait_for_ever(http, f"s-{number}")) for number in range(SLOTS)]
        await until(lambda: sum(name.startswith("s-") for name in received(sim)) == SLOTS, 20.0, what="all slots in use")
        refused = await http.post("/v1/chat/completions", json=chat("m", case="one-too-many"))
        assert (refused.status, (await refused.json())["error"]["code"]) == (429, "rate_limited")
        waiting = sum(not task.done() for task in asking)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return waiting


async def _wait_for_ever(http: aiohttp.ClientSession, case: str) -> None:
    body = chat("m", "timeout", case=case)
    await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": case})
