"""Hard budgets on the wire: many at once spend no more than there is, on one daemon and on two; a lowered limit holds."""

import asyncio
import random
from collections.abc import Sequence

import aiohttp
import pytest

from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, chat, settings, sse
from tests.process.money_load import Load, audited, books, figures, settled

pytestmark = pytest.mark.process

AT_ONCE = 200
TOKENS = 200
NANO = 10**9
# An answer costs far more than its question, so what a request holds is nearly what it costs.
PRICE = {"input": 0.1, "output": 100}
COST = TOKENS * 100_000
HELD = COST + 100_000
LISTED = 100
BUDGET = 10 * HELD
CONSUMERS = [f"consumer{number}" for number in range(50)]


def money(url: str, sim: Simulator, consumers: Sequence[str], limit: int = BUDGET) -> Entry:
    """A tenant with a key and a budget for each of `consumers`."""
    secret = KEY.partition(".")[2]
    bootstrap = {
        "tenants": [{"name": name} for name in consumers],
        "api_keys": [
            {"tenant": name, "name": name, "prefix": name, "secret": secret, "rate_limit": {"requests_per_minute": 10**6}}
            for name in consumers
        ],
        "tenant_budgets": [{"tenant": name, "budget_usd": limit / NANO} for name in consumers],
    }
    server = {"secret": "0123456789abcdef" * 2}
    catalog = {"m": {"targets": ["sim"], "price": PRICE}}
    return settings({"sim": sim.provider}, catalog, database={"url": url}, server=server) | {"bootstrap": bootstrap}


def key_of(consumer: str) -> str:
    return f"sk-{consumer}.{KEY.partition('.')[2]}"


def question(case: str, *, pace: int = 400, **fields: object) -> Entry:
    return chat("m", f"output_tokens={TOKENS};tokens_per_second={pace}", case=case, max_tokens=TOKENS, **fields)


