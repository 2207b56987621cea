"""Failover that callers do not notice, storms that stay bounded, ejection and the way back, rehearsals on command."""

import asyncio
from collections import Counter

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, until

pytestmark = pytest.mark.process

FAST = ("--tokens-per-second", "0")


async def test_one_of_two_targets_failing_always_is_seen_by_no_caller(folder: Workplace) -> None:
    with (
        Simulator(folder, "bad", *FAST, "--fault", "500=1") as bad,
        Simulator(folder, "good", *FAST) as good,
        Daemon(folder, settings({"bad": bad.provider, "good": good.provider}, {"m": ["bad", "good"]})) as routerd,
    ):
        async with routerd.client() as http:
            for number in range(60):
                answer = await http.post("/v1/chat/completions", json=chat("m", stream=number % 2 == 1))
                text = await answer.text()
                assert (answer.status, answer.headers["X-Router-Provider"]) == (200, "good")
                assert '"error"' not in text
        asked = len(bad.log(event="received"))
        assert asked == 5, "ejected after five failures in a row"
        # A stream's caller has its end before the request is settled and counted.
        await until(lambda: len(routerd.ledger()) == 60)
        assert await routerd.metric("routerd_attempts_total", provider="bad", outcome="server_error") == asked
        assert await routerd.metric("routerd_attempts_total", provider="good", outcome="ok") == 60
        assert await routerd.metric("routerd_requests_total", alias="m", status="2xx") == 60
        assert await routerd.metric("routerd_target_up", target="bad/m") == 0
        tries = [[t["outcome"] for t in entry["tries"]] for entry in routerd.ledger()]
        assert Counter(map(tuple, tries)) == {("server_error", "ok"): asked, ("ok",): 60 - asked}


async def ask_at(routerd: Daemon, rate: int, seconds: int) -> Counter[int]:
    """The statuses of `rate` requests a second."""
    async with routerd.client() as http:

        async def ask() -> int:
            async with http.post("/v1/chat/completions", json=chat("m")) as answer:
                return answer.status

        calls = []
        for _ in range(rate * seconds):
            calls.append(asyncio.create_task(ask()))
            await asyncio.sleep(1 / rate)
        return Counter(await asyncio.gather(*calls))


@pytest.mark.parametrize("seconds", [2, pytest.param(15, marks=pytest.mark.torture)])
async def test_when_everything_fails_the_storm_stays_below_a_fifth_more(folder: Workplace, seconds: int) -> None:
    broken = (*FAST, "--fault", "500=1")
    with (
        Simulator(folder, "a", *broken) as a,
        Simulator(folder, "b", *broken) as b,
        Daemon(folder, settings({"a": a.provider, "b": b.provider}, {"m": ["a", "b"]})) as routerd,
    ):
        statuses = await ask_at(routerd, 200, seconds)
        assert statuses.keys() <= {502, 503}
        upstream = len(a.log(event="received")) + len(b.log(event="received"))
        assert upstream / statuses.total() <= 1.2
        await until(lambda: len(routerd.ledger()) == statuses.total())


async def test_the_retry_budget_holds_where_no_target_is_ejected_yet(folder: Workplace) -> None:
    targets = [{"provider": "sim", "model": f"m{number}"} for number in range(60)]
    catalog = {"m": {"strategy": "weighted", "targets": targets}}
    with (
        Simulator(folder, "sim", *FAST, "--fault", "500=1") as sim,
        Daemon(folder, settings({"sim": sim.provider}, catalog)) as routerd,
    ):
        asked = (await ask_at(routerd, 200, 1)).total()
        assert asked + 20 <= len(sim.log(event="received")) <= 1.2 * asked + 20, "a fifth and a burst of 20"


async def test_a_killed_provider_is_ejected_and_back_when_it_is(folder: Workplace) -> None:
    config = {"health": {"mode": "off", "cooldown": "1s"}}
    with Simulator(folder, "other", *FAST) as other, Simulator(folder, "sim", *FAST) as first:
        catalog = {"m": ["sim", "other"]}
        with Daemon(folder, settings({"sim": first.provider, "other": other.provider}, catalog, **config)) as routerd:
            async with routerd.client() as http:

                async def answered_by() -> str:
                    async with http.post("/v1/chat/completions", json=chat("m")) as answer:
                        assert answer.status == 200
                        return answer.headers["X-Router-Provider"]

                assert await answered_by() == "sim"
                first.kill()
                assert [await answered_by() for _ in range(5)] == ["other"] * 5
                await routerd.event("target_ejected", target="sim/m")
                assert await routerd.metric("routerd_target_up", target="sim/m") == 0
                with Simulator(folder, "again", *FAST, "--latency", "0.3", port=first.port) as again:
                    await asyncio.sleep(1.0)
                    together = await asyncio.gather(*(answered_by() for _ in range(10)))
                    assert Counter(together) == {"sim": 1, "other": 9}, "one request alone tries a half-open target"
                    assert len(again.log(event="received")) == 1
                    await routerd.event("target_recovered", target="sim/m")
                    assert await answered_by() == "sim"
                assert await routerd.metric("routerd_target_up", target="sim/m") == 1


async def test_probes_find_a_dead_provider_before_a_caller_does(folder: Workplace) -> None:
    config = {"health": {"mode": "models", "interval": "200ms", "cooldown": "30s"}}
    with Simulator(folder, "other", *FAST) as other, Simulator(folder, "sim", *FAST) as sim:
        catalog = {"m": ["sim", "other"]}
        with Daemon(folder, settings({"sim": sim.provider, "other": other.provider}, catalog, **config)) as routerd:
            sim.kill()
            await routerd.event("target_ejected", target="sim/m")
            async with routerd.client() as http:
                answer = await http.post("/v1/chat/completions", json=chat("m"))
                assert (answer.status, answer.headers["X-Router-Provider"], answer.headers["X-Router-Attempts"]) == (
                    200,
                    "other",
                    "1",
                )


async def test_the_last_target_is_asked_however_ill_it_is(folder: Workplace) -> None:
    catalog = {"m": {"targets": ["sim"], "max_attempts": 1}}
    with (
        Simulator(folder, "sim", *FAST, "--fault", "500=1;requests=1-8") as sim,
        Daemon(folder, settings({"sim": sim.provider}, catalog)) as routerd,
    ):
        async with routerd.client() as http:
            statuses = [(await http.post("/v1/chat/completions", json=chat("m"))).status for _ in range(10)]
    assert statuses == [502] * 8 + [200] * 2


async def test_a_forced_failover_is_answered_by_the_fallback_and_sends_nothing(folder: Workplace) -> None:
    with Simulator(folder, "sim", *FAST) as sim, Simulator(folder, "other", *FAST) as other:
        catalog = {"m": {"targets": ["sim"], "fallbacks": ["n"]}, "n": "other"}
        config = settings({"sim": sim.provider, "other": other.provider}, catalog)
        with Daemon(folder, config, {"ROUTER_FORCE_FAILOVER": "sim"}) as routerd:
            async with routerd.client() as http:
                answer = await http.post("/v1/chat/completions", json=chat("m"), headers={"X-Request-Id": "forced"})
                assert (answer.status, answer.headers["X-Router-Provider"], answer.headers["X-Router-Attempts"]) == (
                    200,
                    "other",
                    "2",
                )
            first, second = (await routerd.entry("forced"))["tries"]
            assert (first["outcome"], first["cost_nano"], second["outcome"], second["alias"]) == ("forced", 0, "ok", "n")
        assert sim.log(event="received") == []
