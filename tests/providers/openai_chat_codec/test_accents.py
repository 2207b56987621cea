"""What is said to Mistral, to Groq and to others on behalf of callers of Messages: each in its own words."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import ChatQuery, Family, Role, Text, Thinking, Tool, ToolChoice, ToolMode, Turn
from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.openai_chat_codec.accents import COMPATIBLE, GROQ, MISTRAL, OPENAI, Accent
from router.providers.openai_chat_codec.codec import OpenAIChat
from router.providers.translated import Translated, Translation

HELLO = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
SCHEMA = {"type": "object", "properties": {}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}


def asked(accent: Accent, body: dict[str, Any]) -> Translation:
    lane = Translated(ANTHROPIC, OpenAIChat(accent))
    return lane.translation(parse_request(Api.MESSAGES, msgspec.json.encode(HELLO | body)), "m", "p/m")


def sent(accent: Accent, body: dict[str, Any]) -> Any:
    return json.loads(asked(accent, body).body)


def written(accent: Accent, **fields: Any) -> tuple[Any, set[str]]:
    """The body and what was dropped, for what no caller of Messages can say."""
    query = ChatQuery(Family.RESPONSES, (Turn(Role.USER, (Text("x"),)),), **fields)
    encoded = OpenAIChat(accent).encode_query(query, "m", "p/m")
    return json.loads(encoded.body), set(encoded.dropped)


def test_the_cap_has_the_servers_name_and_a_stream_is_asked_for_its_usage_where_it_must_be() -> None:
    caps = {
        name: sent(accent, {"stream": True}).keys() & {"max_tokens", "max_completion_tokens", "stream_options"}
        for name, accent in (("mistral", MISTRAL), ("groq", GROQ), ("openai", OPENAI), ("other", COMPATIBLE))
    }
    assert caps == {
        "mistral": {"max_tokens"},
        "groq": {"max_completion_tokens", "stream_options"},
        "openai": {"max_completion_tokens", "stream_options"},
        "other": {"max_tokens", "stream_options"},
    }


def test_mistral_takes_ids_of_nine_letters() -> None:
    turns = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_01", "name": "f", "input": {}},
                {"type": "tool_use", "id": "D681PevKs", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "content": "1"},
                {"type": "tool_result", "tool_use_id": "D681PevKs", "content": "2"},
            ],
        },
    ]
    told = sent(MISTRAL, {"messages": turns})["messages"]
    ids = [call["id"] for call in told[1]["tool_calls"]]
    assert ids[1] == "D681PevKs" and len(ids[0]) == 9 and ids[0].isalnum()
    assert [message["tool_call_id"] for message in told[2:]] == ids
    assert sent(COMPATIBLE, {"messages": turns})["messages"][1]["tool_calls"][0]["id"] == "toolu_01"


def test_mistral_reads_documents_by_their_url() -> None:
    by_url = {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}}
    by_content = {"type": "document", "source": PDF, "title": "A"}
    told = sent(MISTRAL, {"messages": [{"role": "user", "content": [by_url, by_content]}]})["messages"][0]["content"]
    assert told == [
        {"type": "document_url", "document_url": "https://x.test/a.pdf"},
        {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERi0=", "document_name": "A"},
    ]
    with pytest.raises(UnsupportedFeature):
        sent(COMPATIBLE, {"messages": [{"role": "user", "content": [by_url]}]})


def test_mistral_is_told_to_go_on_from_the_assistants_last_words() -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Well,"}]
    assert sent(MISTRAL, {"messages": turns})["messages"][-1] == {"role": "assistant", "content": "Well,", "prefix": True}
    assert "prefix" not in sent(COMPATIBLE, {"messages": turns})["messages"][-1]


def test_mistral_hears_the_assistant_between_a_result_and_the_user() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "1"}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
    ]
    told = sent(MISTRAL, {"messages": turns})["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "assistant", "user"]
    assert told[3] == {"role": "assistant", "content": "OK."}
    roles = [message["role"] for message in sent(COMPATIBLE, {"messages": turns})["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]


def test_mistral_has_other_names_and_fewer_fields() -> None:
    sampling = msgspec.structs.replace(ChatQuery(Family.RESPONSES, ()).sampling, seed=7)
    body, dropped = written(
        MISTRAL,
        sampling=sampling,
        user="u",
        store=True,
        service_tier="auto",
        verbosity="low",
        cache_key="k",
        modalities=("text",),
    )
    assert body == {"model": "m", "messages": [{"role": "user", "content": "x"}], "random_seed": 7, "prompt_cache_key": "k"}
    assert dropped == {"user", "store", "service_tier", "verbosity"}
    with pytest.raises(UnsupportedFeature, match="modalities"):
        written(MISTRAL, modalities=("text", "audio"))


@pytest.mark.parametrize(
    ("tier", "told"), [("default", "on_demand"), ("priority", "performance"), ("auto", "auto"), ("flex", "flex")]
)
def test_groqs_tiers_have_its_own_names(tier: str, told: str) -> None:
    assert written(GROQ, service_tier=tier)[0]["service_tier"] == told


def test_groq_has_no_other_tier_and_fewer_efforts() -> None:
    with pytest.raises(UnsupportedFeature, match="service_tier"):
        written(GROQ, service_tier="scale")
    assert written(GROQ, thinking=Thinking("xhigh"))[0]["reasoning_effort"] == "high"
    assert written(COMPATIBLE, thinking=Thinking("xhigh"))[0]["reasoning_effort"] == "xhigh"
    assert asked(GROQ, {"top_k": 5}).dropped == ("top_k",)


def test_a_choice_among_some_tools_offers_only_those_where_no_choice_can_name_them() -> None:
    tools = (Tool("a", parameters=msgspec.Raw(msgspec.json.encode(SCHEMA))), Tool("b"))
    fields: Any = {"tools": tools, "tool_choice": ToolChoice(ToolMode.REQUIRED, ("b",))}
    body, _ = written(MISTRAL, **fields)
    assert ([tool["function"]["name"] for tool in body["tools"]], body["tool_choice"]) == (["b"], "required")
    body, _ = written(OPENAI, **fields)
    assert (len(body["tools"]), body["tool_choice"]["type"]) == (2, "allowed_tools")
