"""A request for Anthropic: what each part and field becomes, what is refused by its name, what is left out and told."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.domain.chat import (
    Audio,
    ChatQuery,
    Document,
    Family,
    HostedTool,
    Image,
    Opaque,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Refusal,
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
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS
from router.providers.anthropic.query_out import DEFAULT_CAP, DROPPED

HI = Turn(Role.USER, (Text("hi"),))
OBJECT = msgspec.Raw(b'{"type":"object","properties":{}}')
PNG = "iVBORw0KGgo="


def said(query: ChatQuery, model: str = "claude-sonnet-5") -> dict[str, Any]:
    body: dict[str, Any] = json.loads(ANTHROPIC.encode_query(query, model, "p/m").body)
    return body


def asked(*parts: Part, role: Role = Role.USER, origin: Family = Family.CHAT) -> ChatQuery:
    return ChatQuery(origin, (Turn(role, parts),))


def chat(**fields: Any) -> ChatQuery:
    return ChatQuery(Family.CHAT, (HI,), **fields)


def test_system_and_developer_turns_stand_before_the_conversation_and_speakers_in_a_row_are_one() -> None:
    turns = (
        Turn(Role.SYSTEM, (Text("a"),)),
        HI,
        Turn(Role.DEVELOPER, (Text("b"),)),
        Turn(Role.USER, (Text("there"), Text("")), name="ann"),
        Turn(Role.ASSISTANT, (Text(""), ToolCall("c", "f", '{"x": 1}'))),
        Turn(Role.USER, (Text("more"),)),
        Turn(Role.USER, (ToolResult("c", (Text("r"),)),)),
    )
    encoded = ANTHROPIC.encode_query(ChatQuery(Family.CHAT, turns), "m", "p/m")
    body = json.loads(encoded.body)
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}, {"type": "text", "text": "more"}],
        },
    ]
    assert encoded.dropped == ("speaker's name",)


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(Source("image/jpg", data="/9j/")),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}},
        ),
        (Image(Source(data=PNG)), {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        (Image(Source(url="https://h/a")), {"type": "image", "source": {"type": "url", "url": "https://h/a"}}),
        (
            Document(Source("application/pdf", data="JVBE"), name="n"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
                "title": "n",
            },
        ),
        (
            ToolResult("c", (Text("r"), Image(Source("image/png", data=PNG))), is_error=False),
            {
                "type": "tool_result",
                "tool_use_id": "c",
                "content": [
                    {"type": "text", "text": "r"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ],
                "is_error": False,
            },
        ),
    ],
)
def test_each_part_is_written_as_its_block(part: Part, block: Any) -> None:
    assert said(asked(part))["messages"] == [{"role": "user", "content": [block]}]


@pytest.mark.parametrize(
    "query",
    [
        asked(Image(Source("image/tiff", data="AA"))),
        asked(Image(Source(file_id="file-1"))),
        asked(Image(Source(url="gs://b/a.png"))),
        asked(Document(Source("audio/wav", data="AA"))),
        asked(Audio(Source("audio/wav", data="AA"))),
        asked(Opaque(Family.RESPONSES, "web_search_call", msgspec.Raw(b"{}"))),
        asked(Image(Source(url="https://h")), role=Role.ASSISTANT),
        asked(ToolCall("c", "f", "[1"), role=Role.ASSISTANT),
        chat(sampling=Sampling(temperature=1.5)),
        chat(sampling=Sampling(frequency_penalty=0.5)),
        chat(sampling=Sampling(presence_penalty=-1)),
        chat(sampling=Sampling(logprobs=True)),
        chat(sampling=Sampling(logit_bias={"1": 2})),
        chat(sampling=Sampling(choices=2)),
        chat(format=OutputFormat(OutputKind.JSON)),
        chat(modalities=("text", "audio")),
        chat(service_tier="flex"),
        chat(tools=(Tool("f", grammar=msgspec.Raw(b"{}")),)),
        chat(tools=(HostedTool(Family.RESPONSES, "file_search", msgspec.Raw(b"{}")),)),
        chat(others={"prediction": msgspec.Raw(b"{}")}),
    ],
)
def test_what_anthropic_cannot_be_told_is_refused_by_its_name_and_the_targets(query: ChatQuery) -> None:
    with pytest.raises(UnsupportedFeature, match="p/m") as caught:
        said(query)
    assert caught.value.param and caught.value.param in caught.value.message


def test_what_is_left_out_is_told_and_on_the_list() -> None:
    turns = (HI, Turn(Role.ASSISTANT, (Reasoning("so", Family.GEMINI, "sig"), Refusal("no"))), HI)
    query = ChatQuery(
        Family.CHAT,
        turns,
        sampling=Sampling(seed=4),
        metadata={"a": "b"},
        store=True,
        cache_key="k",
        verbosity="low",
        others={"safety_identifier": msgspec.Raw(b'"x"')},
    )
    encoded = ANTHROPIC.encode_query(query, "m", "p/m")
    assert set(encoded.dropped) == {
        "reasoning",
        "seed",
        "metadata",
        "store",
        "prompt_cache_key",
        "verbosity",
        "safety_identifier",
    }
    assert set(encoded.dropped) <= set(DROPPED)
    assert json.loads(encoded.body)["messages"][1] == {"role": "assistant", "content": "no"}


@pytest.mark.parametrize(
    ("choice", "parallel", "wanted", "left"),
    [
        (None, None, None, ["f", "g"]),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, ["f", "g"]),
        (ToolChoice(ToolMode.NONE), False, {"type": "none"}, ["f", "g"]),
        (ToolChoice(ToolMode.REQUIRED), True, {"type": "any"}, ["f", "g"]),
        (
            ToolChoice(ToolMode.NAMED, ("g",)),
            False,
            {"type": "tool", "name": "g", "disable_parallel_tool_use": True},
            ["f", "g"],
        ),
        (ToolChoice(ToolMode.REQUIRED, ("g",)), None, {"type": "any"}, ["g"]),
    ],
)
def test_a_choice_of_tools_is_said_in_anthropics_words(
    choice: ToolChoice | None, parallel: bool | None, wanted: Any, left: list[str]
) -> None:
    body = said(chat(tools=(Tool("f"), Tool("g", parameters=OBJECT)), tool_choice=choice, is_parallel=parallel))
    assert (body.get("tool_choice"), [tool["name"] for tool in body["tools"]]) == (wanted, left)
    assert all(tool["input_schema"]["type"] == "object" for tool in body["tools"])


@pytest.mark.parametrize(
    ("model", "thinking", "cap", "wanted"),
    [
        ("claude-sonnet-5", None, None, {"max_tokens": DEFAULT_CAP}),
        (
            "claude-sonnet-5",
            Thinking("high"),
            100,
            {"max_tokens": 100, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (
            "claude-sonnet-5",
            Thinking("minimal"),
            9,
            {"max_tokens": 9, "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
        ("claude-sonnet-5", Thinking("none"), 9, {"max_tokens": 9, "thinking": {"type": "disabled"}}),
        (
            "claude-haiku-4-5-20251001",
            Thinking("medium", summary="auto"),
            None,
            {
                "max_tokens": 4096 + DEFAULT_CAP,
                "thinking": {"type": "enabled", "budget_tokens": 4096, "display": "summarized"},
            },
        ),
        (
            "claude-sonnet-4-5",
            Thinking("high"),
            4000,
            {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        ("claude-sonnet-4-20250514", Thinking("high"), 1000, {"max_tokens": 1000}),
        ("claude-3-5-haiku-latest", Thinking("high"), 1000, {"max_tokens": 1000}),
    ],
)
def test_an_effort_becomes_what_the_model_understands(
    model: str, thinking: Thinking | None, cap: int | None, wanted: Any
) -> None:
    body = said(chat(thinking=thinking, cap=cap), model)
    assert {name: body[name] for name in ("max_tokens", "thinking", "output_config") if name in body} == wanted


def test_a_forced_tool_leaves_no_room_for_thinking() -> None:
    query = chat(thinking=Thinking("high"), tools=(Tool("f"),), tool_choice=ToolChoice(ToolMode.REQUIRED))
    encoded = ANTHROPIC.encode_query(query, "claude-sonnet-5", "p/m")
    assert "thinking" not in json.loads(encoded.body)
    assert encoded.dropped == ("reasoning_effort",)


def test_a_schema_is_the_form_of_the_output() -> None:
    body = said(chat(format=OutputFormat(OutputKind.SCHEMA, "n", schema=OBJECT)))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": json.loads(bytes(OBJECT))}}


def test_the_page_of_the_provider_has_everything_that_may_be_dropped_and_why() -> None:
    page = (Path(__file__).parents[3] / "docs" / "providers" / "anthropic.md").read_text()
    assert all(f"| `{name}` | {reason} |" in page for name, reason in ({**DROPPED, **HINTS}).items())
