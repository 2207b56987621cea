"""Kept responses in the gateway: what goes up, what comes down, what is written; and that nothing happens to the rest."""

import json
from typing import Any

import msgspec
import pytest

from router.config.snapshot import ResponseRetention
from router.domain.budgets import Budget, BudgetScope
from router.domain.errors import (
    BodyTooLarge,
    BudgetExceeded,
    GatewayError,
    InvalidRequest,
    NotFound,
    StorageUnavailable,
    UnsupportedFeature,
)
from router.domain.flow import pieces_of
from router.domain.requests import Api, parse_request
from router.domain.responses import ResponseStatus
from router.domain.usage import NanoUSD
from router.gateway.responses import MAX_OWED_BYTES
from tests.gateway.fakes import Scripted, principal, status
from tests.gateway.response_desk import FRAMES, KEEPING, MESSAGE, THOUGHT, ZERO, Desk, first_turn, pumped, told

# -- what has no state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_what_keeps_no_state_passes_byte_for_byte_and_asks_no_store(stream: bool) -> None:
    body = b'{ "model":"m" ,"store" : false, "stream":%s, "input": "hi", "unknown":1}' % (b"true" if stream else b"false")
    answer = Scripted(pieces=list(FRAMES)) if stream else Scripted(body=told())
    desk = Desk(answer)
    assert await desk.ask(body) == (b"".join(FRAMES) if stream else told())
    assert desk.sent_bytes == body
    assert desk.store.calls == []


async def test_where_state_is_the_providers_business_its_fields_pass() -> None:
    desk = Desk(keeping=ResponseRetention())
    asked = {
        "input": "hi",
        "previous_response_id": "resp_theirs",
        "store": True,
        "conversation": "conv_1",
        "background": True,
    }
    assert await desk.ask(asked) == told()
    assert desk.sent == {"model": "m"} | asked
    assert desk.store.calls == []


async def test_under_zero_retention_nothing_is_kept_and_the_provider_is_told_so() -> None:
    desk = Desk(keeping=ZERO)
    assert await desk.ask({"input": "hi"}) == told()
    assert desk.sent["store"] is False
    assert desk.store.kept == {}
    with pytest.raises(UnsupportedFeature, match="background"):
        desk.open({"input": "hi", "background": True})
    with pytest.raises(NotFound):
        await desk.ask({"input": "hi", "previous_response_id": "resp_1"})


async def test_a_conversation_is_refused_by_name() -> None:
    for given in ("conv_1", {"id": "conv_1"}):
        with pytest.raises(UnsupportedFeature) as refused:
            Desk().open({"input": "hi", "conversation": given})
        assert refused.value.param == "conversation"
    assert await Desk().ask({"input": "hi", "conversation": None, "store": False}) == told()


# -- one turn -------------------------------------------------------------------------------------------------------