async def ask_at_once(load: Load, urls: Sequence[str]) -> int:
    """Everybody asks at once, half of them for streams; how many were answered. The others were refused as they should."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        asked = []
        for number in range(AT_ONCE):
            case = f"{load.key}-{number}"
            asked.append(load.ask(http, case, question(case, stream=number % 4 < 2), urls[number % len(urls)]))
        answers = await asyncio.gather(*asked)
    assert set(answers) <= {(200, ""), (402, "budget_exceeded")}, load.statuses
    return answers.count((200, ""))


async def spend_the_rest(load: Load, urls: Sequence[str]) -> None:
    """Ask one after the other until every daemon has refused."""
    async with aiohttp.ClientSession() as http:
        for url in urls:
            for number in range(30):
                case = f"{load.key}-rest-{number}"
                answer = await load.ask(http, case, question(case, pace=0), url)
                if answer != (200, ""):
                    assert answer == (402, "budget_exceeded")
                    break


async def test_200_at_once_spend_no_more_than_a_budget_for_10(folder: Workplace) -> None:
    url, (consumer, *_) = f"sqlite:///{folder.path}/data/router.db", CONSUMERS
    with Simulator(folder) as sim:
        config = money("sqlite:///data/router.db", sim, [consumer])
        with Daemon(folder, config) as routerd:
            load = Load(routerd.url, key_of(consumer))
            admitted = await ask_at_once(load, [routerd.url])
            assert admitted in {9, 10}
            told = load.messages["budget_exceeded"]
            assert all(word in told for word in ("tenant", "calendar_month", "limit 0.2", "spent 0", "resets at 20")), told
            await spend_the_rest(load, [routerd.url])
            async with routerd.client(key_of(consumer)) as http:
                refused = await http.post("/v1/chat/completions", json=question("last"))
                assert (refused.status, (await refused.json())["error"]["type"]) == (402, "budget_error")
            asked = load.statuses[200, ""]
            assert len(sim.log(event="received")) == asked
            found = await settled(url, lambda now: len(now.requests) == asked, 5, "the ledger")
            _is_kept(found.posted("tenant:"))
            assert found.posted("tenant:") == found.cost
            assert (await audited(routerd))["holds"] is True
        last = await books(url)
        assert (last.leased, last.leases) == (0, [])
    figures(f"{admitted} of {AT_ONCE} at once admitted, {BUDGET - last.cost} nano-USD of {BUDGET} left")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [5, pytest.param(50, marks=pytest.mark.torture)])
async def test_200_at_once_on_two_daemons_share_a_budget_for_10(
    folder: Workplace, postgres_url: str, redis_url: str, seeds: int
) -> None:
    consumers, admitted = CONSUMERS[:seeds], []
    with Simulator(folder) as sim:
        config = money(postgres_url, sim, consumers) | {"redis": {"url": redis_url}}
        with Daemon(folder, config, name="one") as one, Daemon(folder, config, name="two") as two:
            urls = [one.url, two.url]
            for consumer in consumers:
                load = Load(one.url, key_of(consumer))
                admitted.append(await ask_at_once(load, urls))
                await spend_the_rest(load, urls)
            asked = len(sim.log(event="received"))
            found = await settled(postgres_url, lambda now: len(now.requests) == asked, 10, "the ledger")
            assert (await audited(one))["holds"] is True
        last = await books(postgres_url)
    spent = sorted(int(row["posted_nano"]) for row in found.budgets)
    assert len(spent) == seeds
    for each in spent:
        _is_kept(each)
    assert (last.leased, last.leases) == (0, [])
    left = (BUDGET - spent[-1], BUDGET - spent[0])
    figures(f"{seeds} seeds: {min(admitted)} to {max(admitted)} admitted at once, {left[0]} to {left[1]} of {BUDGET} left")


async def test_a_reload_that_lowers_a_budget_below_what_is_spent_refuses_the_next_request(folder: Workplace) -> None:
    url, (consumer, *_) = f"sqlite:///{folder.path}/data/router.db", CONSUMERS
    with Simulator(folder) as sim:
        config = money("sqlite:///data/router.db", sim, [consumer], limit=1000 * HELD)
        with Daemon(folder, config) as routerd:
            load = Load(routerd.url, key_of(consumer))
            async with aiohttp.ClientSession() as http:
                for number in range(3):
                    assert await load.ask(http, f"before-{number}", question(f"before-{number}", pace=0)) == (200, "")
                before = await settled(url, lambda now: len(now.requests) == 3, 5, "the ledger")
                await routerd.reload(money("sqlite:///data/router.db", sim, [consumer], limit=2 * HELD))
                assert await load.ask(http, "after", question("after", pace=0)) == (402, "budget_exceeded")
                after = await books(url)
                assert after.posted("tenant:") == before.posted("tenant:") == before.cost
                await routerd.reload(config)
                assert await load.ask(http, "again", question("again", pace=0)) == (200, "")
            assert (await audited(routerd))["holds"] is True


@pytest.mark.timeout(300)
@pytest.mark.parametrize("streams", [6, pytest.param(200, marks=pytest.mark.torture)])
async def test_a_stream_whose_provider_ignores_its_cap_ends_one_event_past_its_hold(folder: Workplace, streams: int) -> None:
    url, draws = f"sqlite:///{folder.path}/data/router.db", random.Random(streams)
    caps = {f"over-{number}": draws.randint(1, 60) for number in range(streams)}
    with Simulator(folder) as sim:
        config = money("sqlite:///data/router.db", sim, CONSUMERS[:1], limit=1000 * HELD)
        with Daemon(folder, config) as routerd:
            async with routerd.client(key_of(CONSUMERS[0])) as http:
                for begun in range(0, streams, 10):
                    few = list(caps.items())[begun : begun + 10]
                    await asyncio.gather(*(_is_cut(http, case, cap) for case, cap in few))
            found = await settled(url, lambda now: len(now.requests) == streams, 5, "the ledger")
            report = await audited(routerd)
    assert report["holds"] is True
    assert report["overrun_count"] == streams
    listed, rows = {overrun["request"] for overrun in report["overruns"]}, {row["id"] for row in found.requests}
    assert listed == rows or (listed < rows and len(listed) == LISTED)
    names = {line["n"]: line["metadata"]["case"] for line in sim.log(event="received")}
    sent = {names[line["n"]]: line["tokens_sent"] for line in sim.log() if "tokens_sent" in line}
    assert {str(attempt["name"]) for attempt in found.attempts} == sent.keys() == caps.keys()
    for attempt in found.attempts:
        assert (attempt["outcome"], attempt["cost_nano"] > attempt["held_nano"] > 0) == ("overrun", True)
        # What had arrived when the first event too many was seen is charged, and no more than the provider made.
        assert caps[attempt["name"]] < attempt["output_tokens"] <= sent[attempt["name"]]
    paced = sorted(attempt["output_tokens"] - caps[attempt["name"]] for attempt in found.attempts if _pace(attempt["name"]))
    figures(
        f"{streams} streams past their caps: each ended one event past its hold; charged for {paced[len(paced) // 2]} token "
        f"too many in the median, for {paced[-1]} at most"
    )


def _pace(case: str) -> int:
    """Half of them one token after the other, half all at once."""
    return 200 * (case[-1] in "02468")


async def _is_cut(http: aiohttp.ClientSession, case: str, cap: int) -> None:
    """Its caller gets one token more than was held, and is told why there are no more."""
    order = f"ignore_cap;output_tokens=300;tokens_per_second={_pace(case)}"
    body = chat("m", order, case=case, max_tokens=cap, stream=True)
    events = await sse(await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": case}))
    assert '"code":"budget_exceeded"' in events[-1], events[-1]
    assert "data: [DONE]" not in events
    assert sum('"content":"' in event and '"content":""' not in event for event in events) == cap + 1


def _is_kept(spent: int) -> None:
    assert spent <= BUDGET, f"overshot by {spent - BUDGET}"
    assert BUDGET - spent < max(HELD, BUDGET // 20)
