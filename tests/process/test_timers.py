"""Each timer ends what it is for: by an answer before the first byte, by an error event after it, charged in both cases."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, Simulator, Workplace, chat, settings, sse

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "0") as running:
        yield running


@pytest.fixture(scope="module")
def black_hole() -> Iterator[int]:
    """A port whose queue of new connections is full: the kernel answers no further handshake."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator, black_hole: int) -> Iterator[Daemon]:
    def alone(**timeouts: str) -> dict[str, object]:
        return {"targets": ["sim"], "timeouts": timeouts, "max_attempts": 1}

    catalog = {
        "connect": {"targets": ["hole", "sim"], "timeouts": {"connect": "200ms"}},
        "first-byte": alone(first_byte="200ms"),
        "json-total": alone(total="300ms"),
        "idle": alone(idle="200ms"),
        "stream-total": alone(total="400ms"),
        "asked": alone(),
    }
    hole = {"type": "openai-compatible", "base_url": f"http://127.0.0.1:{black_hole}/v1"}
    with Daemon(module_folder, settings({"sim": sim.provider, "hole": hole}, catalog)) as running:
        yield running


async def test_a_provider_that_accepts_no_connection_is_left_for_the_next(routerd: Daemon) -> None:
    async with routerd.client() as http:
        answer = await http.post("/v1/chat/completions", json=chat("connect"), headers={"X-Request-Id": "connect"})
        assert (answer.status, answer.headers["X-Router-Provider"], answer.headers["X-Router-Attempts"]) == (200, "sim", "2")
    first, second = (await routerd.entry("connect"))["tries"]
    assert (first["outcome"], first["reason"], first["cost_nano"]) == ("timeout", "connect_timeout", 0)
    assert 150_000 < first["duration_us"] < 900_000
    assert second["outcome"] == "ok"


async def test_a_stream_without_a_first_byte_is_a_504_with_the_attempt_charged(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        body = chat("first-byte", "timeout", stream=True)
        answer = await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "first-byte"})
        error = (await answer.json())["error"]
    assert (answer.status, error["type"], error["code"]) == (504, "timeout_error", "upstream_timeout")
    assert error["attempts"][0] | {"ms": 0} == {"provider": "sim", "status": None, "reason": "first_byte_timeout", "ms": 0}
    entry = await routerd.entry("first-byte")
    assert (entry["status"], entry["outcome"], entry["estimated"]) == (504, "timeout", 1)
    assert entry["cost_nano"] > 0
    await sim.logged("cancelled", 1.0, case="first-byte")


async def test_a_json_answer_may_take_until_total(routerd: Daemon) -> None:
    async with routerd.client() as http:
        body = chat("json-total", "timeout")
        answer = await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "json-total"})
        assert (answer.status, (await answer.json())["error"]["code"]) == (504, "upstream_timeout")
    entry = await routerd.entry("json-total")
    assert entry["tries"][0]["reason"] == "total_timeout"
    assert 300_000 <= entry["duration_us"] < 1_000_000


@pytest.mark.parametrize(("model", "order"), [("idle", "silence;after_events=4"), ("stream-total", "tokens_per_second=8")])
async def test_a_stream_that_stalls_ends_in_an_error_event_and_never_looks_finished(
    routerd: Daemon, sim: Simulator, model: str, order: str
) -> None:
    async with routerd.client() as http:
        body = chat(model, order, stream=True)
        async with http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": model}) as answer:
            events = await sse(answer)
    assert answer.status == 200
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("timeout_error", "upstream_timeout")
    assert "data: [DONE]" not in events
    entry = await routerd.entry(model)
    assert (entry["outcome"], entry["status"], entry["code"], entry["estimated"]) == ("timeout", 504, "upstream_timeout", 1)
    sent = (await sim.logged("cancelled", 1.0, case=model))["tokens_sent"]
    assert abs(entry["output_tokens"] - sent) <= max(2, sent // 2)


async def test_a_caller_may_ask_for_less_time_but_not_for_more(routerd: Daemon) -> None:
    async with routerd.client() as http:
        path, body = "/v1/chat/completions", chat("asked", "timeout")
        answer = await http.post(path, json=body, headers={"x-router-timeout": "0.2"})
        assert (answer.status, (await answer.json())["error"]["code"]) == (504, "upstream_timeout")
        answer = await http.post(path, json=chat("json-total", "timeout"), headers={"x-router-timeout": "600"})
        assert answer.status == 504
        answer = await http.post(path, json=body, headers={"x-router-timeout": "soon"})
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "x-router-timeout")
