"""Several workers behind one address: one daemon to callers, to operators and to the ledger, whoever of them dies."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from router.cli.control import ask
from router.config.paths import control_socket
from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, alias, chat, settings, sse, until
from tests.process.money_load import Load, audited, books, figures, mixed, received, settled
from tests.process.test_money_budgets import BUDGET, HELD, ask_at_once, key_of, money, spend_the_rest
from tests.process.test_startup import refused
from tests.process.test_tls import client_tls, make_certificate, shown_to_a_new_caller
from tests.wire import Wire

pytestmark = pytest.mark.process

SQLITE = "sqlite:///data/router.db"
GENEROUS_S = 20.0


def workers(count: int, redis_url: str, **server: Any) -> Entry:
    return {"server": {"listen": "127.0.0.1:0", "workers": count, **server}, "redis": {"url": redis_url}}


def simulated(redis_url: str, count: int = 2, **server: Any) -> Entry:
    return settings({"sim": {"type": "simulated", "simulate": {"latency": "0s"}}}, {"m": "sim"}) | workers(
        count, redis_url, **server
    )


async def pids(daemon: Daemon) -> dict[int, int]:
    """The process of each worker that serves, as the supervisor says over its socket."""
    crew = (await asked(daemon, "GET", "/status"))["workers"]
    return {worker["worker"]: worker["pid"] for worker in crew if worker["state"] == "ready"}


async def asked(daemon: Daemon, method: str, route: str) -> Entry:
    url = json.loads(daemon.file.read_text())["database"]["url"]
    return await asyncio.to_thread(ask, daemon.folder / control_socket(url), method, route)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def on_new_connections(daemon: Daemon, count: int, key: str = KEY, model: str = "m") -> Counter[int]:
    """So many requests at once, each on a connection of its own; how often each status came."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(daemon.url, connector=connector, headers=headers) as http:

        async def call() -> int:
            async with http.post("/v1/chat/completions", json=chat(model)) as answer:
                await answer.read()
                return answer.status

        return Counter(await asyncio.gather(*(call() for _ in range(count))))


def served_by(daemon: Daemon) -> set[int]:
    return {entry["worker"] for entry in daemon.events("request_finished")}


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, redis_server: Any) -> Iterator[Daemon]:
    config = simulated(redis_server if isinstance(redis_server, str) else redis_server.url)
    secret, limit = KEY.partition(".")[2], {"requests_per_minute": 20}
    config["bootstrap"]["api_keys"] += [
        {"tenant": "demo", "name": "few", "prefix": "few", "secret": secret, "rate_limit": limit}
    ]
    with Daemon(module_folder, config) as running:
        yield running


async def test_every_worker_answers_and_one_scrape_counts_them_all(routerd: Daemon) -> None:
    started = routerd.events("started")
    assert [entry["details"]["workers"] for entry in started] == ["2"]
    count = 60
    assert await on_new_connections(routerd, count) == {200: count}
    await until(lambda: len(routerd.events("request_finished")) == count)
    assert served_by(routerd) == {0, 1}
    for _ in range(4):
        assert await routerd.metric("routerd_requests_total", status="2xx") == count
    assert await routerd.metric("routerd_workers", state="ready") == 2
    assert await routerd.metric("routerd_workers") == 2
    assert await routerd.metric("routerd_target_up") == 1
    await until(lambda: len(routerd.ledger()) == count)


async def test_a_limit_of_a_key_is_one_for_all_workers(routerd: Daemon) -> None:
    assert await on_new_connections(routerd, 60, key_of("few")) == {200: 20, 429: 40}


