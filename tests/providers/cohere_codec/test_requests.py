"""What callers of Chat Completions and of Messages ask, in Cohere's words; what it cannot say is refused by name."""

import json
from typing import Any

import pytest

from router.domain.requests import Api
from router.providers.cohere.codec import COHERE_CHAT
from tests.providers.spoken import Spoken

COHERE = Spoken(COHERE_CHAT)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": PARAMETERS}}
OTHER = {"type": "function", "function": {"name": "time"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
USER = {"role": "user", "content": "hello"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def messages(*told: dict[str, Any], api: Api = Api.CHAT) -> Any:
    return COHERE.sent({"messages": list(told)}, api)["messages"]


def test_a_plain_request_says_what_it_must() -> None:
    sent = COHERE.sent({"messages": [USER], "max_tokens": 9})
    assert sent == {"model": "m", "messages": [USER], "stream": False, "max_tokens": 9}


def test_sampling_has_coheres_names() -> None:
    asked = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "seed": 3,
        "stop": ["a", "b"],
        "frequency_penalty": 1,
        "logprobs": True,
    }
    sent = COHERE.sent(asked)
    told = {"temperature": 0.5, "p": 0.9, "k": 7, "seed": 3, "stop_sequences": ["a", "b"], "frequency_penalty": 1}
    assert told | {"logprobs": True} == {name: sent[name] for name in (*told, "logprobs")}
    assert (COHERE.sent({"top_p": 1})["p"], COHERE.sent({"top_p": 0})["p"]) == (0.99, 0.01)


def test_instructions_stay_where_they_are() -> None:
    told = messages({"role": "developer", "content": "Be brief."}, USER, {"role": "system", "content": "And kind."})
    assert [message["role"] for message in told] == ["system", "user", "system"]
    assert told[0]["content"] == "Be brief."


def test_images_are_urls_with_their_detail() -> None:
    url = {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}
    data = {"type": "image_url", "image_url": {"url": PNG}}
    assert messages({"role": "user", "content": [{"type": "text", "text": "see"}, url, data]}) == [
        {"role": "user", "content": [{"type": "text", "text": "see"}, url, data]}
    ]


def test_a_call_and_its_result_keep_their_id() -> None:
    told = messages(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    )
    assert told[1:] == [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]


def test_an_image_in_a_result_is_shown_behind_it() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    told = messages(
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "see"}, image]},
                {"type": "text", "text": "What is it?"},
            ],
        },
        api=Api.MESSAGES,
    )
    assert told[2] == {"role": "tool", "tool_call_id": "t1", "content": "see"}
    kinds = [part["type"] for part in told[3]["content"]]
    assert (told[3]["role"], kinds) == ("user", ["text", "image_url", "text"])


def test_documents_to_be_cited_stand_beside_the_messages_and_others_are_texts() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Ruby is from 1993."}
    cited = {"type": "document", "source": source, "title": "Facts", "citations": {"enabled": True}}
    plain = {"type": "document", "source": source, "context": "old"}
    body = {"messages": [{"role": "user", "content": [cited, plain, {"type": "text", "text": "When?"}]}]}
    sent = COHERE.sent(body, Api.MESSAGES)
    assert sent["documents"] == [{"id": "document_0", "data": {"title": "Facts", "text": "Ruby is from 1993."}}]
    assert [part["text"] for part in sent["messages"][0]["content"]] == ["old\n\nRuby is from 1993.", "When?"]


def test_a_result_of_documents_can_be_cited() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "T"}
    turns: list[Any] = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [document]}]},
    ]
    sent = messages(USER, *turns, api=Api.MESSAGES)
    assert sent[-1]["content"] == [{"type": "document", "document": {"data": {"title": "T", "text": "x"}}}]


