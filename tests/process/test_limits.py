"""Limits as the caller meets them: exact counts, headers to go by, and nothing held once a request is over."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, until
from tests.wire import Wire

pytestmark = pytest.mark.process

LIMITS = {
    "sixty": {"requests_per_minute": 60},
    "few": {"requests_per_minute": 60, "tokens_per_minute": 60000, "parallel_requests": 2},
    "tokens": {"tokens_per_minute": 2000},
}


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "0") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    config = settings(
        {"sim": sim.provider}, {"m": "sim", "tight": {"targets": ["sim"], "rate_limit": {"requests_per_minute": 2}}}
    )
    config["bootstrap"]["api_keys"] += [
        {"tenant": "demo", "name": name, "prefix": name, "secret": "a-secret-of-the-tests-only", "rate_limit": limits}
        for name, limits in LIMITS.items()
    ]
    with Daemon(module_folder, config) as running:
        yield running


def seen(sim: Simulator, event: str, case: str) -> bool:
    return len(sim.log(event=event, case=case)) == 2


def key(name: str) -> str:
    return f"sk-{name}.a-secret-of-the-tests-only"


async def test_the_61st_request_of_a_minute_is_refused_with_everything_to_go_by(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client(key("sixty")) as http:
        remaining = []
        for _ in range(60):
            answer = await http.post("/v1/chat/completions", json=chat("m", case="sixty"))
            assert (answer.status, answer.headers["x-ratelimit-limit-requests"]) == (200, "60")
            remaining.append(int(answer.headers["x-ratelimit-remaining-requests"]))
        assert remaining == list(range(59, -1, -1))
        answer = await http.post("/v1/chat/completions", json=chat("m", case="sixty"))
        error = (await answer.json())["error"]
        assert (answer.status, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limited")
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert 0 < int(answer.headers["X-RateLimit-Reset-Ms"]) <= 60_000
        assert "60 requests per minute" in error["message"]
    assert len(sim.log(event="received", case="sixty")) == 60
    assert await routerd.metric("routerd_refused_total", code="rate_limited") >= 1


async def test_a_burst_cannot_slip_through_together(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client(key("few")) as http:

        async def ask() -> int:
            async with http.post("/v1/chat/completions", json=chat("m", "latency=0.3", case="burst")) as answer:
                return answer.status

        statuses = await asyncio.gather(*(ask() for _ in range(20)))
    assert sorted(statuses) == [200] * 2 + [429] * 18
    assert len(sim.log(event="received", case="burst")) == 2


async def test_a_slot_is_free_again_after_an_answer_a_failure_and_a_caller_that_left(
    routerd: Daemon, sim: Simulator
) -> None:
    async with routerd.client(key("few")) as http:
        for order, status in (("none", 200), ("400", 400), ("500", 502), ("cut_stream", 502), ("none", 200)):
            answer = await http.post("/v1/chat/completions", json=chat("m", order))
            assert answer.status == status
        for number in range(3):
            held = [Wire(routerd), Wire(routerd)]
            for wire in held:
                await wire.__aenter__()
                wire.post(
                    "/v1/chat/completions",
                    chat("m", "silence", case=f"held{number}", stream=True),
                    Authorization=f"Bearer {key('few')}",
                )
            await until(partial(seen, sim, "received", f"held{number}"))
            refused = await http.post("/v1/chat/completions", json=chat("m"))
            assert (refused.status, "2 requests at a time" in await refused.text()) == (429, True)
            for wire in held:
                wire.reset()
            await until(partial(seen, sim, "cancelled", f"held{number}"), 1.0)
            answer = await http.post("/v1/chat/completions", json=chat("m"))
            assert answer.status == 200


async def test_tokens_are_held_before_and_corrected_after(routerd: Daemon) -> None:
    async with routerd.client(key("tokens")) as http:
        for _ in range(3):
            answer = await http.post("/v1/chat/completions", json=chat("m", max_tokens=24))
            assert (answer.status, answer.headers["x-ratelimit-limit-tokens"]) == (200, "2000")
        answer = await http.post("/v1/chat/completions", json=chat("m", max_tokens=5000))
        assert (answer.status, "2000 tokens per minute" in await answer.text()) == (429, True)
        later = await http.post("/v1/chat/completions", json=chat("m", max_tokens=24))
        spent = 2000 - int(later.headers["x-ratelimit-remaining-tokens"])
        assert 3 * 41 + 24 <= spent <= 3 * 41 + 130


async def test_a_model_s_own_limit_holds_for_everyone(routerd: Daemon) -> None:
    async with routerd.client() as http:
        statuses = [(await http.post("/v1/chat/completions", json=chat("tight"))).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_an_address_over_its_limit_is_not_even_authenticated(folder: Workplace) -> None:
    limits = {"per_address_per_minute": 3}
    with Daemon(folder, settings({"sim": {"type": "simulated"}}, {"m": "sim"}, rate_limits=limits)) as routerd:
        async with routerd.client(None) as http:
            answers = [await http.post("/v1/chat/completions", json=chat("m")) for _ in range(4)]
            assert [a.status for a in answers] == [401, 401, 401, 429]
            assert "Retry-After" in answers[-1].headers
            assert (await http.get("/healthz")).status == 200
