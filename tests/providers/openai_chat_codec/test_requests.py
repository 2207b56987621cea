"""What a Chat Completions request means, and how what others say is said in it."""

import json
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
from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.providers.openai_chat_codec.accents import COMPATIBLE
from router.providers.openai_chat_codec.codec import OPENAI_CHAT, OpenAIChat
from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.openai_chat_codec.query_out import DROPPED

OPENAPI = Path(__file__).parents[4] / "shared" / "openapi" / "openai.gateway-subset.json"
HELLO = (Turn(Role.USER, (Text("hello"),)),)
SCHEMA = msgspec.Raw(b'{"type":"object"}')


def read(*messages: dict[str, Any], **fields: Any) -> ChatQuery:
    told = {"model": "a", "messages": list(messages) or [{"role": "user", "content": "hello"}]} | fields
    return OPENAI_CHAT.decode_query(msgspec.json.encode(told))


def written(query: ChatQuery, codec: OpenAIChat = OPENAI_CHAT) -> Any:
    encoded = codec.encode_query(query, "m", "p/m")
    assert set(encoded.dropped) <= DROPPED.keys()
    return json.loads(encoded.body)


def of_another(*turns: Turn, **fields: Any) -> ChatQuery:
    return ChatQuery(Family.ANTHROPIC, turns or HELLO, **fields)


def test_every_field_of_the_reference_has_a_place() -> None:
    if not OPENAPI.is_file():
        pytest.skip("no API description beside the project: ../shared/openapi is not there")
    schemas = json.loads(OPENAPI.read_text())["components"]["schemas"]

    def names(name: str) -> set[str]:
        schema = schemas[name]
        inherited = [part["$ref"].split("/")[-1] for part in schema.get("allOf", []) if "$ref" in part]
        own = [part.get("properties", {}) for part in [schema, *schema.get("allOf", [])]]
        return {field for fields in own for field in fields} | {field for other in inherited for field in names(other)}

    query = read(
        user="u", metadata={"k": "v"}, moderation={"model": "m"}, web_search_options={}, **dict.fromkeys(HINTS, "x")
    )
    assert query.others.keys() == HINTS.keys() | {"moderation", "web_search_options"}
    placed = {field.name for field in msgspec.structs.fields(ChatQuery)} | {f.name for f in msgspec.structs.fields(Sampling)}
    elsewhere = {
        *(
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "response_format",
            "reasoning_effort",
            "n",
            "stream_options",
        ),
        *("parallel_tool_calls", "prompt_cache_key", "functions", "function_call"),
    }
    assert names("CreateChatCompletionRequest") <= placed | elsewhere | query.others.keys()


def test_a_developer_speaks_and_may_mark_what_to_cache() -> None:
    text = {"type": "text", "text": "Be brief.", "prompt_cache_breakpoint": {"mode": "explicit"}}
    query = read({"role": "developer", "content": [text]})
    assert query.turns == (Turn(Role.DEVELOPER, (Text("Be brief.", cache=CacheMark()),)),)


def test_every_role_and_kind_of_content_is_understood() -> None:
    query = read(
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://h/x.png"}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "hologram", "depth": 3},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}],
            "reasoning_content": "Hm.",
            "audio": {"id": "audio_1"},
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "select 1"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "1"}]},
    )
    user, assistant, result = query.turns
    assert user.name == "ann"
    assert user.parts == (
        Text("Look", cache=CacheMark("1h")),
        Image(Source("image/png", "AA=="), "low"),
        Image(Source(url="https://h/x.png")),
        Audio(Source("audio/wav", "AA=="), "wav"),
        Document(Source("application/pdf", "AA=="), "a.pdf"),
        Document(Source(file_id="file-1")),
        Opaque(Family.CHAT, "hologram", msgspec.Raw(b'{"type":"hologram","depth":3}')),
    )
    assert assistant.parts == (
        Reasoning("Hm.", Family.CHAT),
        Refusal("No."),
        Audio(Source(), id="audio_1"),
        ToolCall("c1", "f", "{}"),
        ToolCall("c2", "sql", "select 1", is_custom=True),
    )
    assert result.parts == (ToolResult("c2", (Text("1"),), "sql", is_custom=True),)
    assert not query.others


def test_what_nobody_knows_stays_by_its_path() -> None:
    query = read(
        {"role": "user", "content": [{"type": "text", "text": "x", "glow": True}]},
        {"role": "assistant", "content": "y", "prefix": True, "tool_calls": []},
        echo=False,
        tools=[{"type": "function", "function": {"name": "f", "colour": "red"}}],
    )
    assert {path: json.loads(bytes(value)) for path, value in query.others.items()} == {
        "messages[0].content[0].glow": True,
        "messages[1].prefix": True,
        "echo": False,
        "tools[0].function.colour": "red",
    }
    assert written(query)["messages"][0]["content"][0]["glow"] is True


