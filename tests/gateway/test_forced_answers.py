"""JSON from models without structured output: asked for by a forced tool, told as text, checked before it is an answer."""

import json
from typing import Any

import pytest

from router.domain.errors import InvalidUpstreamResponse, UnsupportedFeature
from router.domain.requests import Api
from router.domain.routes import Alias, ProviderSpec, Target
from router.providers.sse import frames
from tests.gateway.fakes import Scripted, chat
from tests.gateway.table import PRICE, Table, alias
from tests.gateway.test_translated import START, WEATHER, chunks, end, events, message, sent, streamed, whole

SPEC = ProviderSpec("p", "anthropic", "http://p.test", apis=frozenset({Api.MESSAGES}), translates=frozenset({Api.CHAT}))
OLD = "claude-3-5-haiku-20241022"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 1}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
GOOD = {"city": "Rome", "people": 2_800_000}


def over(*script: Scripted, model: str = OLD) -> Table:
    targets = (Target("p/m", "p", model, price=PRICE, provider_type="anthropic"),)
    made = Alias("a", alias("x", "p").kind, targets)
    return Table(made, providers=[SPEC], p=list(script))


def wanted(schema: Any = CITY, name: str = "town") -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def call(arguments: Any, name: str = "town", id_: str = "toolu_9") -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": arguments}


def called(arguments: Any, name: str = "town", index: int = 0, pieces: int = 3) -> list[dict[str, Any]]:
    text = json.dumps(arguments)
    step = max(1, len(text) // pieces)
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    told: list[dict[str, Any]] = [{"type": "content_block_start", "index": index, "content_block": block}]
    for at in range(0, len(text), step):
        delta = {"type": "input_json_delta", "partial_json": text[at : at + step]}
        told.append({"type": "content_block_delta", "index": index, "delta": delta})
    return [*told, {"type": "content_block_stop", "index": index}]


def wrote(text: str, index: int = 0) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": index},
    ]


def stream_of(*told: dict[str, Any], stop: str = "tool_use") -> Scripted:
    return Scripted(pieces=events(START, *told, *end(stop)))


def text_of(stream: bytes) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks(stream) for choice in chunk.choices)


def finishes(stream: bytes) -> list[str]:
    return [c.finish_reason for chunk in chunks(stream) for c in chunk.choices if c.finish_reason]


# -- what is asked ----------------------------------------------------------------------------------------------------


async def test_the_schema_is_the_input_of_a_tool_that_must_be_called() -> None:
    table = over(message(call(GOOD), stop="tool_use"))
    _, body = await whole(table, chat(response_format=wanted(), max_tokens=50))
    [tool] = sent(table)["tools"]
    assert (tool["name"], tool["input_schema"]) == ("town", CITY)
    assert sent(table)["tool_choice"] == {"type": "tool", "name": "town", "disable_parallel_tool_use": True}
    assert "output_config" not in sent(table)
    [choice] = body["choices"]
    assert json.loads(choice["message"]["content"]) == GOOD
    assert choice["finish_reason"] == "stop" and not choice["message"].get("tool_calls")
    assert table.outcomes == ["ok"]


@pytest.mark.parametrize(
    "model", ["claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5", "claude-sonnet-5", "claude-opus-4-6"]
)
async def test_models_that_have_it_are_asked_as_they_are(model: str) -> None:
    table = over(message({"type": "text", "text": json.dumps(GOOD)}), model=model)
    await table.ask(chat(response_format=wanted(), max_tokens=50))
    assert sent(table)["output_config"]["format"]["schema"] == CITY and "tools" not in sent(table)


@pytest.mark.parametrize(
    "model",
    [
        "claude-sonnet-4-20250514",
        "claude-opus-4-0",
        "claude-sonnet-4",
        "claude-3-7-sonnet-latest",
        "claude-sonnet-4@20250514",
    ],
)
async def test_models_that_lack_it_are_forced(model: str) -> None:
    table = over(message(call(GOOD), stop="tool_use"), model=model)
    await table.ask(chat(response_format=wanted(), max_tokens=50))
    assert sent(table)["tool_choice"]["name"] == "town"


async def test_any_json_object_is_asked_for_by_a_tool_of_every_model() -> None:
    table = over(message(call({"a": [1]}, "answer"), stop="tool_use"), model="claude-sonnet-5")
    _, body = await whole(table, chat(response_format={"type": "json_object"}, max_tokens=50))
    assert json.loads(body["choices"][0]["message"]["content"]) == {"a": [1]}


