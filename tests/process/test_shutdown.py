"""SIGTERM: not ready first, new requests are refused, what runs may finish, and all is in the ledger before exit 0."""

import asyncio
import json
import signal

import pytest

from tests.daemon import AUTH, Daemon, Simulator, Workplace, chat, settings, sse, until
from tests.wire import Wire, head

pytestmark = pytest.mark.process


async def test_streams_finish_while_new_requests_are_refused(folder: Workplace) -> None:
    with Simulator(folder) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with routerd.client() as http, Wire(routerd) as idle:
            idle.send(head("GET", "/readyz", {}))
            assert (await idle.reply()).status == 200
            body = chat("m", "tokens_per_second=20", stream=True)
            answer = await http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "running"})
            routerd.send(signal.SIGTERM)
            await routerd.event("draining")
            idle.send(head("GET", "/readyz", {}))
            ready = await idle.reply()
            assert (ready.status, json.loads(ready.body)["reasons"]) == (503, ["draining"])
            async with Wire(routerd) as late:
                late.post("/v1/chat/completions", chat("m"))
                refused = await late.reply()
                assert (refused.status, refused.code, refused.headers["connection"]) == (503, "not_ready", "close")
                assert "retry-after" in refused.headers
                assert await late.rest() == b""
            assert (await sse(answer))[-1] == "data: [DONE]"
        assert routerd.wait() == 0
        (entry,) = routerd.ledger()
        assert (entry["request_id"], entry["outcome"], entry["output_tokens"]) == ("running", "ok", 24)


async def test_a_json_answer_under_way_arrives_whole(folder: Workplace) -> None:
    with Simulator(folder) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with Wire(routerd, receive_buffer=4096) as slow:
            slow.post("/v1/chat/completions", chat("m", f"huge_event;bytes={32 * 2**20};latency=0.5"))
            await sim.logged("received")
            routerd.send(signal.SIGTERM)
            await sim.logged("finished")
            await asyncio.sleep(0.3)
            answer = await slow.reply(10)
        assert answer.status == 200
        assert json.loads(answer.body)["usage"]["completion_tokens"] == 24


async def test_past_the_drain_a_stream_is_told_and_settled(folder: Workplace) -> None:
    config = {"server": {"drain": "500ms"}}
    with Simulator(folder) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"}, **config)) as routerd:
        async with routerd.client() as http:
            body = chat("m", "tokens_per_second=10", stream=True, max_tokens=4000)
            answer = await http.post("/v1/chat/completions", json=body)
            routerd.send(signal.SIGTERM)
            events = await sse(answer)
        error = json.loads(events[-1].removeprefix("data: "))["error"]
        assert (error["type"], error["code"]) == ("overloaded_error", "not_ready")
        assert "data: [DONE]" not in events
        await sim.logged("cancelled", 1.0)
        assert routerd.wait() == 0
        (entry,) = routerd.ledger()
        assert (entry["status"], entry["code"], entry["outcome"], entry["estimated"]) == (503, "not_ready", "cancelled", 1)
        assert entry["output_tokens"] > 0


async def test_past_the_drain_a_whole_answer_is_refused_and_settled(folder: Workplace) -> None:
    config = {"server": {"drain": "300ms"}}
    with Simulator(folder) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"}, **config)) as routerd:
        async with Wire(routerd) as plain, Wire(routerd) as keyed, Wire(routerd) as unsent:
            unsent.send(head("POST", "/v1/chat/completions", {**AUTH, "Content-Length": "100"}))
            plain.post("/v1/chat/completions", chat("m", "timeout"), X_Request_Id="plain")
            keyed.post("/v1/chat/completions", chat("m", "timeout"), X_Request_Id="keyed", Idempotency_Key="once")
            await until(lambda: len(sim.log(event="received")) == 2)
            routerd.send(signal.SIGTERM)
            for wire in (plain, keyed, unsent):
                refused = await wire.reply(3)
                assert (refused.status, refused.code, refused.headers["connection"]) == (503, "not_ready", "close")
                assert "was cut" in json.loads(refused.body)["error"]["message"]
                assert refused.headers["retry-after"] == "1"
        assert await asyncio.to_thread(routerd.wait, 5) == 0
        entries = {entry["request_id"]: entry for entry in routerd.ledger()}
        assert entries.keys() == {"plain", "keyed"}
        for entry in entries.values():
            assert (entry["status"], entry["code"], entry["outcome"]) == (503, "not_ready", "cancelled")
            assert entry["cost_nano"] > 0
        told = [line["event"] for line in routerd.lines() if line.get("request_id") in entries]
        assert sorted(told) == ["request_finished", "request_finished"]


async def test_a_second_sigterm_hurries_and_still_settles(folder: Workplace) -> None:
    with Simulator(folder) as sim, Daemon(folder, settings({"sim": sim.provider}, {"m": "sim"})) as routerd:
        async with routerd.client() as http:
            streams = [
                await http.post("/v1/chat/completions", json=chat("m", "tokens_per_second=10", stream=True, max_tokens=4000))
                for _ in range(5)
            ]
            json_call = asyncio.create_task(http.post("/v1/chat/completions", json=chat("m", "timeout")))
            await until(lambda: len(sim.log(event="received")) == 6)
            routerd.send(signal.SIGTERM)
            await routerd.event("draining")
            routerd.send(signal.SIGTERM)
            for stream in streams:
                assert '"not_ready"' in (await sse(stream))[-1]
            assert (await json_call).status == 503
        assert await asyncio.to_thread(routerd.wait, 8) == 0
        assert len(routerd.ledger()) == 6
        assert all(entry["cost_nano"] > 0 for entry in routerd.ledger())


async def test_idle_connections_do_not_hold_up_the_end(folder: Workplace) -> None:
    with Daemon(folder, settings({"sim": {"type": "simulated"}}, {"m": "sim"})) as routerd:
        async with Wire(routerd) as idle, Wire(routerd) as half:
            idle.send(head("GET", "/healthz", {}))
            await idle.reply()
            half.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
            routerd.send(signal.SIGTERM)
            assert await asyncio.to_thread(routerd.wait, 5) == 0


async def test_kill_leaves_nothing_that_keeps_the_next_one_from_starting(folder: Workplace) -> None:
    config = settings({"sim": {"type": "simulated"}}, {"m": "sim"})
    with Daemon(folder, config) as first:
        async with first.client() as http:
            assert (await http.post("/v1/chat/completions", json=chat("m"))).status == 200
        await until(lambda: first.ledger() or None)
        first.kill()
    with Daemon(folder, config, name="again") as second:
        async with second.client() as http:
            answer = await http.post("/v1/chat/completions", json=chat("m"), headers=AUTH)
            assert answer.status == 200
    assert len(second.ledger()) == 2
