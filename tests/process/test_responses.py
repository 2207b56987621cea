"""Responses that are kept: whose they are, and what becomes of those that run when a daemon ends or is killed."""

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.daemon import Daemon, Entry, Simulator, Workplace, settings, until
from tests.wire import Wire

pytestmark = pytest.mark.process

RESPONSES = "/v1/responses"


@pytest.fixture(scope="module")
def sim(module_folder: Workplace) -> Iterator[Simulator]:
    with Simulator(module_folder, "sim", "--tokens-per-second", "200") as running:
        yield running


def configuration(sim: Simulator, **sections: Any) -> Entry:
    chats = sim.provider | {"apis": ["chat"]}
    config = settings({"sim": sim.provider, "chats": chats}, {"m": "sim", "chatty": "chats"}, **sections)
    config["bootstrap"]["tenants"] += [{"name": "other"}]
    config["bootstrap"]["api_keys"] += [
        {"tenant": "other", "name": "other", "prefix": "other", "secret": "other-secret"},
        {"tenant": "demo", "name": "chats", "prefix": "chats", "secret": "chats-secret", "scopes": ["chat"]},
    ]
    return config


@pytest.fixture(scope="module")
def routerd(module_folder: Workplace, sim: Simulator) -> Iterator[Daemon]:
    with Daemon(module_folder, configuration(sim)) as running:
        yield running


def asked(text: str, order: str = "", *, case: str, **fields: Any) -> Entry:
    metadata = {"case": case} | ({"simulate": order} if order else {})
    return {"model": "m", "input": text, "metadata": metadata, **fields}


async def post(http: aiohttp.ClientSession, body: Entry, **headers: str) -> tuple[aiohttp.ClientResponse, Entry]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(RESPONSES, json=body, headers=sent) as answer:
        return answer, json.loads(await answer.read())


async def fetched(http: aiohttp.ClientSession, name: str, what: str = "") -> tuple[int, Entry]:
    async with http.get(f"{RESPONSES}/{name}{what}") as answer:
        return answer.status, json.loads(await answer.read())


async def ended(http: aiohttp.ClientSession, name: str, timeout_s: float = 40.0) -> Entry:
    async with asyncio.timeout(timeout_s):
        while True:
            status, got = await fetched(http, name)
            assert status == 200, got
            if got["status"] not in ("queued", "in_progress"):
                return got
            await asyncio.sleep(0.05)


async def test_anothers_response_and_one_that_never_was_answer_alike(routerd: Daemon) -> None:
    async with routerd.client() as http, routerd.client("sk-other.other-secret") as others:
        _, kept = await post(http, asked("mine", case="theirs"))
        name = kept["id"]
        for path in ("", "/input_items", "?stream=true"):
            mine, never = await fetched(others, name, path), await fetched(others, "resp_0", path)
            assert mine[0] == never[0] == 404
            assert json.dumps(mine[1]).replace(name, "resp_0") == json.dumps(never[1])
        for method, path in (("DELETE", ""), ("POST", "/cancel")):
            async with others.request(method, f"{RESPONSES}/{name}{path}") as answer:
                assert answer.status == 404
        refused, told = await post(others, asked("more", case="theirs", previous_response_id=name))
        assert (refused.status, told["error"]["param"]) == (404, "previous_response_id")
        reference = [{"type": "item_reference", "id": kept["output"][0]["id"]}]
        assert (await post(others, asked("more", case="theirs") | {"input": reference}))[0].status == 404
        assert (await fetched(http, name))[0] == 200


async def test_a_conversation_goes_on_at_a_target_that_knows_only_chats_and_comes_back(
    routerd: Daemon, sim: Simulator
) -> None:
    async with routerd.client() as http:
        _, first = await post(http, asked("one", case="crossed"))
        second = None
        for number, model in enumerate(("chatty", "m", "chatty")):
            previous = first["id"] if second is None else second["id"]
            body = asked(f"more {number}", case="crossed", previous_response_id=previous) | {"model": model}
            answer, second = await post(http, body)
            assert (answer.status, second["previous_response_id"]) == (200, previous), second
            assert "store" not in answer.headers.get("X-Router-Dropped", "")
        assert second is not None
        assert len((await fetched(http, second["id"], "/input_items"))[1]["data"]) == 7
        queued = asked("later", case="crossed", previous_response_id=second["id"], background=True) | {"model": "chatty"}
        done = await ended(http, (await post(http, queued))[1]["id"])
        assert (done["status"], bool(done["output"])) == ("completed", True)
    paths = [line["path"] for line in sim.log(event="received", case="crossed")]
    chat, native = "/v1/chat/completions", RESPONSES
    assert paths == [native, chat, native, chat, chat]


