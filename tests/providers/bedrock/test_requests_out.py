"""What a request becomes in Converse's words."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.domain.chat import (
    Audio,
    CacheMark,
    ChatQuery,
    Citation,
    Document,
    Family,
    HostedTool,
    Image,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Role,
    Sampling,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
    Turn,
)
from router.domain.errors import UnsupportedFeature
from router.providers.bedrock.codec import BEDROCK
from router.providers.bedrock.query_out import DROPPED

CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
NEWER = "us.anthropic.claude-sonnet-5"
NOVA = "amazon.nova-2-lite-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
PNG = "iVBORw0KGgoAAAANSUhEUg=="
OBJECT = msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
TOOL = Tool("weather", "Tells it.", OBJECT)
CALL = ToolCall("tooluse_1", "weather", '{"city":"Rome"}')


def chat(*parts: Part, origin: Family = Family.CHAT, **given: Any) -> ChatQuery:
    turns = given.pop("turns", (Turn(Role.USER, parts or (Text("hello"),)),))
    return ChatQuery(origin, turns, **given)


def said(query: ChatQuery, model: str = CLAUDE) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(BEDROCK.encode_query(query, model, "p/m").body)
    return body


def content(*parts: Part, model: str = CLAUDE) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = said(chat(*parts), model)["messages"][0]["content"]
    return told


def dropped(query: ChatQuery, model: str = CLAUDE) -> tuple[str, ...]:
    return BEDROCK.encode_query(query, model, "p/m").dropped


def refusal(query: ChatQuery, model: str = CLAUDE) -> str | None:
    with pytest.raises(UnsupportedFeature) as refused:
        BEDROCK.encode_query(query, model, "p/m")
    assert "p/m" in refused.value.message
    return refused.value.param


def after_a_call(**given: Any) -> ChatQuery:
    turns = (
        Turn(Role.USER, (Text("Weather?"),)),
        Turn(Role.ASSISTANT, (CALL,)),
        Turn(Role.USER, (ToolResult("tooluse_1", (Text("Sunny"),)),)),
    )
    return chat(turns=turns, **given)


# -- turns --------------------------------------------------------------------------------------------------------


def test_the_smallest_request_says_nothing_more() -> None:
    assert said(chat()) == {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}


def test_system_turns_stand_before_and_turns_of_one_speaker_are_one() -> None:
    turns = (
        Turn(Role.SYSTEM, (Text("Be brief."),)),
        Turn(Role.USER, (Text("a"),)),
        Turn(Role.DEVELOPER, (Text("In German."),)),
        Turn(Role.USER, (Text("b"), Text(""))),
    )
    assert said(chat(turns=turns)) == {
        "system": [{"text": "Be brief."}, {"text": "In German."}],
        "messages": [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}],
    }


def test_results_come_first_and_keep_their_calls_ids() -> None:
    turns = (
        Turn(Role.USER, (Text("Weather?"),)),
        Turn(Role.ASSISTANT, (Text("I look."), CALL, ToolCall("with spaces " * 9, "weather", ""))),
        Turn(Role.USER, (Text("Well?"), ToolResult("tooluse_1", (Text("Sunny"), Image(Source("image/png", PNG)))))),
        Turn(Role.USER, (ToolResult("with spaces " * 9, (), is_error=True),)),
    )
    _, assistant, user = said(chat(turns=turns, tools=(TOOL,)))["messages"]
    made = assistant["content"][2]["toolUse"]["toolUseId"]
    assert re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", made)
    assert assistant["content"][:2] == [
        {"text": "I look."},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Rome"}}},
    ]
    assert user["content"] == [
        {
            "toolResult": {
                "toolUseId": "tooluse_1",
                "content": [{"text": "Sunny"}, {"image": {"format": "png", "source": {"bytes": PNG}}}],
            }
        },
        {"toolResult": {"toolUseId": made, "content": [], "status": "error"}},
        {"text": "Well?"},
    ]


def test_only_the_family_that_knows_it_is_told_that_a_tool_failed() -> None:
    turns = (Turn(Role.ASSISTANT, (CALL,)), Turn(Role.USER, (ToolResult("tooluse_1", (Text("no"),), is_error=True),)))
    query = chat(turns=turns, tools=(TOOL,))
    assert dropped(query, LLAMA) == ("tool_result.is_error",)
    assert "status" not in said(query, LLAMA)["messages"][1]["content"][0]["toolResult"]


def test_signed_thoughts_go_back_and_others_do_not() -> None:
    own = Reasoning("so", Family.BEDROCK, "c2ln")
    parts = (own, Reasoning("", Family.BEDROCK, encrypted="c2VhbGVk"), Reasoning("why", Family.ANTHROPIC, "YW50"))
    foreign = (Reasoning("other", Family.GEMINI, "x"), Reasoning("bare", Family.BEDROCK))
    query = chat(turns=(Turn(Role.ASSISTANT, (*parts, *foreign, Text("a"))),))
    signed = {"reasoningContent": {"reasoningText": {"text": "so", "signature": "c2ln"}}}
    claudes = {"reasoningContent": {"reasoningText": {"text": "why", "signature": "YW50"}}}
    sealed = {"reasoningContent": {"redactedContent": "c2VhbGVk"}}
    assert said(query)["messages"][0]["content"] == [signed, sealed, claudes, {"text": "a"}]
    assert said(query, NOVA)["messages"][0]["content"] == [signed, sealed, {"text": "a"}]
    assert dropped(query) == ("reasoning of earlier turns",)


def test_marks_for_the_cache_stand_behind_what_they_mark() -> None:
    turns = (
        Turn(Role.SYSTEM, (Text("Long.", cache=CacheMark("1h")),)),
        Turn(Role.USER, (Text("a", cache=CacheMark()), Text("b"))),
    )
    query = chat(turns=turns, tools=(Tool("weather", parameters=OBJECT, cache=CacheMark()),), cache=CacheMark())
    point = {"cachePoint": {"type": "default"}}
    body = said(query)
    assert body["system"] == [{"text": "Long."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["messages"][0]["content"] == [{"text": "a"}, point, {"text": "b"}, point]
    assert body["toolConfig"]["tools"][1] == point
    assert dropped(query, LLAMA) == ("cache_control",) and "cachePoint" not in json.dumps(said(query, LLAMA))


def test_citations_of_bedrocks_own_stay_with_their_text() -> None:
    raw = msgspec.Raw(b'{"title":"facts"}')
    own = Text("Pharos.", (Citation(Family.BEDROCK, raw),))
    query = chat(turns=(Turn(Role.ASSISTANT, (own, Text("x", (Citation(Family.ANTHROPIC, raw),)))),))
    cited = {"citationsContent": {"content": [{"text": "Pharos."}], "citations": [{"title": "facts"}]}}
    assert said(query)["messages"][0]["content"] == [cited, {"text": "x"}]
    assert dropped(query) == ("citations of earlier turns",)


# -- media --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "block"),
    [
        (Source("image/jpg", "/9j/4AA="), {"format": "jpeg", "source": {"bytes": "/9j/4AA="}}),
        (Source("", PNG), {"format": "png", "source": {"bytes": PNG}}),
        (Source(url="s3://b/k.webp"), {"format": "webp", "source": {"s3Location": {"uri": "s3://b/k.webp"}}}),
    ],
)
def test_an_image_goes_inline_or_from_s3(source: Source, block: dict[str, Any]) -> None:
    assert content(Image(source)) == [{"image": block}]


def test_names_of_documents_keep_to_bedrocks_rules_and_are_used_once() -> None:
    pdf = Source("application/pdf", "JVBERi0=")
    names = ["Bericht_2026 (1).pdf", "Bericht_2026 (1).pdf", "../../etc/passwd", "", "x" * 300, "été  d'été"]
    told = [block["document"]["name"] for block in content(*(Document(pdf, name) for name in names))]
    assert told[:4] == ["Bericht 2026 (1) pdf", "Bericht 2026 (1) pdf 2", "etc passwd", "document"]
    assert len(set(told)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9()\[\]-]+( [A-Za-z0-9()\[\]-]+)*", name) and len(name) <= 200 for name in told)


def test_documents_by_their_kind() -> None:
    text = Document(Source("text/plain", text="Facts."), "facts", context="Ours.", is_cited=True)
    inline = Document(Source("text/plain; charset=utf-8", "RmFjdHMu"), "facts", is_cited=True)
    sheet = Document(Source("application/octet-stream", "AAAA"), "sheet.xlsx")
    told = [block["document"] for block in content(text, inline, sheet)]
    assert told[0] == {
        "format": "txt",
        "name": "facts",
        "source": {"text": "Facts."},
        "context": "Ours.",
        "citations": {"enabled": True},
    }
    assert told[1]["source"] == {"text": "Facts."}
    assert (told[2]["format"], told[2]["source"]) == ("xlsx", {"bytes": "AAAA"})


def test_video_and_sound_have_blocks_of_their_own() -> None:
    film, sound = Document(Source("video/mp4", "AAAA"), "film.mp4"), Audio(Source("audio/wav", "AAAA"), "wav")
    assert content(film, sound) == [
        {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
        {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        Image(Source(url="https://example.org/a.png")),
        Image(Source(file_id="file-1")),
        Image(Source("image/tiff", "AAAA")),
        Document(Source("application/zip", "AAAA"), "a.zip"),
        Audio(Source("", "AAAA"), "g711"),
    ],
)
def test_media_that_bedrock_cannot_get_or_read_are_refused_by_their_place(part: Part) -> None:
    assert refusal(chat(Text("x"), part)) == "messages[0].content[1]"


# -- tools --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, None),
        (ToolChoice(ToolMode.AUTO), {"auto": {}}),
        (ToolChoice(ToolMode.REQUIRED), {"any": {}}),
        (ToolChoice(ToolMode.NAMED, ("weather",)), {"tool": {"name": "weather"}}),
    ],
)
def test_a_tool_and_how_it_is_chosen(choice: ToolChoice | None, told: dict[str, Any] | None) -> None:
    spec = {"name": "weather", "description": "Tells it.", "inputSchema": {"json": json.loads(bytes(OBJECT))}}
    config = {"tools": [{"toolSpec": spec}]} | ({"toolChoice": told} if told else {})
    assert said(chat(tools=(TOOL,), tool_choice=choice))["toolConfig"] == config


def test_none_of_the_tools_before_any_was_called_is_no_tools() -> None:
    assert "toolConfig" not in said(chat(tools=(TOOL,), tool_choice=ToolChoice(ToolMode.NONE)))


def test_none_of_the_tools_after_a_call_is_told_to_claude_and_refused_elsewhere() -> None:
    query = after_a_call(tools=(TOOL,), tool_choice=ToolChoice(ToolMode.NONE))
    body = said(query)
    assert body["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    assert body["toolConfig"].keys() == {"tools"}
    assert refusal(query, NOVA) == "tool_choice"


def test_calls_in_a_conversation_without_tools_are_told_with_the_tools_that_were_called() -> None:
    body = said(after_a_call())
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == [CALL.name]
    assert body["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    others = said(after_a_call(), NOVA)
    assert others["toolConfig"] == body["toolConfig"] and "additionalModelRequestFields" not in others


def test_one_call_at_a_time_is_told_to_claude_in_one_place() -> None:
    query = chat(tools=(TOOL,), is_parallel=False, tool_choice=ToolChoice(ToolMode.REQUIRED))
    body = said(query)
    assert body["additionalModelRequestFields"]["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert "toolChoice" not in body["toolConfig"]
    assert refusal(query, NOVA) == "parallel_tool_calls"
    assert "toolConfig" not in said(chat(is_parallel=False), NOVA)


def test_a_choice_among_some_tools_offers_only_those() -> None:
    tools = (TOOL, Tool("other", parameters=msgspec.Raw(b'{"properties":{}}')))
    told = said(chat(tools=tools, tool_choice=ToolChoice(ToolMode.REQUIRED, ("other",))))["toolConfig"]
    assert [tool["toolSpec"] for tool in told["tools"]] == [
        {"name": "other", "inputSchema": {"json": {"type": "object", "properties": {}}}}
    ]


@pytest.mark.parametrize(
    ("tool", "place"),
    [
        (Tool("free", grammar=msgspec.Raw(b"{}")), "tools[0]"),
        (Tool("with.dot"), "tools[0].name"),
        (HostedTool(Family.ANTHROPIC, "web_search_20250305", msgspec.Raw(b"{}")), "tools[0]"),
    ],
)
def test_tools_that_bedrock_has_no_word_for_are_refused(tool: Tool | HostedTool, place: str) -> None:
    assert refusal(chat(tools=(tool,))) == place


# -- how to answer ------------------------------------------------------------------------------------------------


def test_sampling_stops_and_the_cap() -> None:
    body = said(chat(cap=99, sampling=Sampling(temperature=0.5, top_p=0.9, top_k=40, stop=("END",))))
    assert body["inferenceConfig"] == {"maxTokens": 99, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}
    assert body["additionalModelRequestFields"] == {"top_k": 40}
    assert said(chat(sampling=Sampling(top_k=4)), NOVA)["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 4}}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"sampling": Sampling(temperature=1.5)}, "temperature"),
        ({"sampling": Sampling(choices=2)}, "n"),
        ({"sampling": Sampling(logprobs=True)}, "logprobs"),
        ({"sampling": Sampling(logit_bias={"5": 1.0})}, "logit_bias"),
        ({"sampling": Sampling(presence_penalty=0.5)}, "presence_penalty"),
        ({"format": OutputFormat(OutputKind.JSON)}, "response_format"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"modalities": ("text", "audio")}, "modalities"),
        ({"others": {"web_search_options": msgspec.Raw(b"{}")}}, "web_search_options"),
        ({"others": {"additionalModelRequestFields": msgspec.Raw(b"7")}}, "additionalModelRequestFields"),
        ({"tool_choice": ToolChoice(ToolMode.REQUIRED)}, "tool_choice"),
    ],
)
def test_what_converse_has_no_word_for_is_refused_by_name(given: dict[str, Any], name: str) -> None:
    assert refusal(chat(**given)) == name


def test_top_k_of_others_models_is_refused() -> None:
    assert refusal(chat(sampling=Sampling(top_k=4)), LLAMA) == "top_k"


def test_a_schema_goes_as_text() -> None:
    told = said(chat(format=OutputFormat(OutputKind.SCHEMA, "City", "A city.", OBJECT)))["outputConfig"]["textFormat"]
    assert told == {
        "type": "json_schema",
        "structure": {"jsonSchema": {"name": "City", "description": "A city.", "schema": bytes(OBJECT).decode()}},
    }


@pytest.mark.parametrize(
    ("model", "thinking", "wanted"),
    [
        (CLAUDE, Thinking("low"), {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (CLAUDE, Thinking(budget=2000, is_on=True), {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (CLAUDE, Thinking("none"), {"thinking": {"type": "disabled"}}),
        (NEWER, Thinking("high"), {"thinking": {"type": "adaptive"}}),
        (NOVA, Thinking("minimal"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (NOVA, Thinking(budget=9000), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        (NOVA, Thinking(is_on=False), {"reasoningConfig": {"type": "disabled"}}),
        (GPT_OSS, Thinking("xhigh"), {"reasoning_effort": "high"}),
        ("us.openai.gpt-5.6-luna", Thinking("medium"), {"reasoning": {"effort": "medium"}}),
    ],
)
def test_thinking_is_said_as_the_models_maker_has_it(model: str, thinking: Thinking, wanted: dict[str, Any]) -> None:
    body = said(chat(thinking=thinking), model)
    assert body["additionalModelRequestFields"] == wanted
    assert body.get("outputConfig") == ({"effort": "high"} if model == NEWER else None)


def test_models_that_are_not_known_to_think_are_not_told_to() -> None:
    assert dropped(chat(thinking=Thinking("high")), LLAMA) == ("reasoning_effort",)


def test_tier_metadata_and_bedrocks_own_fields() -> None:
    guardrail = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    others = {
        "guardrailConfig": msgspec.Raw(json.dumps(guardrail).encode()),
        "additionalModelRequestFields": msgspec.Raw(b'{"top_k":7,"anthropic_beta":["x"]}'),
    }
    body = said(
        chat(service_tier="flex", metadata={"team": "a-b c"}, others=others, sampling=Sampling(top_k=3), user="u"), CLAUDE
    )
    assert body["serviceTier"] == {"type": "flex"} and body["requestMetadata"] == {"team": "a-b c"}
    assert body["guardrailConfig"] == guardrail
    assert body["additionalModelRequestFields"] == {"top_k": 7, "anthropic_beta": ["x"]}
    assert dropped(chat(metadata={"note": "a\x00b"}, user="u", sampling=Sampling(seed=1))) == ("seed", "metadata", "user")
    assert "serviceTier" not in said(chat(service_tier="auto"))


def test_the_page_of_the_provider_has_everything_that_may_be_dropped_and_why() -> None:
    page = (Path(__file__).parents[3] / "docs" / "providers" / "bedrock.md").read_text()
    listed = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", page.partition("X-Router-Dropped")[2], re.MULTILINE))
    assert listed == DROPPED
