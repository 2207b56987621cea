"""A provider's 429: another target or credential first; else the caller's 429 with a Retry-After that can be believed."""

from collections.abc import Iterator
from email.utils import formatdate
from time import time

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings

pytestmark = pytest.mark.process

RETRY_AFTER = {
    "seconds": ("7", 7, 7),
    "zero": ("0", 1, 1),
    "far": ("1000000000", 60, 60),
    "garbage": ("soon", 1, 1),
    "negative": ("-5", 1, 1),
    "date": ("DATE", 25, 30),
    "past-date": ("Wed, 21 Oct 2015 07:28:00 GMT", 1, 1),
    "infinite": ("inf", 1, 60),
}


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "0", "--fault", "429=1;models=next") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    alone = {name: {"targets": ["sim"], "max_attempts": 1} for name in RETRY_AFTER}
    other = sim.provider | {"headers": {"x-simulate": "none"}}
    catalog = alone | {"next": ["sim", "other"], "rests": ["sim", "other"], "brief": {"targets": ["sim"], "max_attempts": 2}}
    with Daemon(module_folder, settings({"sim": sim.provider, "other": other}, catalog)) as running:
        yield running


@pytest.mark.parametrize("name", RETRY_AFTER)
async def test_retry_after_reaches_the_caller_between_1_and_60_seconds(routerd: Daemon, name: str) -> None:
    text, least, most = RETRY_AFTER[name]
    text = text.replace("DATE", formatdate(time() + 30, usegmt=True))
    async with routerd.client() as http:
        answer = await http.post(
            "/v1/chat/completions", json=chat(name, f"429;retry_after={text}"), headers={"X-Request-Id": name}
        )
        error = (await answer.json())["error"]
    assert (answer.status, error["type"], error["code"]) == (429, "rate_limit_error", "upstream_rate_limited")
    assert least <= int(answer.headers["Retry-After"]) <= most
    entry = await routerd.entry(name)
    assert (entry["outcome"], entry["status"], entry["cost_nano"]) == ("rate_limited", 429, 0)


async def test_a_rate_limited_target_is_left_for_the_next(routerd: Daemon) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("next"))
        assert (answer.status, answer.headers["X-Router-Provider"], answer.headers["X-Router-Attempts"]) == (
            200,
            "other",
            "2",
        )


async def test_a_target_that_named_a_time_is_not_asked_again_before_it(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("rests", "429;retry_after=30"))
        assert answer.headers["X-Router-Provider"] == "other"
        await routerd.event("target_ejected", target="sim/rests", cooldown_s=30.0)
        for _ in range(3):
            answer = await http.post("/v1/chat/completions", json=chat("rests"))
            assert (answer.headers["X-Router-Provider"], answer.headers["X-Router-Attempts"]) == ("other", "1")
    assert await routerd.metric("routerd_target_up", target="sim/rests") == 0


async def test_a_short_retry_after_is_waited_out_where_there_is_no_other_target(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("brief", "429;retry_after=1"))
        assert answer.status == 429
    first, second = sim.log(event="received", case="brief")
    assert 1_000_000 <= second["at"] - first["at"] < 1_500_000


async def test_a_refused_credential_rests_and_the_other_answers(folder: Workplace) -> None:
    with Simulator(folder, "sim", "--tokens-per-second", "0", "--fault", "429=1;requests=1;retry_after=20") as sim:
        keys = [{"key": "sk-first-credential-0001"}, {"key": "sk-second-credential-0002"}]
        pool = {"type": "openai-compatible", "base_url": f"{sim.origin}/v1", "api_keys": keys}
        with Daemon(folder, settings({"pool": pool}, {"m": "pool"})) as routerd:
            async with routerd.client() as http:
                for expected in ("2", "1", "1"):
                    answer = await http.post("/v1/chat/completions", json=chat("m"))
                    assert (answer.status, answer.headers["X-Router-Attempts"]) == (200, expected)
        sent = [line["request_headers"]["authorization"][-4:] for line in sim.log(event="received")]
        assert set(sent[1:]) == {"0001", "0002"} - {sent[0]}
        assert routerd.events("target_ejected") == []
        assert "credential-000" not in routerd.stdout.read_text()
