"""However a provider frames its stream, the caller gets the same bytes and the ledger the same usage, within bounds."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, sse

pytestmark = pytest.mark.process

FRAMINGS = {
    "crlf": b"\r\n\r\n",
    "cr": b"\r\r",
    "bom": b"\xef\xbb\xbfdata: ",
    "comments": b": keep-alive\n\ndata: ",
    "no-space": b"data:{",
    "no-done": b'"finish_reason":"length"',
}


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "0") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    alone = {name: {"targets": ["sim"], "max_attempts": 1} for name in (*FRAMINGS, "huge", "large", "huge-json")}
    with Daemon(module_folder, settings({"sim": sim.provider}, alone)) as running:
        yield running


@pytest.mark.parametrize("name", FRAMINGS)
async def test_every_framing_passes_as_it_came_and_its_usage_is_read(routerd: Daemon, name: str) -> None:
    body = chat(name, name.replace("-", "_"), stream=True)
    async with routerd.client() as http:
        for request_id, options in ((f"{name}-hidden", {}), (f"{name}-asked", {"stream_options": {"include_usage": True}})):
            answer = await http.post("/v1/chat/completions", json=body | options, headers={"X-Request-Id": request_id})
            raw = await answer.read()
            assert (answer.status, FRAMINGS[name] in raw, b'"error"' in raw) == (200, True, False)
            assert (b"prompt_tokens" in raw) == bool(options), "the usage frame is the caller's only if it asked"
            assert (b"[DONE]" in raw) == (name != "no-done"), "an end is neither invented nor lost"
            entry = await routerd.entry(request_id)
            assert (entry["outcome"], entry["estimated"]) == ("ok", 0)
            assert (entry["input_tokens"], entry["output_tokens"]) == (17, 24)


async def test_an_event_up_to_8_mib_passes(routerd: Daemon) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("large", f"huge_event;bytes={7 * 2**20}", stream=True))
        raw = await answer.read()
    assert len(raw) > 7 * 2**20
    assert raw.endswith(b"data: [DONE]\n\n")


async def test_an_endless_event_is_an_error_event_in_bounded_memory(routerd: Daemon, sim: Simulator) -> None:
    before = most = routerd.rss_bytes
    async with routerd.client() as http:
        body = chat("huge", f"huge_event;bytes={512 * 2**20}", stream=True)
        asked = asyncio.create_task(http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "huge"}))
        while not routerd.events("request_finished", request_id="huge"):
            most = max(most, routerd.rss_bytes)
            await asyncio.sleep(0.005)
        events = await sse(await asked)
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "upstream_truncated"
    assert most - before < 40 * 2**20
    await sim.logged("cancelled", 1.0, case="huge")
    entry = await routerd.entry("huge")
    assert (entry["outcome"], entry["tries"][0]["reason"]) == ("truncated", "too_large")


async def test_an_endless_json_answer_is_refused_in_bounded_memory(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("huge-json", f"huge_event;bytes={2**31}"))
        assert (answer.status, (await answer.json())["error"]["code"]) == (502, "invalid_upstream_response")
    await sim.logged("cancelled", 1.0, case="huge-json")