async def test_a_kept_answer_differs_in_its_id_and_what_was_asked_of_it() -> None:
    desk = Desk()
    answer = await desk.ask(b'{"input": "hi" , "model":"a", "unknown": 1.50}')
    name = json.loads(answer)["id"]
    assert answer == told().replace(b"resp_theirs", name.encode()).replace(b'"store": false', b'"store": true')
    kept = desk.store.kept[name]
    assert (kept.answer, kept.status, kept.tenant_id) == (answer, ResponseStatus.COMPLETED, "t1")
    assert kept.expires_at == desk.table.clock.now_us() + KEEPING.kept_us
    assert desk.sent_bytes == b'{"store":false,"input":"hi","model":"m","unknown":1.50}'
    assert json.loads(kept.input) == [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_a_kept_stream_differs_in_the_ids_of_its_response_objects_alone(size: int) -> None:
    raw = b"".join(FRAMES)
    desk = Desk(Scripted(pieces=[raw[i : i + size] for i in range(0, len(raw), size)]))
    got = await desk.ask({"input": "hi", "stream": True})
    [name] = desk.store.kept
    assert got == raw.replace(b"resp_theirs", name.encode()).replace(b'"store": false', b'"store": true')
    assert json.loads(desk.store.kept[name].answer)["output"] == [MESSAGE]


async def test_a_stream_is_kept_before_its_end_is_told() -> None:
    desk = Desk(Scripted(pieces=list(FRAMES)))
    async with desk.open({"input": "hi", "stream": True}) as answer:
        assert answer.frames is not None
        async for frame in pieces_of(answer.frames):
            assert bool(desk.store.kept) == (b"event: response.completed" in frame)


async def test_what_is_no_answer_is_not_kept() -> None:
    desk = Desk(status(400))
    assert b"status 400" in await desk.ask({"input": "hi"})
    assert desk.store.kept == {}
    cut = Desk(Scripted(pieces=FRAMES[:2]))
    with pytest.raises(GatewayError):
        await cut.ask({"input": "hi", "stream": True})
    assert cut.store.kept == {}


async def test_an_answer_that_cannot_be_written_is_delivered_and_written_later() -> None:
    desk = Desk()
    desk.store.is_away = True
    name = await first_turn(desk)
    await desk.responses.pay()
    assert desk.store.kept == {}
    desk.store.is_away = False
    await desk.responses.pay()
    assert list(desk.store.kept) == [name]
    desk.store.is_away = True
    with pytest.raises(StorageUnavailable):
        await desk.ask({"input": "hi", "previous_response_id": name})
    assert len(desk.table.transport.calls) == 1


async def test_what_waits_to_be_written_is_bounded() -> None:
    desk = Desk(Scripted(body=told(dict(MESSAGE, padding="x" * (MAX_OWED_BYTES // 2)))))
    desk.store.is_away = True
    for _ in range(3):
        await first_turn(desk)
    desk.store.is_away = False
    await desk.responses.pay()
    assert len(desk.store.kept) == 1


# -- the next turn --------------------------------------------------------------------------------------------------


async def test_the_next_turn_is_told_whole_and_names_no_earlier_one() -> None:
    desk = Desk()
    first = await first_turn(desk, instructions="once")
    second = json.loads(await desk.ask({"input": [{"role": "user", "content": "more"}], "previous_response_id": first}))
    assert second["previous_response_id"] == first
    opening = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    more = {"role": "user", "content": "more"}
    assert desk.sent == {"model": "m", "store": False, "input": [opening, MESSAGE, more]}
    await desk.ask({"input": "end", "previous_response_id": second["id"]})
    assert desk.sent["input"][:4] == [opening, MESSAGE, more, MESSAGE]


async def test_a_turn_that_is_not_kept_goes_on_from_one_that_is() -> None:
    desk = Desk()
    first = await first_turn(desk)
    answer = await desk.ask({"input": "more", "previous_response_id": first, "store": False})
    assert (json.loads(answer)["id"], json.loads(answer)["previous_response_id"]) == ("resp_theirs", first)
    assert list(desk.store.kept) == [first]
    assert len(desk.sent["input"]) == 3


async def test_another_tenants_response_is_none() -> None:
    desk = Desk()
    first = await first_turn(desk)
    with pytest.raises(NotFound) as refused:
        await desk.ask({"input": "more", "previous_response_id": first}, principal(tenant_id="t2"))
    assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize("ending", ["failed", "queued"])
async def test_what_was_not_answered_is_not_gone_on_from(ending: str) -> None:
    desk = Desk(Scripted(body=told(status=ending)))
    first = await first_turn(desk)
    with pytest.raises(InvalidRequest, match=ending):
        await desk.ask({"input": "more", "previous_response_id": first})


async def test_thoughts_travel_on_when_they_are_sealed_and_not_anothers() -> None:
    sealed = THOUGHT | {"id": "rs_2", "encrypted_content": "gAAAA"}
    anothers = THOUGHT | {"id": "rs_3", "encrypted_content": "routerd1.eyJmYW1pbHkiOiJhbnRocm9waWMifQ"}
    desk = Desk(Scripted(body=told(THOUGHT, sealed, anothers, MESSAGE)))
    first = await first_turn(desk)
    await desk.ask({"input": "more", "previous_response_id": first})
    assert desk.sent["input"][1:-1] == [sealed, MESSAGE]


async def test_an_item_that_is_named_is_told() -> None:
    desk = Desk()
    await first_turn(desk)
    asked = [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "and?"}]
    second = json.loads(await desk.ask({"input": asked}))["id"]
    assert desk.sent["input"] == [MESSAGE, asked[1]]
    assert json.loads(desk.store.kept[second].input) == [MESSAGE, asked[1]]
    await desk.ask({"input": [{"id": "msg_1"}], "store": False})
    assert desk.sent["input"] == [MESSAGE]
    with pytest.raises(NotFound, match="msg_2"):
        await desk.ask({"input": [{"type": "item_reference", "id": "msg_2"}]})


@pytest.mark.parametrize(
    ("model", "fields", "sealed"),
    [
        ("m", {}, None),
        ("m", {"reasoning": {"effort": "low"}}, ["reasoning.encrypted_content"]),
        ("gpt-5-mini", {}, ["reasoning.encrypted_content"]),
        ("o3", {"include": []}, ["reasoning.encrypted_content"]),
        ("gpt-5-chat-latest", {}, None),
        ("gpt-4o", {}, None),
        ("o3", {"include": ["x"]}, ["reasoning.encrypted_content", "x"]),
        ("o3", {"include": None}, ["reasoning.encrypted_content"]),
        ("o3", {"include": ["reasoning.encrypted_content"]}, ["reasoning.encrypted_content"]),
    ],
)
async def test_models_that_think_are_asked_to_seal_it(model: str, fields: dict[str, Any], sealed: list[str] | None) -> None:
    desk = Desk(keeping=KEEPING)
    request = parse_request(Api.RESPONSES, json.dumps({"model": "a", "input": "hi"} | fields).encode())
    request = msgspec.structs.replace(request, is_kept_here=True)
    dialect = desk.table.generation.providers["p"].dialects[Api.RESPONSES]
    built = json.loads(dialect.build_body(request, model, inject_usage=False))
    assert (built["store"], built.get("include")) == (False, sealed)


async def test_the_bound_of_a_request_sees_its_earlier_turns() -> None:
    desk = Desk(Scripted(body=told(dict(MESSAGE, padding="x" * 20_000))))
    first = await first_turn(desk)
    budget = Budget(BudgetScope.KEY, "k1", NanoUSD(10_000))
    poor = principal(budgets=(budget,))
    asked = {"input": "hi", "max_output_tokens": 10}
    assert await pumped(desk, desk.ask(asked, poor))
    with pytest.raises(BudgetExceeded):
        await pumped(desk, desk.ask(asked | {"previous_response_id": first}, poor))


async def test_a_conversation_over_the_limit_of_bodies_is_refused() -> None:
    desk = Desk(Scripted(body=told(dict(MESSAGE, padding="x" * 21 * 2**20))))
    first = await first_turn(desk)
    with pytest.raises(BodyTooLarge):
        await desk.ask({"input": "more", "previous_response_id": first})


# -- the list -------------------------------------------------------------------------------------------------------


async def test_items_are_listed_page_by_page_with_ids_that_stay() -> None:
    desk = Desk()
    first = await first_turn(desk)
    second = json.loads(await desk.ask({"input": [{"role": "user", "content": "b"}], "previous_response_id": first}))["id"]
    every = await desk.responses.items("t1", second, after=None, limit=100, is_ascending=True)
    items = [json.loads(item) for item in every.items]
    assert [item["id"] for item in items] == every.ids
    assert [item["content"][0]["text"] for item in items] == ["hello", "hi", "b"]
    assert [item["type"] for item in items] == ["message"] * 3
    assert not every.has_more
    page = await desk.responses.items("t1", second, after=every.ids[2], limit=1, is_ascending=False)
    assert (page.ids, page.has_more) == ([every.ids[1]], True)
    with pytest.raises(InvalidRequest, match="after"):
        await desk.responses.items("t1", second, after="msg_0", limit=1, is_ascending=False)