async def test_what_is_no_object_is_wrapped_and_unwrapped() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
    table = over(message(call({"answer": [1, 2]}), stop="tool_use"), stream_of(*called({"answer": [1, 2]})))
    _, body = await whole(table, chat(response_format=wanted(schema), max_tokens=50))
    written = sent(table)["tools"][0]["input_schema"]
    assert written["properties"]["answer"] == {"type": "array", "items": {"$ref": "#/$defs/n"}}
    assert written["$defs"] == schema["$defs"]
    assert json.loads(body["choices"][0]["message"]["content"]) == [1, 2]
    stream = await streamed(table, chat(stream=True, response_format=wanted(schema), max_tokens=50))
    assert json.loads(text_of(stream)) == [1, 2] and finishes(stream) == ["stop"]


async def test_thinking_makes_room_and_the_caller_is_told() -> None:
    table = over(message(call(GOOD), stop="tool_use"), model="claude-sonnet-4-0")
    got, _ = await whole(table, chat(response_format=wanted(), reasoning_effort="high", max_tokens=9000))
    assert "thinking" not in sent(table) and "reasoning_effort" in got.dropped


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "unevaluatedProperties": False},
        {"type": "object", "properties": {"a": {"pattern": r"(a)\1"}}},
        {"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}}]},
    ],
)
async def test_a_schema_that_cannot_be_checked_is_refused_by_name(schema: Any) -> None:
    table = over(message(call(GOOD), stop="tool_use"))
    with pytest.raises(UnsupportedFeature) as refused:
        await table.ask(chat(response_format=wanted(schema)))
    assert refused.value.param == "response_format" and not table.transport.calls


# -- what is answered -------------------------------------------------------------------------------------------------

WRONG: list[Any] = [{"city": "Rome"}, {"city": "Rome", "people": 0}, {"city": 7, "people": 1}, GOOD | {"more": 1}, {}]


@pytest.mark.parametrize("arguments", WRONG)
async def test_an_answer_that_does_not_fit_is_a_bad_gateway_and_is_paid(arguments: Any) -> None:
    table = over(message(call(arguments), stop="tool_use"))
    with pytest.raises(InvalidUpstreamResponse, match="does not match the schema"):
        await table.ask(chat(response_format=wanted(), max_tokens=50))
    assert table.outcomes == ["invalid_response"] and table.entry.cost == 12 + 5 * 2
    assert table.health.report()["p/m"]["recent_failures"] == 0


@pytest.mark.parametrize("arguments", WRONG)
async def test_a_stream_that_does_not_fit_ends_in_an_error_and_not_as_an_answer(arguments: Any) -> None:
    table = over(stream_of(*called(arguments)))
    stream = await streamed(table, chat(stream=True, response_format=wanted(), max_tokens=50))
    told = [json.loads(data) for _, data in frames(stream)]
    assert "does not match the schema" in told[-1]["error"]["message"]
    assert b"[DONE]" not in stream and not any(c.get("finish_reason") for t in told for c in t.get("choices", ()))
    assert table.outcomes == ["invalid_response"] and table.health.report()["p/m"]["recent_failures"] == 0


