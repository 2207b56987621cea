"""A good file is swapped in whole and nobody notices; a bad one changes nothing and everybody who looks is told."""

import asyncio
import json
import signal
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, sse, until
from tests.wire import Wire

pytestmark = pytest.mark.process

FAST = ("--tokens-per-second", "0")
GOOD = settings({"sim": {"type": "simulated"}}, {"m": "sim"})
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in pairwise("abcdefghi")
)
BAD: dict[str, tuple[Any, str]] = {
    "syntax": ("server: {listen: [", "1:"),
    "unknown-key": ({**GOOD, "servre": {}}, "servre"),
    "unknown-provider": ({**GOOD, "model_catalog": [{"alias": "m", "targets": [{"provider": "nobody"}]}]}, "nobody"),
    "missing-variable": ({**GOOD, "observability": {"metrics_token": "${NOT_SET_ANYWHERE}"}}, "NOT_SET_ANYWHERE"),
    "missing-tls-file": (
        {**GOOD, "server": {"listen": "127.0.0.1:0", "tls": {"cert": "no.pem", "key": "no.key"}}},
        "no.pem",
    ),
    "yaml-bomb": (BOMB, "a"),
    "not-utf8": ("model_catalog: \udcff", ""),
}


def rejected(routerd: Daemon, more_than: int) -> bool:
    return len(routerd.events("config_rejected")) > more_than


async def test_an_invalid_file_changes_nothing_and_is_seen_in_log_metric_and_readiness(folder: Workplace) -> None:
    with Daemon(folder, GOOD) as routerd:
        async with routerd.client() as http:
            for name, (config, named) in BAD.items():
                if name == "not-utf8":
                    routerd.file.write_bytes(b"model_catalog: \xff\xfe")
                    before = len(routerd.events("config_rejected"))
                    routerd.send(signal.SIGHUP)
                    await until(partial(rejected, routerd, before))
                    told = routerd.events("config_rejected")[-1]
                else:
                    told = await routerd.reload(config)
                assert (told["event"], named in json.dumps(told["problems"])) == ("config_rejected", True), (name, told)
                assert routerd.file.name in json.dumps(told["problems"])
                assert await routerd.metric("routerd_config_reload_success") == 0
                ready = await http.get("/readyz")
                assert (ready.status, "is not in force" in (await ready.json())["notes"]["config"]) == (200, True)
                answer = await http.post("/v1/chat/completions", json=chat("m"))
                assert answer.status == 200
            assert (await routerd.reload(GOOD | {"tiers": {"fast": "m"}}))["event"] == "config_reloaded"
            assert await routerd.metric("routerd_config_reload_success") == 1
            assert "config" not in (await (await http.get("/readyz")).json())["notes"]


async def test_a_changed_file_is_taken_over_without_a_signal(folder: Workplace) -> None:
    with Daemon(folder, GOOD) as routerd:
        routerd.write(settings({"sim": {"type": "simulated"}}, {"m": "sim", "new": "sim"}))
        await routerd.event("config_reloaded", 6.0, changed=True)
        async with routerd.client() as http:
            assert (await http.post("/v1/chat/completions", json=chat("new"))).status == 200


@pytest.mark.parametrize(("reloads", "rate"), [(20, 100), pytest.param(100, 200, marks=pytest.mark.torture)])
async def test_reloads_under_load_fail_no_request(folder: Workplace, reloads: int, rate: int) -> None:
    with Simulator(folder, "one", *FAST) as one, Simulator(folder, "two", *FAST) as two:
        both = {"one": one.provider, "two": two.provider}
        generations = [settings(both, {"m": ["one", "two"]}), settings({"two": two.provider}, {"m": ["two"]})]
        with Daemon(folder, generations[0]) as routerd:
            async with routerd.client() as http:
                statuses: list[object] = []
                is_over = asyncio.Event()

                async def ask(number: int) -> None:
                    body = chat("m", stream=number % 3 == 0)
                    async with http.post("/v1/chat/completions", json=body) as answer:
                        text = await answer.text()
                        is_whole = text.endswith("data: [DONE]\n\n") if body["stream"] else '"usage"' in text
                        statuses.append(answer.status if is_whole else text)

                async def load() -> None:
                    running, number = set(), 0
                    while not is_over.is_set():
                        number += 1
                        running.add(asyncio.create_task(ask(number)))
                        await asyncio.sleep(1 / rate)
                    await asyncio.gather(*running)

                loading = asyncio.create_task(load())
                long = await http.post("/v1/chat/completions", json=chat("m", "tokens_per_second=15", stream=True))
                assert long.headers["X-Router-Provider"] == "one"
                for turn in range(1, reloads + 1):
                    told = await routerd.reload(generations[turn % 2])
                    assert (told["event"], told["changed"]) == ("config_reloaded", True)
                assert (await sse(long))[-1] == "data: [DONE]", "a stream ends on the snapshot it began with"
                is_over.set()
                await loading
            assert len(statuses) > reloads
            assert set(statuses) == {200}
            await until(lambda: len(routerd.ledger()) == len(statuses) + 1)
            assert all(entry["outcome"] == "ok" and len(entry["tries"]) == 1 for entry in routerd.ledger())


async def test_what_needs_a_restart_stays_and_the_rest_is_in_force_at_once(folder: Workplace) -> None:
    with Daemon(folder, GOOD) as routerd:
        changed = settings(
            {"sim": {"type": "simulated"}}, {"m": "sim"}, server={"listen": "127.0.0.1:1", "body_limit_mb": 1}
        )
        assert (await routerd.reload(changed))["event"] == "config_reloaded"
        async with Wire(routerd) as wire:
            wire.post("/v1/chat/completions", chat("m", padding="x" * 2**20))
            assert (await wire.reply()).status == 413