async def test_a_reload_reaches_every_worker_and_is_good_only_if_it_is_for_all(routerd: Daemon) -> None:
    good = json.loads(routerd.file.read_text())
    catalog = [*good["model_catalog"], alias("fast", "sim")]
    routerd.write(good | {"model_catalog": catalog, "server": good["server"] | {"workers": 3}})
    routerd.send(signal.SIGHUP)
    await until(lambda: {entry["worker"] for entry in routerd.events("config_reloaded")} == {0, 1})
    assert await on_new_connections(routerd, 10, model="fast") == {200: 10}
    assert any("server.workers has changed" in entry["message"] for entry in routerd.events("config"))
    routerd.write(good | {"redis": {"url": ""}})
    answer = await asked(routerd, "POST", "/reload")
    assert (answer["reloaded"], len(answer["problems"])) == (False, 1)
    assert "server.workers: found 2 workers and no redis.url" in answer["problems"][0]
    routerd.write(good)
    assert await asked(routerd, "POST", "/reload") == {
        "reloaded": True,
        "fingerprint": (await asked(routerd, "GET", "/status"))["fingerprint"],
        "problems": [],
    }


async def test_several_workers_without_redis_are_refused_with_the_place_and_the_remedy(folder: Workplace) -> None:
    code, said = refused(folder, simulated("") | {"redis": {}})
    assert code == 2
    assert "refused.json:1:" in said
    assert 'server.workers: found 2 workers and no redis.url; expected redis: {url: "redis://' in said


async def test_what_keeps_the_first_worker_from_starting_is_said_once_with_its_exit_code(
    folder: Workplace, redis_url: str
) -> None:
    nowhere = {"database": {"url": "postgresql://u:p@127.0.0.1:1/none"}}
    code, said = refused(folder, simulated(redis_url, secret="0123456789abcdef" * 2) | nowhere)
    assert (code, said.count("cannot be reached"), "Traceback" in said) == (1, 1, False)


