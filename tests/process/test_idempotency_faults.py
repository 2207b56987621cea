"""Idempotency keys when processes end, are killed, or share a database: never a second call while the first may finish."""

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon import Daemon, Entry, Simulator, Workplace, chat, settings, until
from tests.process.test_idempotency import CHAT, REPLAYED, code, post
from tests.wire import Wire

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "200") as running:
        yield running


def configuration(sim: Simulator, **sections: Any) -> Entry:
    return settings({"sim": sim.provider}, {"m": "sim"}, **sections)


def shared(sim: Simulator, url: str) -> Entry:
    """One of several daemons on one PostgreSQL."""
    return configuration(sim, database={"url": url}, server={"listen": "127.0.0.1:0", "secret": "s" * 40})


async def answered(daemon: Daemon, key: str, body: Entry, timeout_s: float = 40.0) -> tuple[bool, bytes]:
    """What the key is answered once nobody works on it any more, and whether it was a replay; 409 until then."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    async with daemon.client() as http:
        while True:
            answer, told = await post(http, key, body)
            if answer.status != 409:
                assert answer.status == 200, told
                return REPLAYED in answer.headers, told
            assert asyncio.get_running_loop().time() < deadline, told
            await asyncio.sleep(0.1)


async def test_killed_in_a_call_the_key_is_free_when_the_next_daemon_has_adopted(folder: Workplace, sim: Simulator) -> None:
    body = chat("m", "latency=30", case="killed", max_tokens=8)
    with Daemon(folder, configuration(sim)) as first:
        async with Wire(first) as wire:
            wire.post(CHAT, body, Idempotency_Key="killed")
            await sim.logged("received", case="killed")
            first.kill()
    with Daemon(folder, configuration(sim), name="second") as second:
        async with Wire(second) as wire:
            wire.post(CHAT, body, Idempotency_Key="killed", x_router_timeout="0.5")
            assert (await wire.reply(20)).status == 504
    assert len(sim.log(event="received", case="killed")) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_what_was_answered_survives_a_kill(folder: Workplace, sim: Simulator, stream: bool) -> None:
    body = chat("m", case=f"survives-{stream}", stream=stream)
    with Daemon(folder, configuration(sim)) as first:
        async with first.client() as http:
            _, told = await post(http, "survives", body)
        first.kill()
    with Daemon(folder, configuration(sim), name="second") as second:
        assert await answered(second, "survives", body) == (True, told)
        await until(lambda: len(second.ledger()) == 1, what="one row for it")
    assert len(sim.log(event="received", case=f"survives-{stream}")) == 1


async def test_two_daemons_on_one_database_make_one_call(folder: Workplace, sim: Simulator, postgres_url: str) -> None:
    body = chat("m", "latency=1.5", case="two")
    config = shared(sim, postgres_url)
    with Daemon(folder, config, name="a") as one, Daemon(folder, config, name="b") as other:
        async with one.client() as http, other.client() as https:
            running = asyncio.create_task(post(http, "two", body))
            await sim.logged("received", case="two")
            busy, told = await post(https, "two", body)
            assert (busy.status, code(told)) == (409, "idempotency_in_progress")
            _, first = await running
            again, same = await post(https, "two", body)
            assert (again.headers[REPLAYED], same) == ("true", first)
            burst = await asyncio.gather(*(post(each, "burst", chat("m", case="burst")) for each in (http, https) * 8))
    assert {answer.status for answer, _ in burst} <= {200, 409}
    assert len({told for answer, told in burst if answer.status == 200}) == 1
    assert len(sim.log(event="received", case="two")) == len(sim.log(event="received", case="burst")) == 1


@pytest.mark.torture
async def test_the_other_daemon_takes_over_when_one_was_killed(folder: Workplace, sim: Simulator, postgres_url: str) -> None:
    body = chat("m", "latency=2", case="taken-over")
    config = shared(sim, postgres_url)
    with Daemon(folder, config, name="a") as one, Daemon(folder, config, name="b") as other:
        async with Wire(one) as wire:
            wire.post(CHAT, body, Idempotency_Key="taken-over")
            await sim.logged("received", case="taken-over")
            async with other.client() as http:
                assert (await post(http, "taken-over", body))[0].status == 409
            one.kill()
        is_replay, told = await answered(other, "taken-over", body)
    assert not is_replay
    assert json.loads(told)["usage"]["completion_tokens"] == 24
    assert len(sim.log(event="received", case="taken-over")) == 2


async def test_a_call_whose_caller_has_left_is_waited_for_when_the_daemon_ends(folder: Workplace, sim: Simulator) -> None:
    body = chat("m", "latency=2", case="drained")
    with Daemon(folder, configuration(sim)) as first:
        async with Wire(first) as wire:
            wire.post(CHAT, body, Idempotency_Key="drained", X_Request_Id="drained")
            await sim.logged("received", case="drained")
            wire.reset()
        first.send(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, 30) == 0
        (entry,) = first.ledger()
        assert (entry["outcome"], entry["status"]) == ("ok", 200)
    with Daemon(folder, configuration(sim), name="second") as second:
        assert (await answered(second, "drained", body))[0]
    assert len(sim.log(event="received", case="drained")) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_past_the_drain_the_call_is_cut_and_its_key_is_free(folder: Workplace, sim: Simulator, stream: bool) -> None:
    config = configuration(sim, server={"listen": "127.0.0.1:0", "drain": "300ms"})
    case = f"cut-{stream}"
    body = chat("m", "tokens_per_second=10" if stream else "timeout", case=case, stream=stream, max_tokens=4000)
    with Daemon(folder, config) as first:
        async with first.client() as http:
            running = asyncio.create_task(post(http, "cut", body))
            await sim.logged("received", case=case)
            first.send(signal.SIGTERM)
            answer, told = await running
        assert (answer.status, b'"not_ready"' in told) == (200 if stream else 503, True)
        await sim.logged("cancelled", case=case)
        assert await asyncio.to_thread(first.wait, 30) == 0
        assert [entry["outcome"] for entry in first.ledger()] == ["cancelled"]
    with Daemon(folder, config, name="second") as second:
        quick = {"x_router_timeout": "0.3"}
        async with second.client() as http:
            again, _ = await post(http, "cut", body, **quick)
        assert REPLAYED not in again.headers
    assert len(sim.log(event="received", case=case)) == 2


async def test_what_the_key_may_not_have_any_more_is_not_told_again(folder: Workplace, sim: Simulator) -> None:
    config = configuration(sim, budgets={"default_usd": 1})
    body = chat("m", case="authority")
    with Daemon(folder, config) as routerd:
        async with routerd.client() as http:
            assert (await post(http, "authority", body))[0].status == 200
            await routerd.reload(config | {"budgets": {"default_usd": "0.000001"}})
            spent, told = await post(http, "authority", body)
            assert (spent.status, code(told)) == (402, "budget_exceeded")
            config["model_catalog"][0]["alias"] = "n"
            await routerd.reload(config)
            unknown, told = await post(http, "authority", body)
            assert (unknown.status, code(told)) == (404, "model_not_found")
    assert len(sim.log(event="received", case="authority")) == 1
