"""What an operator lets be left out is, where the target would refuse it, and is told."""

import json
from typing import Any

import pytest

from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.bedrock.codec import BEDROCK
from router.providers.codec import CallerSide, TargetSide
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.translated import Translated, Translation

CALLERS: dict[Api, CallerSide] = {Api.CHAT: OPENAI_CHAT, Api.MESSAGES: ANTHROPIC, Api.RESPONSES: OPENAI_RESPONSES}
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
SEARCHED = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}


def asked(target: TargetSide, fields: dict[str, Any], *names: str, api: Api = Api.CHAT, model: str = "m") -> Translation:
    lane = Translated(CALLERS[api], target, omitted=frozenset(names))
    return lane.translation(parse_request(api, json.dumps({"model": "a"} | fields).encode()), model, "p/m")


@pytest.mark.parametrize(
    ("target", "fields", "name"),
    [
        (ANTHROPIC, {"n": 2}, "n"),
        (ANTHROPIC, {"temperature": 1.5}, "temperature"),
        (ANTHROPIC, {"logprobs": True}, "logprobs"),
        (ANTHROPIC, {"service_tier": "flex"}, "service_tier"),
        (ANTHROPIC, {"web_search_options": {}}, "web_search_options"),
        (ANTHROPIC, {"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"}}, "modalities"),
        (OPENAI_RESPONSES, {"stop": ["x"]}, "stop"),
        (OLLAMA_CHAT, {"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_field_is_left_out_where_it_is_named_and_refused_where_not(
    target: TargetSide, fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(UnsupportedFeature) as refusal:
        asked(target, HELLO | fields, "something_else", "tools.web_search")
    assert refusal.value.param == name
    made = asked(target, HELLO | fields, name)
    assert name in made.dropped
    assert json.loads(made.body).get(name) in (None, ["text"])


def test_what_the_target_can_be_told_is_told_all_the_same() -> None:
    made = asked(ANTHROPIC, HELLO | {"temperature": 0.5, "stop": ["x"]}, "temperature", "stop")
    assert json.loads(made.body)["temperature"] == 0.5 and json.loads(made.body)["stop_sequences"] == ["x"]
    assert not {"temperature", "stop"} & set(made.dropped)


def test_a_tool_of_another_provider_goes_with_what_it_did_before() -> None:
    given = {"input": [{"role": "user", "content": "x"}, SEARCHED, {"role": "assistant", "content": "Found."}]}
    tools = {"tools": [{"type": "web_search_preview_2025_03_11"}, SHELL]}
    made = asked(ANTHROPIC, given | tools, "tools.web_search", api=Api.RESPONSES)
    sent = json.loads(made.body)
    assert "tools.web_search" in made.dropped and [tool["name"] for tool in sent["tools"]] == ["shell"]
    assert [message["content"] for message in sent["messages"]] == ["x", "Found."]


def test_of_a_messages_callers_conversation_too() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "text", "text": "Found."},
    ]
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": blocks}, {"role": "user", "content": "y"}]
    fields = {"max_tokens": 9, "messages": messages, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    made = asked(BEDROCK, fields, "tools.web_search", api=Api.MESSAGES)
    told = json.loads(made.body)
    assert "toolConfig" not in told and told["messages"][1]["content"] == [{"text": "Found."}]
    with pytest.raises(UnsupportedFeature, match="server_tool_use"):
        asked(BEDROCK, fields, "tools.code_execution", api=Api.MESSAGES)


def test_a_choice_of_a_tool_that_is_gone_is_refused_unless_it_may_go_too() -> None:
    fields = {"input": "x", "tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}
    with pytest.raises(UnsupportedFeature, match="tool_choice"):
        asked(ANTHROPIC, fields, "tools.web_search", api=Api.RESPONSES)
    made = asked(ANTHROPIC, fields, "tools.web_search", "tool_choice", api=Api.RESPONSES)
    assert set(made.dropped) >= {"tools.web_search", "tool_choice"}