async def killed_and_replaced(daemon: Daemon, index: int, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    end = await daemon.event("worker", details={"worker": str(index), "pid": str(pid)})
    assert end["message"] == f"worker {index} was ended by SIGKILL; it starts again in 0.25 s"
    async with asyncio.timeout(GENEROUS_S):
        while len(await pids(daemon)) < 2:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_worker_killed_under_load_is_replaced_and_nothing_is_lost(
    folder: Workplace, request: pytest.FixtureRequest, redis_url: str, engine: str
) -> None:
    url = SQLITE if engine == "sqlite" else str(request.getfixturevalue("postgres_url"))
    place = f"sqlite:///{folder.path}/data/router.db" if engine == "sqlite" else url
    with Simulator(folder, "sim", "--tokens-per-second", "100") as sim:
        sections = workers(2, redis_url, secret="0123456789abcdef" * 2)
        config = (
            settings({"sim": sim.provider}, {"m": "sim"}, database={"url": url}, budgets={"default_usd": 100}) | sections
        )
        with Daemon(folder, config) as routerd:
            load = Load(routerd.url, KEY)
            running = asyncio.create_task(load.run(16, mixed("m"), prefix="w"))
            await until(lambda: served_by(routerd) == {0, 1}, GENEROUS_S)
            counted = await routerd.metric("routerd_requests_total")
            for index, pid in (await pids(routerd)).items():
                await killed_and_replaced(routerd, index, pid)
            assert await routerd.metric("routerd_requests_total") >= counted, "a sum fell"
            assert await routerd.metric("routerd_worker_restarts_total") == 2
            await asyncio.sleep(0.5)
            load.is_over = True
            await running
            truth = received(sim)
            found = await settled(place, lambda now: not now.lost(truth), GENEROUS_S + 15, "what the dead had under way")
            assert found.doubled == []
            assert (await audited(routerd))["holds"] is True
        last = await books(place)
    assert (last.leased, last.leases) == (0, [])
    assert set(load.statuses) <= {(200, ""), (0, "")}, load.statuses
    cut = load.statuses[0, ""]
    assert cut, "nobody was cut: the load was no load"
    figures(f"{engine}: two workers killed, {cut} of {sum(load.statuses.values())} requests cut, 0 lost, 0 double")


async def test_200_at_once_on_workers_spend_no_more_than_a_budget_for_10(folder: Workplace, redis_url: str) -> None:
    place = f"sqlite:///{folder.path}/data/router.db"
    with Simulator(folder) as sim:
        config = money(SQLITE, sim, ["consumer"])
        config |= workers(3, redis_url) | {"server": config["server"] | {"workers": 3}}
        with Daemon(folder, config) as routerd:
            load = Load(routerd.url, key_of("consumer"))
            admitted = await ask_at_once(load, [routerd.url])
            hints = {entry.get("hint") for entry in routerd.events("request_refused", status=503)}
            assert set(load.statuses) <= {(200, ""), (402, "budget_exceeded")}, (load.statuses, hints)
            await spend_the_rest(load, [routerd.url])
            asked_of_sim = len(sim.log(event="received"))
            found = await settled(place, lambda now: len(now.requests) == asked_of_sim, GENEROUS_S, "the ledger")
            assert found.posted("tenant:") == found.cost <= BUDGET
            assert BUDGET - found.cost < max(HELD, BUDGET // 20)
            assert {entry["worker"] for entry in routerd.events("request_refused")} == {0, 1, 2}
            assert (await audited(routerd))["holds"] is True
    figures(f"{admitted} of 200 at once admitted on 3 workers, {BUDGET - found.cost} nano-USD of {BUDGET} left")


async def test_workers_end_with_a_supervisor_that_is_killed_and_keep_the_database_until_then(
    folder: Workplace, redis_url: str
) -> None:
    config = simulated(redis_url, drain="20s")
    with Daemon(folder, config) as routerd:
        crew = await pids(routerd)
        async with Wire(routerd) as wire:
            wire.post("/v1/chat/completions", chat("m", "tokens_per_second=20", stream=True, max_tokens=40))
            await wire.until(b"\n\n")
            routerd.kill()
            code, said = refused(folder, config)
            assert (code, "the database is in use" in said) == (2, True)
            await wire.until(b"data: [DONE]\n\n")
        await until(lambda: not any(is_alive(pid) for pid in crew.values()), GENEROUS_S)
        assert {entry["worker"] for entry in routerd.events("stopped")} == {0, 1}
        (entry,) = routerd.ledger()
        assert entry["outcome"] == "ok"
    with Daemon(folder, config, name="again") as again:
        assert await on_new_connections(again, 4) == {200: 4}


async def test_sigterm_drains_all_a_second_hurries_and_the_exit_code_is_0(folder: Workplace, redis_url: str) -> None:
    with Simulator(folder) as sim:
        config = settings({"sim": sim.provider}, {"m": "sim"}) | workers(2, redis_url)
        with Daemon(folder, config) as routerd:
            async with routerd.client() as http:
                short = chat("m", "tokens_per_second=20", stream=True)
                whole = [await http.post("/v1/chat/completions", json=short) for _ in range(8)]
                endless = chat("m", "tokens_per_second=10", stream=True, max_tokens=4000)
                cut = [await http.post("/v1/chat/completions", json=endless) for _ in range(6)]
                routerd.send(signal.SIGTERM)
                for stream in whole:
                    assert (await sse(stream))[-1] == "data: [DONE]"
                assert {entry["worker"] for entry in routerd.events("draining")} == {0, 1}
                routerd.send(signal.SIGTERM)
                for stream in cut:
                    assert '"not_ready"' in (await sse(stream))[-1]
                assert await asyncio.to_thread(routerd.wait, GENEROUS_S) == 0
                assert routerd.events("stopped")[-1]["message"] == "all workers have ended"
                assert Counter(entry["outcome"] for entry in routerd.ledger()) == {"ok": 8, "cancelled": 6}


async def test_tls_ends_at_every_worker_and_follows_its_files(folder: Workplace, redis_url: str) -> None:
    old = make_certificate(folder.path, 1)
    config = simulated(redis_url, tls={"cert": "tls.pem", "key": "tls.key"})
    with Daemon(folder, config) as routerd:
        assert routerd.url.startswith("https://")
        assert {await shown_to_a_new_caller(routerd) for _ in range(8)} == {old}
        new = make_certificate(folder.path, 2)
        routerd.send(signal.SIGHUP)
        await until(lambda: len({e["worker"] for e in routerd.events("config_reloaded")}) == 2)
        assert {await shown_to_a_new_caller(routerd) for _ in range(8)} == {new}
        async with Wire(routerd, tls=client_tls()) as wire:
            wire.post("/v1/chat/completions", chat("m"))
            assert (await wire.reply()).status == 200