@pytest.mark.parametrize(
    ("choice", "told"), [("auto", None), ("none", "NONE"), ("required", "REQUIRED"), (None, None)], ids=str
)
def test_a_choice_of_tools(choice: str | None, told: str | None) -> None:
    sent = COHERE.sent({"tools": [TOOL, OTHER]} | ({"tool_choice": choice} if choice else {}))
    assert sent.get("tool_choice") == told
    assert sent["tools"][0] == TOOL
    assert sent["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_one_tool_that_must_be_called_is_the_only_one_offered() -> None:
    sent = COHERE.sent({"tools": [TOOL, OTHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}})
    assert (sent["tools"], sent["tool_choice"]) == ([TOOL], "REQUIRED")


def test_a_strict_tool_makes_the_tools_strict() -> None:
    strict = {"type": "function", "function": TOOL["function"] | {"strict": True}}  # type: ignore[operator]  # a dict
    sent = COHERE.sent({"tools": [strict]})
    assert sent["strict_tools"] is True and "strict" not in sent["tools"][0]["function"]


def test_formats_of_the_answer() -> None:
    shape = {"name": "answer", "description": "a city", "schema": PARAMETERS, "strict": True}
    schema = {"response_format": {"type": "json_schema", "json_schema": shape}}
    assert COHERE.sent(schema)["response_format"] == {"type": "json_object", "json_schema": PARAMETERS}
    assert COHERE.dropped(schema) == {"response_format.description"}
    assert COHERE.sent({"response_format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in COHERE.sent({"response_format": {"type": "text"}})
    forced = COHERE.sent(schema | {"tools": [TOOL]})
    assert (forced["tool_choice"], len(forced["tools"])) == ("REQUIRED", 2) and "response_format" not in forced


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"reasoning_effort": "high", "max_tokens": 100_000}, {"type": "enabled", "token_budget": 16384}),
        ({"reasoning_effort": "high", "max_tokens": 1000}, {"type": "enabled", "token_budget": 500}),
        ({"reasoning_effort": "none"}, {"type": "disabled"}),
        ({"thinking": {"type": "disabled"}}, {"type": "disabled"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 77}}, {"type": "enabled", "token_budget": 77}),
        ({"thinking": {"type": "enabled"}}, {"type": "enabled"}),
        ({}, None),
    ],
    ids=str,
)
def test_thinking(asked: dict[str, Any], told: dict[str, Any] | None) -> None:
    assert COHERE.sent(asked).get("thinking") == told


def test_coheres_own_fields_pass_from_any_caller() -> None:
    own = {"safety_mode": "STRICT", "citation_options": {"mode": "OFF"}, "documents": ["a"], "priority": 5}
    for api in (Api.CHAT, Api.MESSAGES):
        sent = COHERE.sent(own, api)
        assert {name: sent[name] for name in own} == own


def test_thoughts_come_back_to_their_places_and_those_of_others_do_not() -> None:
    details = [
        {"type": "reasoning.text", "text": "I see.", "format": "cohere-chat-v2", "signature": "thinking", "index": 0},
        {"type": "reasoning.text", "text": "I will look.", "format": "cohere-chat-v2", "signature": "tool_plan", "index": 1},
    ]
    said = {"role": "assistant", "content": "Well", "tool_calls": [CALL]}
    own = messages(USER, said | {"reasoning_details": details})[1]
    blocks = [{"type": "thinking", "thinking": "I see."}, {"type": "text", "text": "Well"}]
    assert own == {"role": "assistant", "tool_plan": "I will look.", "content": blocks, "tool_calls": [CALL]}
    foreign = {"messages": [USER, said | {"reasoning_content": "Hm."}]}
    assert COHERE.sent(foreign)["messages"][1] == said
    assert COHERE.dropped(foreign) == {"reasoning of earlier turns"}


def test_what_is_dropped_is_named() -> None:
    asked = {
        "user": "u",
        "metadata": {"a": "b"},
        "store": True,
        "prompt_cache_key": "k",
        "service_tier": "auto",
        "verbosity": "low",
    }
    assert COHERE.dropped(asked) == set(asked)
    assert not asked.keys() & COHERE.sent(asked).keys()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"top_logprobs": 2, "logprobs": True}, "top_logprobs"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}}, "modalities"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"something_new": 1}, "something_new"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "video", "video": 1}]}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": [{"type": "video", "video": 1}]}]}, "messages"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_cohere_cannot_do_is_refused_by_name(asked: dict[str, Any], field: str) -> None:
    assert COHERE.refused(asked) == field