def test_the_old_functions_are_tools() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    query = read(
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "done"},
        functions=[function],
        function_call={"name": "f"},
    )
    assert query.is_legacy
    assert query.tools == (Tool("f", "d", msgspec.Raw(b'{"type":"object"}')),)
    assert query.tool_choice == ToolChoice(ToolMode.NAMED, ("f",))
    [call], [result] = query.turns[1].parts, query.turns[2].parts
    assert isinstance(call, ToolCall) and isinstance(result, ToolResult)
    assert call.id == result.call_id and result.name == "f"


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"reasoning_effort": "high"}, Thinking("high")),
        ({"reasoning": {"max_tokens": 900, "enabled": True}}, Thinking(budget=900, is_on=True)),
        ({"thinking": {"type": "disabled"}}, Thinking(is_on=False)),
        ({"enable_thinking": False}, Thinking(is_on=False)),
        ({}, None),
    ],
)
def test_thinking_is_understood_in_every_servers_words(fields: dict[str, Any], meant: Thinking | None) -> None:
    assert read(**fields).thinking == meant


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("required", ToolChoice(ToolMode.REQUIRED)),
        ({"type": "custom", "custom": {"name": "q"}}, ToolChoice(ToolMode.NAMED, ("q",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ToolChoice(ToolMode.AUTO, ("f",)),
        ),
    ],
)
def test_a_choice_of_tools_keeps_its_meaning(told: Any, meant: ToolChoice) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "q"}}]
    query = read(tool_choice=told, tools=tools)
    assert query.tool_choice == meant
    assert written(query)["tool_choice"] == told


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"logit_bias": {"1": "x"}}, "logit_bias"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        read(**fields)
    assert wrong.value.param == param and param in wrong.value.message


# -- what others say --------------------------------------------------------------------------------------------


def test_a_whole_conversation_of_another_family_is_told() -> None:
    cited = Text("It is ", citations=(Citation(Family.ANTHROPIC, msgspec.Raw(b"{}")),))
    query = of_another(
        Turn(Role.SYSTEM, (Text("Be brief.", cache=CacheMark()),)),
        Turn(Role.USER, (Text("Weather?"), Image(Source("image/png", "AA==")))),
        Turn(
            Role.ASSISTANT,
            (Reasoning("Hm.", Family.ANTHROPIC, "sig"), cited, Text("unknown."), ToolCall("c1", "f", '{"a":1}')),
        ),
        Turn(Role.USER, (ToolResult("c1", (Text("failed"),), is_error=True), Text("Go on."))),
        tools=(Tool("f", "d", SCHEMA),),
        cap=9,
        sampling=Sampling(temperature=0.5, top_k=3, stop=("END",)),
        stream=True,
    )
    encoded = OPENAI_CHAT.encode_query(query, "m", "p/m")
    assert json.loads(encoded.body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Weather?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                ],
            },
            {
                "role": "assistant",
                "content": "It is unknown.",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "failed"},
            {"role": "user", "content": "Go on."},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        "temperature": 0.5,
        "stop": ["END"],
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert set(encoded.dropped) == {
        *("cache_control", "reasoning of earlier turns", "citations of earlier turns", "tool_result.is_error", "top_k"),
    }


def test_servers_that_are_only_compatible_are_told_in_the_older_words() -> None:
    query = of_another(Turn(Role.DEVELOPER, (Text("x"),)), *HELLO, cap=9, sampling=Sampling(top_k=3))
    body = written(query, OpenAIChat(COMPATIBLE))
    assert (body["max_tokens"], body["top_k"], body["messages"][0]["role"]) == (9, 3, "system")


def test_calls_without_an_id_get_one_that_their_results_find() -> None:
    calls = (ToolCall("", "f", "{}"), ToolCall("", "g", "{}"))
    results = (ToolResult("", (Text("of g"),), "g"), ToolResult("", (Text("of f"),), "f"))
    query = ChatQuery(Family.GEMINI, (*HELLO, Turn(Role.ASSISTANT, calls), Turn(Role.USER, results)))
    _, assistant, of_g, of_f = written(query)["messages"]
    f, g = assistant["tool_calls"]
    assert f["id"] != g["id"]
    assert (of_g["tool_call_id"], of_f["tool_call_id"]) == (g["id"], f["id"])
    assert written(query) == written(query)


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking(budget=1024), "low"),
        (Thinking(budget=8000), "medium"),
        (Thinking(budget=30_000), "high"),
        (Thinking("xhigh", budget=10), "xhigh"),
        (Thinking(is_on=False), None),
        (Thinking(budget=-1), None),
    ],
)
def test_a_budget_of_thinking_becomes_the_nearest_effort(thinking: Thinking, effort: str | None) -> None:
    assert written(of_another(thinking=thinking)).get("reasoning_effort") == effort


def test_a_schema_without_a_name_gets_one() -> None:
    body = written(of_another(format=OutputFormat(OutputKind.SCHEMA, schema=SCHEMA)))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}},
    }


@pytest.mark.parametrize(
    "part",
    [
        Image(Source(file_id="file_1")),
        Document(Source(url="https://h/a.pdf")),
        Document(Source(file_id="file_1")),
        Audio(Source("audio/unheard", "AA==")),
        Opaque(Family.ANTHROPIC, "web_search_tool_result", msgspec.Raw(b"{}")),
    ],
)
def test_a_part_that_cannot_be_said_is_refused_by_name(part: Part) -> None:
    with pytest.raises(UnsupportedFeature, match="p/m"):
        written(of_another(Turn(Role.USER, (part,))))


def test_fields_and_tools_that_cannot_be_said_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature) as field:
        written(of_another(others={"container": msgspec.Raw(b'"c"')}))
    assert field.value.param == "container" and "p/m" in field.value.message
    hosted = HostedTool(Family.ANTHROPIC, "web_search_20250305", msgspec.Raw(b"{}"))
    with pytest.raises(UnsupportedFeature, match="web_search_20250305"):
        written(of_another(tools=(hosted,)))


def test_a_plain_text_document_is_a_text() -> None:
    body = written(of_another(Turn(Role.USER, (Document(Source("text/plain", text="Once."), "Tale"),))))
    assert body["messages"][0]["content"] == "Tale:\n\nOnce."
