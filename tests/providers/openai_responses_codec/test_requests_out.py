"""Common words said to Responses targets; and thoughts that go there and back."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import ChatQuery, Family, Role, Text, ToolCall, ToolResult, Turn
from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS as ANTHROPIC_HINTS
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_chat_codec.query_in import HINTS as CHAT_HINTS
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.query_in import HINTS
from router.providers.translated import Translated, Translation

TO_MESSAGES = Translated(OPENAI_RESPONSES, ANTHROPIC, hints=HINTS)
OF_CHAT = Translated(OPENAI_CHAT, OPENAI_RESPONSES, hints=CHAT_HINTS)
OF_MESSAGES = Translated(ANTHROPIC, OPENAI_RESPONSES, hints=ANTHROPIC_HINTS)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CITY = {"type": "function", "name": "city", "description": "d", "parameters": SCHEMA, "strict": True}
PNG = "data:image/png;base64,AA=="


def translation(lane: Translated, api: Api, **fields: Any) -> Translation:
    return lane.translation(parse_request(api, msgspec.json.encode(fields)), "m", "p/m")


def of_chat(model: str = "o4", **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "hi"}]} | fields
    told: dict[str, Any] = json.loads(
        OF_CHAT.translation(parse_request(Api.CHAT, msgspec.json.encode(body)), model, "p/m").body
    )
    return told


# -- what targets are told --------------------------------------------------------------------------------------------


def test_nothing_is_stored_and_sealed_thoughts_are_asked_for() -> None:
    body = of_chat()
    assert (body["store"], body["include"]) == (False, ["reasoning.encrypted_content"])
    assert of_chat(store=True)["store"] is True
    assert "include" not in of_chat("gpt-4.1-mini") and "include" not in of_chat("openai/gpt-4o")


def test_a_chat_is_told_as_items() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PNG}}]},
        {
            "role": "assistant",
            "content": "hm",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    tool = {"type": "function", "function": {"name": "f"}}
    body = of_chat(
        messages=turns, tools=[tool], tool_choice="required", max_tokens=50, reasoning_effort="low", verbosity="low"
    )
    assert body["instructions"] == "Be brief."
    assert body["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PNG}]},
        {"role": "assistant", "content": "hm"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    assert body["tools"] == [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    ]
    assert (body["tool_choice"], body["max_output_tokens"]) == ("required", 50)
    assert (body["reasoning"], body["text"]) == ({"effort": "low"}, {"verbosity": "low"})


def test_a_schema_is_said_flat() -> None:
    shape = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    assert of_chat(response_format=shape)["text"]["format"] == {"type": "json_schema", "name": "answer", "schema": SCHEMA}


def test_the_results_of_tools_keep_their_images() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    turns = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}, {"type": "text", "text": "so?"}],
        },
    ]
    body = json.loads(translation(OF_MESSAGES, Api.MESSAGES, max_tokens=9, messages=turns).body)
    assert body["input"][1:] == [
        {"type": "function_call_output", "call_id": "t", "output": [{"type": "input_image", "image_url": PNG}]},
        {"role": "user", "content": "so?"},
    ]


@pytest.mark.parametrize(("budget", "effort"), [(1024, "low"), (8000, "medium"), (32000, "high")])
def test_a_budget_is_the_nearest_effort(budget: int, effort: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget, "display": "summarized"}
    turns = [{"role": "user", "content": "x"}]
    body = json.loads(translation(OF_MESSAGES, Api.MESSAGES, max_tokens=64000, messages=turns, thinking=thinking).body)
    assert body["reasoning"] == {"effort": effort, "summary": "auto"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": "x"}, "stop"),
        ({"n": 2}, "n"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_what_a_responses_target_cannot_be_told_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        of_chat(**fields)
    assert refused.value.param == param and "p/m" in refused.value.message


def test_what_need_not_be_told_is_on_the_list() -> None:
    translated = translation(OF_CHAT, Api.CHAT, messages=[{"role": "user", "name": "Ann", "content": "x"}], seed=1, top_k=5)
    assert set(translated.dropped) == {"seed", "top_k", "speaker's name"}


def test_thoughts_of_others_are_not_told_even_where_they_are_sealed() -> None:
    detail = {"type": "reasoning.encrypted", "data": "e", "format": "anthropic-claude-v1", "index": 0}
    said = {"role": "assistant", "content": "x", "reasoning_details": [detail]}
    translated = translation(OF_CHAT, Api.CHAT, messages=[{"role": "user", "content": "x"}, said])
    assert [item.get("role") for item in json.loads(translated.body)["input"]] == ["user", "assistant"]
    assert translated.dropped == ("reasoning of earlier turns",)


def test_results_without_an_id_answer_the_calls_in_their_order() -> None:
    calls = (ToolCall("", "f", '{"n":1}'), ToolCall("", "f", '{"n":2}'))
    results = tuple(ToolResult("", (Text(text),), "f") for text in ("one", "two"))
    asked = ChatQuery(Family.OLLAMA, (Turn(Role.ASSISTANT, calls), Turn(Role.USER, results)))
    first, second, one, two = json.loads(OPENAI_RESPONSES.encode_query(asked, "m", "t").body)["input"]
    assert first["call_id"] and first["call_id"] != second["call_id"]
    assert [(one["call_id"], one["output"]), (two["call_id"], two["output"])] == [
        (first["call_id"], "one"),
        (second["call_id"], "two"),
    ]


# -- thoughts, there and back -----------------------------------------------------------------------------------------


def test_a_thought_signed_by_anthropic_comes_back_to_it_by_a_responses_caller() -> None:
    block = {"type": "thinking", "thinking": "Rome.", "signature": "c2ln"}
    call = {"type": "tool_use", "id": "t", "name": "city", "input": {"city": "Rome"}}
    answer = {
        "type": "message",
        "id": "msg_1",
        "model": "c",
        "content": [block, call],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    lane = translation(TO_MESSAGES, Api.RESPONSES, input="x", tools=[CITY])
    output = json.loads(lane.answer(msgspec.json.encode(answer), 1)[0])["output"]
    assert [item["type"] for item in output] == ["reasoning", "function_call"]
    turns = [{"role": "user", "content": "x"}, *output, {"type": "function_call_output", "call_id": "t", "output": "sun"}]
    body = json.loads(translation(TO_MESSAGES, Api.RESPONSES, input=turns, tools=[CITY]).body)
    assert body["messages"][1]["content"] == [block, call]


def test_a_thought_sealed_by_openai_comes_back_to_it_by_a_messages_caller() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "e",
    }
    said = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Rome", "annotations": []}],
    }
    answer = {"id": "resp_1", "output": [thought, said], "status": "completed"}
    asked = {"role": "user", "content": "x"}
    told = json.loads(
        translation(OF_MESSAGES, Api.MESSAGES, max_tokens=9, messages=[asked]).answer(msgspec.json.encode(answer), 1)[0]
    )
    turns = [asked, {"role": "assistant", "content": told["content"]}, {"role": "user", "content": "y"}]
    again = json.loads(translation(OF_MESSAGES, Api.MESSAGES, max_tokens=9, messages=turns).body)
    assert again["input"][1:3] == [thought, {"role": "assistant", "content": "Rome"}]
