"""A provider's search among tools is not needed where all of them are offered: nothing but the saving is lost."""

import json
from typing import Any

import pytest

from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS
from router.providers.bedrock.codec import BEDROCK
from router.providers.codec import TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.gemini.codec import CLAUDE_ON_VERTEX, GeminiCodec
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.query_in import HINTS as RESPONSES_HINTS
from router.providers.translated import Translated, Translation

SEARCH = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {}}, "defer_loading": True}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
HI = {"role": "user", "content": "Is it raining?"}
SEARCHED = [
    {"type": "text", "text": "Let me see."},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "tool_search_tool_regex", "input": {"pattern": "weather"}},
    {
        "type": "tool_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": "weather"}],
        },
    },
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
]
RAIN = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]}
BOTH = {"tools.tool_search", "tools[].defer_loading"}
FOREIGN = [OPENAI_CHAT, OPENAI_RESPONSES, GeminiCodec(), BEDROCK, COHERE_CHAT, OLLAMA_CHAT]


def of_messages(target: TargetSide, **fields: Any) -> Translation:
    body = {"model": "a", "max_tokens": 9, "messages": [HI]} | fields
    request = parse_request(Api.MESSAGES, json.dumps(body).encode())
    return Translated(ANTHROPIC, target, hints=HINTS).translation(request, "m", "p/m")


def of_responses(*items: Any, **fields: Any) -> Translation:
    request = parse_request(Api.RESPONSES, json.dumps({"model": "a", "input": items} | fields).encode())
    return Translated(OPENAI_RESPONSES, OPENAI_CHAT, hints=RESPONSES_HINTS).translation(request, "m", "p/m")


@pytest.mark.parametrize("target", FOREIGN, ids=lambda target: target.family.value)
def test_all_tools_are_offered_at_once_and_earlier_searches_are_not_told(target: TargetSide) -> None:
    turns = [HI, {"role": "assistant", "content": SEARCHED}, RAIN]
    told = of_messages(target, tools=[SEARCH, CLOCK, WEATHER], messages=turns)
    assert set(told.dropped) == BOTH
    assert all(word in told.body for word in (b'"weather"', b'"clock"', b"Let me see.", b'rain"'))
    assert not any(word in told.body for word in (b"tool_search", b"srvtoolu_1", b"tool_reference", b"defer_loading"))


def test_a_turn_that_only_searched_is_no_turn() -> None:
    turns = [HI, {"role": "assistant", "content": SEARCHED[1:3]}, {"role": "user", "content": "Well?"}]
    told = of_messages(OPENAI_CHAT, messages=turns)
    assert [message["role"] for message in json.loads(told.body)["messages"]] == ["user", "user"]
    assert told.dropped == ("tools.tool_search",)


def test_a_callers_own_search_tells_the_names_of_what_it_found() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "search_tools", "input": {}}
    found = [{"type": "tool_reference", "tool_name": name} for name in ("weather", "clock")]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": found}
    turns = [HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    told = of_messages(OPENAI_CHAT, tools=[CLOCK], messages=turns)
    answer = json.loads(told.body)["messages"][-1]
    assert answer["role"] == "tool" and "weather" in str(answer["content"]) and "clock" in str(answer["content"])
    assert told.dropped == ()


def test_other_tools_of_anthropics_are_refused_as_ever() -> None:
    web = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(UnsupportedFeature, match="web_search"):
        of_messages(OPENAI_CHAT, tools=[SEARCH, web])
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    with pytest.raises(UnsupportedFeature):
        of_messages(OPENAI_CHAT, messages=[HI, {"role": "assistant", "content": [block]}, HI])


def test_a_search_that_is_forced_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        of_messages(OPENAI_CHAT, tools=[SEARCH, WEATHER], tool_choice={"type": "tool", "name": SEARCH["name"]})
    assert refused.value.param == "tool_choice"
    told = of_messages(OPENAI_CHAT, tools=[SEARCH, WEATHER], tool_choice={"type": "tool", "name": "weather"})
    assert json.loads(told.body)["tool_choice"]["function"]["name"] == "weather"


def test_claude_elsewhere_searches_itself() -> None:
    turns = [HI, {"role": "assistant", "content": SEARCHED}, RAIN]
    body = json.dumps({"model": "a", "max_tokens": 9, "tools": [SEARCH, CLOCK, WEATHER], "messages": turns}).encode()
    told = Translated(ANTHROPIC, CLAUDE_ON_VERTEX).translation(parse_request(Api.MESSAGES, body), "claude-sonnet-4-5", "p/m")
    sent = json.loads(told.body)
    assert sent["tools"] == [SEARCH, CLOCK, WEATHER]
    assert sent["messages"][1]["content"] == SEARCHED
    assert told.dropped == ()


def test_openais_search_is_treated_alike() -> None:
    function = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    searched = [
        {"type": "tool_search_call", "id": "tsc_1", "execution": "server", "arguments": {}, "status": "completed"},
        {"type": "tool_search_output", "id": "tso_1", "execution": "server", "tools": [function], "status": "completed"},
    ]
    tools = [function | {"defer_loading": True}, {"type": "tool_search"}]
    told = of_responses(HI, *searched, {"role": "user", "content": "Well?"}, tools=tools)
    sent = json.loads(told.body)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather"]
    assert [message["content"] for message in sent["messages"]] == ["Is it raining?", "Well?"]
    assert set(told.dropped) == BOTH


@pytest.mark.parametrize("kind", ["tool_search_call", "tool_search_output"])
def test_what_a_caller_of_openais_has_searched_itself_is_refused(kind: str) -> None:
    item = {"type": kind, "execution": "client", "call_id": "c", "arguments": {}, "tools": []}
    with pytest.raises(UnsupportedFeature) as refused:
        of_responses(HI, item)
    assert refused.value.param == "input"


def test_openais_own_get_their_search_back_where_it_stood() -> None:
    tools = [{"type": "tool_search"}, {"type": "function", "name": "f", "parameters": {}, "defer_loading": True}]
    query = OPENAI_RESPONSES.decode_query(json.dumps({"model": "a", "input": "x", "tools": tools}).encode())
    assert json.loads(OPENAI_RESPONSES.encode_query(query, "m", "t").body)["tools"] == tools