async def test_what_is_wrong_with_a_request_is_named(routerd: Daemon) -> None:
    async with routerd.client() as http, routerd.client("sk-chats.chats-secret") as chats:
        _, kept = await post(http, asked("mine", case="wrong"))
        name = kept["id"]
        assert (await fetched(chats, name))[1]["error"]["code"] == "scope_missing"
        for path, param in (
            ("?limit=101", "limit"),
            ("?limit=x", "limit"),
            ("?order=up", "order"),
            ("?after=msg_0", "after"),
        ):
            status, told = await fetched(http, name, f"/input_items{path}")
            assert (status, told["error"]["param"]) == (400, param)
        assert (await fetched(http, name, "?stream=true"))[1]["error"]["param"] == "stream"
        assert (await fetched(http, name, "/else"))[1]["error"]["code"] == "not_found"
        assert (await fetched(http, name, "/cancel"))[1]["error"]["code"] == "method_not_allowed"
        wrong: dict[str, Any] = {"store": "yes", "previous_response_id": 7, "background": 1}
        for field, value in wrong.items():
            answer, told = await post(http, asked("x", case="wrong") | {field: value})
            assert (answer.status, told["error"]["param"]) == (400, field)
        async with http.post(f"{RESPONSES}/input_tokens", json={}) as counted:
            assert (counted.status, (await counted.json())["error"]["code"]) == (501, "not_supported")


async def test_a_key_and_state_together_keep_one_response(routerd: Daemon, sim: Simulator) -> None:
    body = asked("once", case="keyed")
    async with routerd.client() as http:
        _, first = await post(http, body, Idempotency_Key="state")
        again, same = await post(http, body, Idempotency_Key="state")
        assert (again.headers["Idempotent-Replayed"], same) == ("true", first)
        following = asked("more", case="keyed-2", previous_response_id=first["id"], background=True)
        _, queued = await post(http, following, Idempotency_Key="state-2")
        _, same = await post(http, following, Idempotency_Key="state-2")
        assert same == queued
        assert (await ended(http, queued["id"]))["status"] == "completed"
    assert len(sim.log(event="received", case="keyed")) == len(sim.log(event="received", case="keyed-2")) == 1


