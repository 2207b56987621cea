"""Requests of Responses callers in common words, and what of them is told elsewhere."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import (
    ChatQuery,
    Document,
    Family,
    Image,
    Opaque,
    OutputKind,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.query_in import HINTS
from router.providers.translated import Translated, Translation

TO_CHAT = Translated(OPENAI_RESPONSES, OPENAI_CHAT, hints=HINTS)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CITY = {"type": "function", "name": "city", "description": "d", "parameters": SCHEMA, "strict": True}
PNG = "data:image/png;base64,AA=="


def query(**fields: Any) -> ChatQuery:
    return OPENAI_RESPONSES.decode_query(msgspec.json.encode({"input": "hi"} | fields))


def translation(lane: Translated, api: Api, **fields: Any) -> Translation:
    return lane.translation(parse_request(api, msgspec.json.encode(fields)), "m", "p/m")


def to_chat(**fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(translation(TO_CHAT, Api.RESPONSES, **({"input": "hi"} | fields)).body)
    return told


# -- what callers say -----------------------------------------------------------------------------------------------


def test_instructions_come_first_and_a_text_is_the_users() -> None:
    found = query(instructions="Be brief.", input="hi", max_output_tokens=40, temperature=0.5)
    assert [(turn.role, turn.parts) for turn in found.turns] == [
        (Role.SYSTEM, (Text("Be brief."),)),
        (Role.USER, (Text("hi"),)),
    ]
    assert (found.has_instructions, found.cap, found.sampling.temperature) == (True, 40, 0.5)


def test_content_of_all_kinds_has_its_place() -> None:
    content = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PNG, "detail": "low"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
    ]
    (turn,) = query(input=[{"role": "user", "content": content}]).turns
    text, image, stored, pdf, linked = turn.parts
    assert text == Text("look")
    assert isinstance(image, Image) and (image.source.media_type, image.source.data, image.detail) == (
        "image/png",
        "AA==",
        "low",
    )
    assert isinstance(stored, Image) and stored.source.file_id == "file-1"
    assert isinstance(pdf, Document) and (pdf.name, pdf.source.media_type) == ("a.pdf", "application/pdf")
    assert isinstance(linked, Document) and linked.source.url == "https://x.test/a.pdf"


THREAD = [
    {"role": "user", "content": "weather?"},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"},
    {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "status": "completed",
        "content": [{"type": "output_text", "text": "One moment.", "annotations": []}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "city", "arguments": "{}", "status": "completed"},
    {"type": "function_call", "call_id": "c2", "name": "city", "arguments": '{"city":"Rome"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    {
        "type": "function_call_output",
        "call_id": "c2",
        "output": [{"type": "input_text", "text": "rain"}, {"type": "input_image", "image_url": PNG}],
    },
]


def test_what_an_assistant_did_in_a_row_is_one_turn() -> None:
    user, assistant, results = query(input=THREAD).turns
    thought, said, first, second = assistant.parts
    assert thought == Reasoning("hm", Family.RESPONSES, encrypted="e", id="rs_1", is_summary=True)
    assert said == Text("One moment.")
    assert first == ToolCall("c1", "city", "{}", item_id="fc_1")
    assert isinstance(second, ToolCall) and second.id == "c2"
    assert [(part.call_id, part.name) for part in results.parts if isinstance(part, ToolResult)] == [
        ("c1", "city"),
        ("c2", "city"),
    ]
    assert user.role is results.role is Role.USER


def test_parallel_calls_reach_a_chat_target_in_one_message() -> None:
    translated = translation(TO_CHAT, Api.RESPONSES, input=THREAD, tools=[CITY])
    messages = json.loads(translated.body)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["c1", "c2"]
    assert "reasoning of earlier turns" in translated.dropped and "input[].id" in translated.dropped


def test_several_summaries_of_one_thought_are_one_item_again() -> None:
    pieces = [{"type": "summary_text", "text": text} for text in ("a", "b")]
    item = {"type": "reasoning", "id": "rs_1", "summary": pieces, "encrypted_content": "e"}
    told = query(input=[item, item | {"id": "rs_2"}, {"role": "user", "content": "x"}])
    assert json.loads(OPENAI_RESPONSES.encode_query(told, "m", "t").body)["input"][:2] == [item, item | {"id": "rs_2"}]


@pytest.mark.parametrize("name", ["text", "response_format"])
def test_a_schema_is_the_same_by_either_name(name: str) -> None:
    flat = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
    nested = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    found = query(text={"format": flat}).format if name == "text" else query(response_format=nested).format
    assert found is not None and (found.kind, found.name, found.is_strict) == (OutputKind.SCHEMA, "city", True)
    assert json.loads(bytes(found.schema)) == SCHEMA


def test_two_formats_are_one_too_many() -> None:
    with pytest.raises(InvalidRequest, match="keep one"):
        query(text={"format": {"type": "text"}}, response_format={"type": "text"})


def test_thinking_logprobs_and_the_rest() -> None:
    found = query(
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        top_logprobs=3,
        text={"verbosity": "low"},
        parallel_tool_calls=False,
        service_tier="flex",
        prompt_cache_key="k",
        metadata={"a": "b"},
        user="u",
    )
    assert found.thinking is not None
    assert (found.thinking.effort, found.thinking.summary, found.thinking.wants_encrypted) == ("high", "auto", True)
    assert (found.sampling.logprobs, found.sampling.top_logprobs, found.verbosity) == (True, 3, "low")
    assert (found.is_parallel, found.service_tier, found.cache_key, found.user) == (False, "flex", "k", "u")
    assert found.metadata == {"a": "b"} and not found.others


GROUP = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers.",
    "tools": [
        CITY,
        {"type": "custom", "name": "note", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
    ],
}


def test_tools_of_a_group_have_names_of_their_own_elsewhere() -> None:
    body = to_chat(tools=[GROUP], tool_choice={"type": "function", "name": "city", "namespace": "crm"})
    function, custom = body["tools"]
    assert function["function"]["name"] == "crm__city" and function["function"]["description"] == "Customers.\n\nd"
    grammar = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}
    assert custom["custom"] == {"name": "crm__note", "description": "Customers.\n\n", "format": grammar}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "crm__city"}}


def test_a_call_of_a_groups_tool_is_told_with_its_group() -> None:
    lane = translation(TO_CHAT, Api.RESPONSES, input="x", tools=[GROUP])
    call = {"id": "c", "type": "function", "function": {"name": "crm__city", "arguments": "{}"}}
    answer = {"id": "a", "choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    (item,) = json.loads(lane.answer(msgspec.json.encode(answer), 1)[0])["output"]
    assert (item["type"], item["name"], item["namespace"]) == ("function_call", "city", "crm")
    again = to_chat(input=[item, {"type": "function_call_output", "call_id": "c", "output": "x"}], tools=[GROUP])
    assert again["messages"][0]["tool_calls"][0]["function"]["name"] == "crm__city"


def test_tools_in_groups_go_back_as_they_came() -> None:
    found = query(tools=[GROUP, CITY])
    again = json.loads(OPENAI_RESPONSES.encode_query(found, "m", "t").body)
    assert again["tools"][1] == CITY and again["tools"][0]["description"] == "Customers."
    assert again["tools"][0]["tools"][0] == CITY and again["tools"][0]["tools"][1]["format"]["syntax"] == "regex"


def test_the_allowed_tools_may_be_named() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "city"}]}
    assert query(tools=[CITY], tool_choice=allowed).tool_choice == ToolChoice(ToolMode.REQUIRED, ("city",))
    named = [{"type": "function", "function": {"name": "city"}}]
    told = to_chat(tools=[CITY], tool_choice=allowed)["tool_choice"]
    assert told == {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": named}}


def test_a_search_for_tools_that_are_all_there_is_left_out() -> None:
    deferred = CITY | {"defer_loading": True}
    translated = translation(TO_CHAT, Api.RESPONSES, input="x", tools=[deferred, {"type": "tool_search"}])
    assert len(json.loads(translated.body)["tools"]) == 1
    assert set(translated.dropped) == {"tools[].defer_loading", "tools.tool_search"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "tool_search", "execution": "client"}]}, "tools"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"id": "msg_1"}]}, "input"),
        ({"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]}, "input"),
        (
            {
                "input": [
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "", "caller": {"type": "program"}}
                ]
            },
            "input[0].caller",
        ),
    ],
)
def test_what_cannot_be_said_elsewhere_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        to_chat(**fields)
    assert refused.value.param == param and "p/m" in refused.value.message
    OPENAI_RESPONSES.encode_query(query(**fields), "m", "own/m")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        query(**fields)
    assert wrong.value.param == param


def test_a_default_that_is_said_is_no_loss() -> None:
    said = {
        "store": False,
        "truncation": "auto",
        "background": False,
        "input": [{"type": "message", "role": "user", "content": "x", "status": "completed"}],
    }
    assert set(translation(TO_CHAT, Api.RESPONSES, **said).dropped) == {"store", "truncation", "input[].status"}
    assert not translation(TO_CHAT, Api.RESPONSES, input="x", truncation="disabled", tools=[], include=[]).dropped


def test_an_item_of_openais_own_is_kept_whole_for_openai() -> None:
    item = {"type": "shell_call_output", "call_id": "c", "output": []}
    (turn,) = query(input=[item]).turns
    assert turn.role is Role.USER
    (part,) = turn.parts
    assert isinstance(part, Opaque) and json.loads(bytes(part.raw)) == item


def test_an_answer_of_the_callers_shell_is_a_turn_of_its_own() -> None:
    item = {"type": "shell_call_output", "call_id": "c", "output": []}
    said, *outputs = query(input=[{"role": "user", "content": "x"}, item, item]).turns
    assert said.parts == (Text("x"),)
    assert [len(turn.parts) for turn in outputs] == [2]
