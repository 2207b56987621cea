"""A caller's request in common words: what each block and field becomes, and how a wrong one is named."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.chat import (
    CacheMark,
    ChatQuery,
    Document,
    Family,
    HostedTool,
    Image,
    Opaque,
    Part,
    Reasoning,
    Role,
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
from router.domain.errors import InvalidRequest
from router.providers.anthropic.codec import ANTHROPIC

HI = Turn(Role.USER, (Text("hi"),))
PNG = "iVBORw0KGgo="


def read(**fields: Any) -> ChatQuery:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]} | fields
    return ANTHROPIC.decode_query(json.dumps(body).encode())


def read_block(block: Any, role: str = "user") -> Part:
    (part,) = read(messages=[{"role": role, "content": [block]}]).turns[0].parts
    return part


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            Text("a", cache=CacheMark("1h")),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            Image(Source("image/png", data=PNG)),
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://h/a"}}, Image(Source(url="https://h/a"))),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, Image(Source(file_id="f"))),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                "title": "t",
                "context": None,
                "citations": {"enabled": True},
            },
            Document(Source("text/plain", text="words"), "t", is_cited=True),
        ),
        ({"type": "thinking", "thinking": "so", "signature": "sig"}, Reasoning("so", Family.ANTHROPIC, "sig")),
        ({"type": "redacted_thinking", "data": "sealed"}, Reasoning(family=Family.ANTHROPIC, encrypted="sealed")),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}, ToolCall("t", "f", "{}")),
        ({"type": "tool_result", "tool_use_id": "t"}, ToolResult("t", ())),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": True},
            ToolResult("t", (Text("x"),), is_error=True),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_block_is_the_part_it_stands_for(block: Any, part: Part) -> None:
    assert read_block(block) == part


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, "server_tool_use"),
        ({"type": "a_block_of_tomorrow", "x": [1]}, "a_block_of_tomorrow"),
        ({"type": "image", "source": {"type": "url", "url": "https://h"}, "transformations": {}}, "image.transformations"),
        ({"type": "document", "source": {"type": "content", "content": "x"}}, "document.source"),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "code_execution_20250825"}},
            "tool_use.caller",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_only_anthropic_can_read_is_kept_whole(block: Any, kind: str) -> None:
    part = read_block(block)
    assert isinstance(part, Opaque)
    assert (part.family, part.kind, json.loads(bytes(part.raw))) == (Family.ANTHROPIC, kind, block)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": "hi"}, "messages"),
        ({"system": 5}, "system"),
        ({"temperature": "hot"}, "temperature"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": 3}}, "output_config.effort"),
        ({"tools": [{"name": 4}]}, "tools[0].name"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"metadata": {"user_id": 4}}, "metadata.user_id"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": [1]}]}]},
            "messages[0].content[0].input",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
            "messages[0].content[0].source.data",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_by_its_place(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    assert caught.value.param == param
    assert param in caught.value.message


def test_the_fields_of_a_request_find_their_places() -> None:
    query = read(
        system="be kind",
        stop_sequences=["x"],
        top_k=4,
        service_tier="standard_only",
        metadata={"user_id": "u"},
        thinking={"type": "adaptive", "display": "omitted"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        container="c1",
        speed=None,
    )
    assert query.turns == (Turn(Role.SYSTEM, (Text("be kind"),)), HI)
    assert (query.sampling.stop, query.sampling.top_k, query.service_tier, query.user) == (("x",), 4, "default", "u")
    assert query.thinking == Thinking("high", -1, is_on=True, summary="none")
    assert query.format is not None and json.loads(bytes(query.format.schema)) == {"type": "object"}
    assert (query.tool_choice, query.is_parallel) == (ToolChoice(ToolMode.REQUIRED), False)
    assert {name: bytes(raw) for name, raw in query.others.items()} == {"container": b'"c1"'}


def test_tools_are_the_callers_own_or_anthropics() -> None:
    tools = [
        {"name": "f", "input_schema": {"type": "object"}, "strict": True, "cache_control": {"type": "ephemeral"}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "g", "input_schema": {}, "input_examples": [{}]},
        {"name": "h", "input_schema": {}, "allowed_callers": ["code_execution_20250825"]},
        {
            "name": "i",
            "input_schema": {},
            "defer_loading": False,
            "allowed_callers": ["direct"],
            "eager_input_streaming": True,
        },
    ]
    query = read(tools=tools)
    own, search, examples, called, eager = query.tools
    assert own == Tool("f", None, msgspec.Raw(b'{"type": "object"}'), is_strict=True, cache=CacheMark())
    assert [t.kind for t in (search, examples, called) if isinstance(t, HostedTool)] == [
        "web_search_20250305",
        "custom.input_examples",
        "custom.allowed_callers",
    ]
    assert isinstance(eager, Tool)
    assert list(query.others) == ["tools.eager_input_streaming"]