async def test_a_caller_that_leaves_a_background_response_finds_it_done_and_paid(routerd: Daemon, sim: Simulator) -> None:
    async with Wire(routerd) as wire:
        body = asked("slow", "latency=1", case="left", background=True)
        wire.post(RESPONSES, body, X_Request_Id="left-1")
        name = json.loads((await wire.reply()).body)["id"]
    async with routerd.client() as http:
        assert (await fetched(http, name))[1]["status"] in ("queued", "in_progress")
        done = await ended(http, name)
    assert done["status"] == "completed"
    row = await routerd.entry("left-1")
    assert (row["outcome"], row["output_tokens"]) == ("ok", done["usage"]["output_tokens"])
    assert row["cost_nano"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_cancelled_it_leaves_its_provider_and_is_paid_for_what_was_made(
    routerd: Daemon, sim: Simulator, stream: bool
) -> None:
    case = f"cancelled-{stream}"
    order = "tokens_per_second=4" if stream else "latency=30"
    body = asked("slow", order, case=case, background=True, stream=stream)
    frames: list[bytes] = []
    async with routerd.client() as http:
        async with http.post(RESPONSES, json=body, headers={"X-Request-Id": case}) as answer:
            if stream:
                frames = [await answer.content.readuntil(b"\n\n") for _ in range(5)]
                name = json.loads(frames[0].partition(b"data: ")[2])["response"]["id"]
            else:
                name = (await answer.json())["id"]
        await sim.logged("received", case=case)
        async with http.post(f"{RESPONSES}/{name}/cancel") as cancelled:
            assert (cancelled.status, (await cancelled.json())["status"]) == (200, "cancelled")
        await sim.logged("cancelled", case=case)
        assert (await fetched(http, name))[1]["status"] == "cancelled"
        async with http.post(f"{RESPONSES}/{name}/cancel") as cancelled:
            assert (await cancelled.json())["status"] == "cancelled"
        refused, told = await post(http, asked("more", case=case, previous_response_id=name))
        assert (refused.status, told["error"]["param"]) == (400, "previous_response_id")
        row = await routerd.entry(case)
        assert (row["outcome"], row["input_tokens"] > 0, row["cost_nano"] > 0) == ("cancelled", True, True)
        if stream:
            async with http.get(f"{RESPONSES}/{name}?stream=true") as answer:
                told_again = await answer.read()
            assert told_again.startswith(frames[0])
            assert told_again.rpartition(b"event: ")[2].startswith(b"error\n")


async def test_refused_before_it_is_admitted_it_leaves_nothing(routerd: Daemon) -> None:
    async with routerd.client() as http:
        answer, told = await post(http, asked("x", case="refused", background=True) | {"model": "nobody"})
        assert (answer.status, told["error"]["code"]) == (404, "model_not_found")
        failing = asked("x", "500", case="failing", background=True)
        _, queued = await post(http, failing)
        failed = await ended(http, queued["id"])
        assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
        streamed, told = await post(http, failing | {"stream": True})
        assert (streamed.status, told["error"]["code"]) == (502, "upstream_error")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_killed_in_the_background_it_is_later_told_as_failed_and_is_paid(
    folder: Workplace, sim: Simulator, stream: bool
) -> None:
    case = f"killed-{stream}"
    order = "tokens_per_second=4" if stream else "latency=30"
    with Daemon(folder, configuration(sim)) as first:
        async with first.client() as http:
            _, kept = await post(http, asked("before", case=f"{case}-before"))
            body = asked("slow", order, case=case, background=True, stream=stream)
            async with http.post(RESPONSES, json=body, headers={"X-Request-Id": case}) as answer:
                if stream:
                    frame = await answer.content.readuntil(b"\n\n")
                    name = json.loads(frame.partition(b"data: ")[2])["response"]["id"]
                else:
                    name = (await answer.json())["id"]
                await sim.logged("received", case=case)
        first.kill()
    with Daemon(folder, configuration(sim), name="second") as second:
        async with second.client() as http:
            failed = await ended(http, name)
            assert (failed["status"], failed["error"]["code"], failed["background"]) == ("failed", "server_error", True)
            assert (await fetched(http, kept["id"]))[1] == kept
            row = await second.entry(case, 20)
            assert (row["outcome"], row["cost_nano"] > 0) == ("recovered", True)
            again = asked("again", case=f"{case}-again", previous_response_id=kept["id"])
            assert (await post(http, again))[0].status == 200


async def test_a_daemon_that_stops_waits_for_what_runs_and_then_cuts_it(folder: Workplace, sim: Simulator) -> None:
    with Daemon(folder, configuration(sim, server={"drain": "2s"})) as first:
        async with first.client() as http:
            _, short = await post(http, asked("a", "latency=1", case="drained", background=True))
            _, long = await post(http, asked("b", "latency=30", case="cut", background=True))
            await sim.logged("received", case="cut")
        first.send(signal.SIGTERM)
        assert first.wait(20) == 0
    with Daemon(folder, configuration(sim), name="second") as second:
        async with second.client() as http:
            assert (await fetched(http, short["id"]))[1]["status"] == "completed"
            _, cut = await fetched(http, long["id"])
            assert (cut["status"], cut["error"]["code"]) == ("failed", "server_error")
            assert "shutting down" in cut["error"]["message"]


async def test_processes_on_one_database_fetch_and_cancel_each_others(
    folder: Workplace, sim: Simulator, postgres_url: str
) -> None:
    config = configuration(sim, database={"url": postgres_url}, server={"secret": "s" * 40})
    with Daemon(folder, config) as one, Daemon(folder, config, name="second") as other:
        async with one.client() as http, other.client() as elsewhere:
            await cancelled_from_elsewhere(http, elsewhere)
            await sim.logged("cancelled", case="shared")
            _, kept = await post(elsewhere, asked("one", case="shared-2"))
            answered, more = await post(http, asked("two", case="shared-2", previous_response_id=kept["id"]))
            assert answered.status == 200, more
            status, items = await fetched(elsewhere, more["id"], "/input_items")
            assert (status, len(items["data"])) == (200, 3)


async def cancelled_from_elsewhere(http: aiohttp.ClientSession, elsewhere: aiohttp.ClientSession) -> None:
    """A stream that one process began is followed, and then cancelled, at another."""
    body = asked("slow", "tokens_per_second=8", case="shared", background=True, stream=True)
    async with http.post(RESPONSES, json=body) as answer:
        first = await answer.content.readuntil(b"\n\n")
        name = json.loads(first.partition(b"data: ")[2])["response"]["id"]
        async with elsewhere.get(f"{RESPONSES}/{name}?stream=true") as followed:
            assert await followed.content.readuntil(b"\n\n") == first
            assert (await fetched(elsewhere, name))[1]["status"] == "in_progress"
            async with elsewhere.post(f"{RESPONSES}/{name}/cancel") as cancelled:
                assert (await cancelled.json())["status"] == "cancelled"
            assert b"event: error" in await followed.read()
    assert (await fetched(http, name))[1]["status"] == "cancelled"


@pytest.mark.parametrize("retention", [{"responses_days": 0}, {"zero_retention": True}], ids=["theirs", "zero"])
async def test_where_nothing_is_kept_nothing_is_found(folder: Workplace, sim: Simulator, retention: Entry) -> None:
    with Daemon(folder, configuration(sim, retention=retention)) as routerd:
        async with routerd.client() as http:
            _, told = await post(http, asked("one", case="unkept"))
            assert (await fetched(http, told["id"]))[0] == 404
            if "zero_retention" in retention:
                answer, refused = await post(http, asked("one", case="unkept", background=True))
                assert (answer.status, refused["error"]["param"]) == (400, "background")
        await until(lambda: len(routerd.ledger()) >= 1, what="the request")
