"""The same Idempotency-Key twice: one call to the provider, one charge, the same bytes, whoever leaves."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import openai
import pytest

from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, chat, settings
from tests.wire import Wire

pytestmark = pytest.mark.process

CHAT = "/v1/chat/completions"
REPLAYED = "Idempotent-Replayed"


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "200") as running:
        yield running


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    limited = {"name": "narrow", "prefix": "narrow", "secret": "narrow-secret", "rate_limit": {"requests_per_minute": 1}}
    other = {"name": "other", "prefix": "other", "secret": "other-secret"}
    config = settings({"sim": sim.provider}, {"m": "sim"}, server={"cors_origins": ["https://app.example"]})
    config["bootstrap"]["api_keys"] += [{"tenant": "demo"} | key for key in (limited, other)]
    with Daemon(module_folder, config) as running:
        yield running


def asked(order: str = "", case: str = "", **fields: Any) -> Entry:
    return chat("m", order, case=case, **fields)


async def post(http: aiohttp.ClientSession, key: str, body: Entry, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    """The answer and its whole body."""
    sent = {"Idempotency-Key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(CHAT, json=body, headers=sent) as answer:
        return answer, await answer.read()


def code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


async def test_an_answer_is_told_again_byte_for_byte_and_billed_once(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        first, body = await post(http, "json", asked(case="json"), X_Request_Id="json-1")
        again, same = await post(http, "json", asked(case="json"), X_Request_Id="json-2", Origin="https://app.example")
    assert (first.status, again.status, same) == (200, 200, body)
    assert (first.headers.get(REPLAYED), again.headers[REPLAYED]) == (None, "true")
    kept = ["Content-Type", "X-Cost-USD", "X-Router-Model", "X-Router-Provider", "X-Router-Attempts", "X-Router-Decision"]
    assert [again.headers[name] for name in kept] == [first.headers[name] for name in kept]
    assert again.headers["X-Request-Id"] == "json-2"
    assert "idempotent-replayed" in again.headers["Access-Control-Expose-Headers"]
    assert len(sim.log(event="received", case="json")) == 1
    assert (await routerd.entry("json-1"))["cost_nano"] > 0
    line = await routerd.event("request_replayed", request_id="json-2")
    assert (line["decision"], line["tenant"], line["status"]) == (first.headers["X-Router-Decision"], "demo", 200)
    assert routerd.ledger(request_id="json-2") == []
    assert await routerd.metric("routerd_idempotent_replays_total") >= 1


async def test_a_stream_is_told_again_at_once(routerd: Daemon, sim: Simulator) -> None:
    body = asked(case="stream", stream=True)
    async with routerd.client() as http:
        first, frames = await post(http, "stream", body, X_Request_Id="stream-1")
        again, same = await post(http, "stream", body)
    assert frames.endswith(b"data: [DONE]\n\n")
    assert (again.status, again.headers[REPLAYED], same) == (200, "true", frames)
    assert again.content_type == first.content_type == "text/event-stream"
    assert len(sim.log(event="received", case="stream")) == 1
    assert (await routerd.entry("stream-1"))["output_tokens"] == 24


async def test_keys_of_other_callers_and_routes_are_other_keys(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http, routerd.client("sk-other.other-secret") as others:
        for session in (http, others):
            answer, _ = await post(session, "shared", asked(case="shared"))
            assert (answer.status, REPLAYED in answer.headers) == (200, False)
        legacy = {"model": "m", "prompt": "hi", "max_tokens": 4, "metadata": {"case": "shared"}}
        async with http.post("/v1/completions", json=legacy, headers={"Idempotency-Key": "shared"}) as answer:
            assert answer.status == 200
        async with http.post(f"/openai{CHAT}", json=asked(case="shared"), headers={"Idempotency-Key": "shared"}) as answer:
            assert answer.headers[REPLAYED] == "true"
    assert len(sim.log(event="received", case="shared")) == 3


async def test_another_body_or_tier_under_the_same_key_is_refused(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        assert (await post(http, "mismatch", asked(case="mismatch")))[0].status == 200
        other, body = await post(http, "mismatch", asked(case="mismatch", max_tokens=3))
        tier, told = await post(http, "mismatch", asked(case="mismatch"), x_router_tier="fast")
    assert [(other.status, code(body)), (tier.status, code(told))] == [(422, "idempotency_mismatch")] * 2
    assert json.loads(body)["error"]["type"] == "idempotency_error"
    assert len(sim.log(event="received", case="mismatch")) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"], ids=["empty", "long", "not-ascii"])
async def test_what_is_no_key_is_refused(routerd: Daemon, key: str) -> None:
    async with Wire(routerd) as wire:
        data = json.dumps(asked(case="bad-key")).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
        wire.send(f"{head}Content-Length: {len(data)}\r\nIdempotency-Key: {key}\r\n\r\n".encode() + data)
        reply = await wire.reply()
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert json.loads(reply.body)["error"]["param"] == "Idempotency-Key"


async def test_a_second_request_while_the_first_is_under_way_is_told_to_wait(routerd: Daemon, sim: Simulator) -> None:
    body = asked("latency=1", case="race")
    async with routerd.client() as http:
        running = asyncio.create_task(post(http, "race", body))
        await sim.logged("received", case="race")
        busy, told = await post(http, "race", body)
        first, answer = await running
        again, same = await post(http, "race", body)
    assert (busy.status, code(told), busy.headers["Retry-After"]) == (409, "idempotency_in_progress", "1")
    assert (first.status, again.headers[REPLAYED], same) == (200, "true", answer)
    assert len(sim.log(event="received", case="race")) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_caller_that_leaves_finds_its_answer_when_it_comes_back(
    routerd: Daemon, sim: Simulator, stream: bool
) -> None:
    case = f"left-{stream}"
    body = asked("latency=0.5", case=case, stream=stream)
    async with Wire(routerd) as wire:
        wire.post(CHAT, body, Idempotency_Key=case, X_Request_Id=case)
        await sim.logged("received", case=case)
        if stream:
            await wire.until(b"\n\n")
            await wire.until(b"\n\n")
        wire.reset()
    entry = await routerd.entry(case)
    assert (entry["status"], entry["outcome"], entry["output_tokens"], entry["estimated"]) == (200, "ok", 24, 0)
    async with routerd.client() as http:
        answer, told = await post(http, case, body)
    assert (answer.status, answer.headers[REPLAYED]) == (200, "true")
    assert told.endswith(b"data: [DONE]\n\n") if stream else json.loads(told)["usage"]["completion_tokens"] == 24
    assert [line["event"] for line in sim.log(case=case)] == ["received", "finished"]


async def test_a_slow_reader_holds_the_provider_back_until_it_leaves(routerd: Daemon, sim: Simulator) -> None:
    body = asked(f"huge_event;bytes={2**21};tokens_per_second=0", case="slow", stream=True)
    async with Wire(routerd, receive_buffer=4096) as wire:
        wire.post(CHAT, body, Idempotency_Key="slow", X_Request_Id="slow")
        await wire.until(b"\r\n\r\n")
        wire.reset()
    assert (await routerd.entry("slow"))["outcome"] == "ok"
    async with routerd.client() as http:
        answer, told = await post(http, "slow", body)
    assert (answer.headers[REPLAYED], len(told) > 2**21) == ("true", True)


@pytest.mark.parametrize("order", ["rate_limited", "error", "error;status=503", "cut_stream", "error_event"])
async def test_what_was_not_answered_frees_the_key(routerd: Daemon, sim: Simulator, order: str) -> None:
    case = f"freed-{order}"
    body = asked(order, case=case, stream=order in {"cut_stream", "error_event"})
    async with routerd.client() as http:
        first, told = await post(http, case, body)
        calls = len(sim.log(event="received", case=case))
        again, _ = await post(http, case, body)
    assert first.status >= 429 or b'"error"' in told
    assert (again.status, REPLAYED in again.headers) == (first.status, False)
    assert len(sim.log(event="received", case=case)) > calls


async def test_a_refusal_for_what_the_request_is_is_kept(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client() as http:
        first, told = await post(http, "refused", asked("error;status=400", case="refused"))
        again, same = await post(http, "refused", asked("error;status=400", case="refused"))
    assert (first.status, again.status, same, again.headers[REPLAYED]) == (400, 400, told, "true")
    assert len(sim.log(event="received", case="refused")) == 1


async def test_our_own_refusals_free_the_key_and_replays_count_in_no_limit(routerd: Daemon, sim: Simulator) -> None:
    async with routerd.client("sk-narrow.narrow-secret") as http:
        assert (await post(http, "fits", asked(case="fits")))[0].status == 200
        for _ in range(2):
            limited, told = await post(http, "over", asked(case="over"))
            assert (limited.status, code(told)) == (429, "rate_limited")
        assert (await post(http, "fits", asked(case="fits")))[0].headers[REPLAYED] == "true"
    assert sim.log(event="received", case="over") == []


async def test_an_answer_over_four_mebibytes_is_delivered_and_not_told_again(routerd: Daemon, sim: Simulator) -> None:
    for stream in (False, True):
        case = f"huge-{stream}"
        body = asked(f"huge_event;bytes={5 * 2**20}", case=case, stream=stream)
        async with routerd.client() as http:
            first, told = await post(http, case, body)
            again, refusal = await post(http, case, body)
        assert (first.status, len(told) > 5 * 2**20) == (200, True)
        assert (again.status, code(refusal), "4 MiB" in refusal.decode()) == (409, "idempotency_in_progress", True)
        assert "Retry-After" not in again.headers
        assert len(sim.log(event="received", case=case)) == 1


async def test_a_revoked_key_is_told_nothing(folder: Workplace, sim: Simulator) -> None:
    with Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with routerd.client() as http:
            assert (await post(http, "revoked", asked(case="revoked")))[0].status == 200
            await asyncio.to_thread(routerd.command, "keys", "revoke", "demo", "--yes", "--config", str(routerd.file))
            answer, told = await post(http, "revoked", asked(case="revoked"))
    assert (answer.status, code(told)) == (401, "invalid_api_key")


async def test_the_openai_sdk_retries_into_its_answer(routerd: Daemon, sim: Simulator) -> None:
    async with openai.AsyncOpenAI(base_url=f"{routerd.url}/v1", api_key=KEY, max_retries=4) as client:

        async def ask() -> Any:
            return await client.chat.completions.with_raw_response.create(
                model="m",
                messages=[{"role": "user", "content": "hi"}],
                max_tokens=8,
                metadata={"case": "sdk", "simulate": "latency=1"},
                extra_headers={"Idempotency-Key": "sdk"},
            )

        running = asyncio.create_task(ask())
        await sim.logged("received", case="sdk")
        second, first = await ask(), await running
    assert second.headers[REPLAYED] == "true"
    assert second.text == first.text
    assert second.parse().choices[0].message.content
    assert len(sim.log(event="received", case="sdk")) == 1
