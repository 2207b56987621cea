"""What callers of Chat Completions and of Messages ask, in the words of Ollama's own chat; the rest is refused by name."""

import json
from typing import Any

import pytest

from router.domain.requests import Api
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.ollama.framing import NDJSON
from tests.providers.spoken import Spoken

OLLAMA = Spoken(OLLAMA_CHAT, NDJSON)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": PARAMETERS}}
OTHER = {"type": "function", "function": {"name": "time"}}
USER = {"role": "user", "content": "hello"}


def messages(*told: dict[str, Any], api: Api = Api.CHAT) -> Any:
    return OLLAMA.sent({"messages": list(told)}, api)["messages"]


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_plain_request_says_that_it_wants_no_stream() -> None:
    sent = OLLAMA.sent({"messages": [USER], "max_tokens": None})
    assert sent == {"model": "m", "messages": [USER], "stream": False}
    assert OLLAMA.sent({"stream": True})["stream"] is True


def test_sampling_and_the_cap_are_options() -> None:
    asked = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "seed": 3, "stop": "a", "presence_penalty": 1, "max_tokens": 5}
    told = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "seed": 3, "stop": ["a"], "presence_penalty": 1, "num_predict": 5}
    assert OLLAMA.sent(asked)["options"] == told


def test_ollamas_own_fields_pass_and_the_callers_named_ones_win() -> None:
    own = {"options": {"num_ctx": 4096, "seed": 1}, "keep_alive": "5m", "think": "high"}
    sent = OLLAMA.sent(own | {"seed": 2, "max_tokens": None})
    assert (sent["options"], sent["keep_alive"], sent["think"]) == ({"num_ctx": 4096, "seed": 2}, "5m", "high")
    assert OLLAMA.refused({"options": [1]}) == "options"


def test_texts_of_a_message_are_one_and_images_stand_beside_it() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}}
    parts = [{"type": "text", "text": "see"}, image, {"type": "text", "text": "this"}]
    asked = {"messages": [{"role": "user", "content": parts}]}
    assert OLLAMA.sent(asked)["messages"] == [{"role": "user", "content": "see\n\nthis", "images": ["iVBORw0KGgo="]}]
    assert OLLAMA.dropped(asked) == {"image detail"}


def test_calls_are_objects_and_results_name_their_tool() -> None:
    told = messages(
        {"role": "developer", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call("c1", "weather", '{"city":"Rome"}'), call("c2", "time")]},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    )
    functions = [{"name": "weather", "arguments": {"city": "Rome"}}, {"name": "time", "arguments": {}}]
    assert told == [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "", "tool_calls": [{"function": function} for function in functions]},
        {"role": "tool", "content": "noon", "tool_name": "time"},
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
    ]


def test_an_image_in_a_result_is_shown_behind_it() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    told = messages(
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [image]}]},
        api=Api.MESSAGES,
    )
    assert told[1:] == [
        {"role": "tool", "content": "", "tool_name": "look"},
        {"role": "user", "content": "The content of the tool result t1:", "images": ["iVBORw0KGgo="]},
    ]


def test_a_choice_of_tools_is_what_is_offered() -> None:
    assert OLLAMA.sent({"tools": [TOOL]})["tools"] == [TOOL]
    assert "tools" not in OLLAMA.sent({"tools": [TOOL], "tool_choice": "none"})
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "weather"}}]}
    some = {"tools": [TOOL, OTHER], "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}
    assert OLLAMA.sent(some)["tools"] == [TOOL]
    strict = {"type": "function", "function": TOOL["function"] | {"strict": True}}  # type: ignore[operator]  # a dict
    assert OLLAMA.dropped({"tools": [strict]}) == {"strict"}


def test_formats_of_the_answer() -> None:
    shape = {"name": "answer", "schema": PARAMETERS, "strict": True}
    assert OLLAMA.sent({"response_format": {"type": "json_schema", "json_schema": shape}})["format"] == PARAMETERS
    assert OLLAMA.sent({"response_format": {"type": "json_object"}})["format"] == "json"
    assert "format" not in OLLAMA.sent({"response_format": {"type": "text"}})


@pytest.mark.parametrize(
    ("asked", "think", "think_by_degrees"),
    [
        ({"reasoning_effort": "minimal"}, True, "low"),
        ({"reasoning_effort": "high"}, True, "high"),
        ({"reasoning_effort": "none"}, False, False),
        ({"thinking": {"type": "disabled"}}, False, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, True, "medium"),
        ({"thinking": {"type": "enabled"}}, True, True),
        ({}, None, None),
    ],
    ids=str,
)
def test_thinking(asked: dict[str, Any], think: object, think_by_degrees: object) -> None:
    assert OLLAMA.sent(asked).get("think") == think
    query = OLLAMA.of_chat.caller.decode_query(json.dumps({"messages": [USER]} | asked).encode())
    sent = json.loads(OLLAMA_CHAT.encode_query(query, "gpt-oss:20b", "p/m").body)
    assert sent.get("think") == think_by_degrees


def test_thoughts_that_are_not_sealed_come_back() -> None:
    told = messages(USER, {"role": "assistant", "content": "Well", "reasoning_content": "Hm."})
    assert told[1] == {"role": "assistant", "content": "Well", "thinking": "Hm."}
    sealed = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    asked = {"messages": [USER, {"role": "assistant", "content": [sealed, {"type": "text", "text": "Well"}]}]}
    assert OLLAMA.sent(asked, Api.MESSAGES)["messages"][1] == {"role": "assistant", "content": "Well"}
    assert OLLAMA.dropped(asked, Api.MESSAGES) == {"reasoning of earlier turns"}


def test_probabilities_are_asked_for() -> None:
    sent = OLLAMA.sent({"logprobs": True, "top_logprobs": 2})
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)


def test_what_is_dropped_is_named() -> None:
    asked = {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "flex", "verbosity": "low"}
    assert OLLAMA.dropped(asked) == set(asked)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"something_new": 1}, "something_new"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": [{"type": "video", "video": 1}]}]}, "messages"),
        ({"messages": [{"role": "assistant", "tool_calls": [call("c", "f", "[1")]}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test"}}]}]},
            "messages",
        ),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_ollama_cannot_do_is_refused_by_name(asked: dict[str, Any], field: str) -> None:
    assert OLLAMA.refused(asked) == field
