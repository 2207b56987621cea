"""Responses in the background: answered at once, ended once, followed from any event, cancelled and paid."""

import asyncio
import json
from typing import Any

import pytest

from router.domain.errors import GatewayError, InvalidRequest
from router.domain.responses import BRIEFLY_US
from tests.gateway.fakes import Scripted, status
from tests.gateway.response_desk import FRAMES, MESSAGE, Desk, first_turn


async def started(desk: Desk, body: dict[str, Any]) -> tuple["asyncio.Task[bytes]", list["asyncio.Task[None]"]]:
    """The caller, and what runs without it."""
    caller = asyncio.create_task(desk.ask(body))
    await asyncio.sleep(0)
    while not desk.table.tasks.spawned and not caller.done():
        await asyncio.sleep(0)
    work = [asyncio.create_task(each) for each in desk.table.tasks.spawned]
    desk.table.tasks.spawned.clear()
    return caller, work


async def finish(desk: Desk, work: list["asyncio.Task[None]"]) -> None:
    """The response ends; what watches for cancelled ones is not waited for."""
    await work[-1]
    for task in work[:-1]:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)


async def test_in_the_background_it_is_answered_at_once_and_kept_when_it_is_done() -> None:
    desk = Desk()
    under_way: list[str] = []
    desk.responses.began, desk.responses.ended = (lambda: under_way.append("+")), (lambda: under_way.append("-"))
    caller, work = await started(desk, {"input": "hi", "background": True, "instructions": "be brief", "tools": []})
    queued = json.loads(await caller)
    assert (queued["status"], queued["background"], queued["store"], queued["output"]) == ("queued", True, True, [])
    assert (queued["instructions"], queued["model"], queued["object"]) == ("be brief", "a", "response")
    await finish(desk, work)
    done = json.loads(await desk.responses.body("t1", queued["id"]))
    assert (done["id"], done["status"], done["background"], done["output"]) == (queued["id"], "completed", True, [MESSAGE])
    assert "background" not in desk.sent
    assert under_way == ["+", "-"]
    assert desk.table.entry.cost == 20


async def test_in_the_background_what_is_not_stored_is_kept_for_a_while() -> None:
    desk = Desk()
    caller, work = await started(desk, {"input": "hi", "background": True, "store": False})
    name = json.loads(await caller)["id"]
    await finish(desk, work)
    assert desk.store.kept[name].expires_at == desk.table.clock.now_us() + BRIEFLY_US
    assert json.loads(desk.store.kept[name].answer)["store"] is False


async def test_in_the_background_a_refusal_of_ours_is_the_answer_and_nothing_is_left() -> None:
    desk = Desk()
    caller, work = await started(desk, {"input": "hi", "background": True, "model": "nobody"})
    with pytest.raises(GatewayError, match="nobody"):
        await caller
    await finish(desk, work)
    assert desk.store.kept == {}


@pytest.mark.parametrize("script", [status(500), status(400)], ids=["500", "400"])
async def test_in_the_background_a_provider_that_fails_is_a_response_that_failed(script: Scripted) -> None:
    desk = Desk(script)
    caller, work = await started(desk, {"input": "hi", "background": True})
    name = json.loads(await caller)["id"]
    await finish(desk, work)
    failed = json.loads(await desk.responses.body("t1", name))
    assert (failed["status"], failed["error"]["code"], failed["id"]) == ("failed", "server_error", name)
    assert failed["error"]["message"]


async def test_a_stream_in_the_background_is_told_again_from_any_event() -> None:
    desk = Desk(Scripted(pieces=list(FRAMES)))
    caller, work = await started(desk, {"input": "hi", "background": True, "stream": True})
    first = await caller
    await finish(desk, work)
    [name] = desk.store.kept
    kept = await desk.responses.find("t1", name)
    assert b"".join([f async for f in desk.responses.events(kept, -1)]) == first
    rest = b"".join([f async for f in desk.responses.events(kept, 0)])
    assert rest == first[first.index(b"event: response.output_text.delta") :]
    assert [f async for f in desk.responses.events(kept, 2)] == []


async def test_cancelled_it_stops_its_provider_and_stays_cancelled() -> None:
    class Endless(Scripted):
        async def read(self, limit: int) -> bytes:
            return await asyncio.Future()

    desk = Desk(Endless())
    caller, work = await started(desk, {"input": "hi", "background": True})
    name = json.loads(await caller)["id"]
    while not desk.table.transport.calls:
        await asyncio.sleep(0)
    assert json.loads(await desk.responses.cancel("t1", name))["status"] == "cancelled"
    await finish(desk, work)
    assert json.loads(await desk.responses.cancel("t1", name))["status"] == "cancelled"
    assert desk.table.outcomes == ["cancelled"]
    assert desk.table.entry.cost > 0
    assert desk.responses.running == {}


async def test_only_what_runs_in_the_background_can_be_cancelled() -> None:
    desk = Desk()
    name = await first_turn(desk)
    with pytest.raises(InvalidRequest, match="background"):
        await desk.responses.cancel("t1", name)