async def test_a_stream_is_told_as_text_while_it_comes() -> None:
    table = over(stream_of(*wrote("Here it is:"), *called(GOOD, index=1, pieces=5)))
    stream = await streamed(table, chat(stream=True, response_format=wanted(), max_tokens=50))
    assert json.loads(text_of(stream)) == GOOD
    assert finishes(stream) == ["stop"] and stream.endswith(b"data: [DONE]\n\n")
    deltas = [c.delta for chunk in chunks(stream) for c in chunk.choices]
    assert sum(bool(delta.content) for delta in deltas) >= 5 and not any(delta.tool_calls for delta in deltas)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_cut_by_its_length_says_so(stream: bool) -> None:
    cut = stream_of(*called(GOOD)[:-2], {"type": "content_block_stop", "index": 0}, stop="max_tokens")
    table = over(cut if stream else message(call({"city": "Ro"}), stop="max_tokens"))
    if stream:
        assert finishes(await streamed(table, chat(stream=True, response_format=wanted(), max_tokens=5))) == ["length"]
    else:
        _, body = await whole(table, chat(response_format=wanted(), max_tokens=5))
        assert body["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(("text", "fits"), [(json.dumps(GOOD), True), ("Rome, of course.", False)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_writes_instead_of_calling_is_held_to_the_schema_too(text: str, fits: bool, stream: bool) -> None:
    table = over(stream_of(*wrote(text), stop="end_turn") if stream else message({"type": "text", "text": text}))
    if stream:
        got = await streamed(table, chat(stream=True, response_format=wanted(), max_tokens=50))
        assert (text_of(got.partition(b'data: {"error"')[0]) == text) is fits
        assert (b"does not match" in got) is not fits
    elif fits:
        _, body = await whole(table, chat(response_format=wanted(), max_tokens=50))
        assert body["choices"][0]["message"]["content"] == text
    else:
        with pytest.raises(InvalidUpstreamResponse):
            await table.ask(chat(response_format=wanted(), max_tokens=50))


async def test_an_answer_given_twice_is_none() -> None:
    table = over(message(call(GOOD), call(GOOD, id_="toolu_10"), stop="tool_use"))
    with pytest.raises(InvalidUpstreamResponse):
        await table.ask(chat(response_format=wanted(), max_tokens=50))


# -- beside the caller's own tools --------------------------------------------------------------------------------------


async def test_beside_the_callers_tools_one_of_all_must_be_called() -> None:
    table = over(message(call(GOOD), stop="tool_use"))
    _, body = await whole(table, chat(response_format=wanted(), tools=[WEATHER], max_tokens=50))
    assert [tool["name"] for tool in sent(table)["tools"]] == ["weather", "town"]
    assert sent(table)["tool_choice"] == {"type": "any"}
    assert json.loads(body["choices"][0]["message"]["content"]) == GOOD


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_of_the_callers_tool_is_passed_on(stream: bool) -> None:
    if stream:
        table = over(stream_of(*wrote("Let me see."), *called({"city": "Rome"}, "weather", 1), *called({}, "town", 2)))
        told = await streamed(table, chat(stream=True, response_format=wanted(), tools=[WEATHER], max_tokens=50))
        calls = [c for chunk in chunks(told) for ch in chunk.choices for c in ch.delta.tool_calls or []]
        assert {c.function.name for c in calls if c.function and c.function.name} == {"weather"}
        assert finishes(told) == ["tool_calls"] and text_of(told) == "Let me see."
    else:
        table = over(message(call({"city": "Rome"}, "weather"), call({}, "town"), stop="tool_use"))
        _, body = await whole(table, chat(response_format=wanted(), tools=[WEATHER], max_tokens=50))
        [choice] = body["choices"]
        assert [c["function"]["name"] for c in choice["message"]["tool_calls"]] == ["weather"]
        assert choice["finish_reason"] == "tool_calls"


async def test_a_stream_beside_tools_is_told_when_it_is_known_what_it_is() -> None:
    table = over(stream_of(*called(GOOD)))
    told = await streamed(table, chat(stream=True, response_format=wanted(), tools=[WEATHER], max_tokens=50))
    assert json.loads(text_of(told)) == GOOD and finishes(told) == ["stop"]


async def test_a_tool_that_must_be_called_leaves_no_text_to_have_a_form() -> None:
    table = over(message(call({"city": "Rome"}, "weather"), stop="tool_use"))
    _, body = await whole(table, chat(response_format=wanted(), tools=[WEATHER], tool_choice="required", max_tokens=50))
    assert [tool["name"] for tool in sent(table)["tools"]] == ["weather"]
    assert body["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_tool_of_the_callers_with_the_same_name_is_another() -> None:
    own = {"type": "function", "function": {"name": "town", "parameters": {"type": "object"}}}
    table = over(message(call(GOOD, "town_"), stop="tool_use"))
    _, body = await whole(table, chat(response_format=wanted(), tools=[own], max_tokens=50))
    assert json.loads(body["choices"][0]["message"]["content"]) == GOOD


async def test_tools_that_must_not_be_called_stay_told() -> None:
    table = over(message(call(GOOD), stop="tool_use"))
    await table.ask(chat(response_format=wanted(), tools=[WEATHER], tool_choice="none", max_tokens=50))
    assert sent(table)["tool_choice"]["name"] == "town" and len(sent(table)["tools"]) == 2
