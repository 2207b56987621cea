"""Every kind of answer and event fits OpenAI's own description of it, where that document is at hand."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.providers.simulation import (
    CHAT,
    PERSON,
    RESPONSES,
    STOCKS,
    WEATHER,
    ask,
    bytes_of,
    chat,
    exchange_of,
    simulator,
    stream,
)

DOCUMENT = Path(__file__).parents[3] / "shared/openapi/openai.gateway-subset.relaxed.json"

FORM = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
CHATS = {
    "plain": chat(),
    "capped": chat(max_tokens=3),
    "choices": chat(n=3, stop=["."]),
    "usage": chat(stream_options={"include_usage": True}),
    "logprobs": chat(logprobs=True, top_logprobs=2),
    "tools": chat("weather and stock news", tools=[WEATHER, STOCKS]),
    "cut tools": chat("weather and stock news", tools=[WEATHER, STOCKS], max_tokens=3),
    "named tool": chat(tools=[WEATHER, STOCKS], tool_choice=NAMED),
    "schema": chat(response_format=FORM),
    "reasoning": chat(reasoning_effort="high") | {"model": "o3-mini"},
}
TOOL = {"type": "function", **WEATHER["function"]}
ASKED: dict[str, Any] = {"model": "simulated-chat", "input": "weather in Oslo?"}
ANSWERED = {
    "plain": ASKED,
    "everything": ASKED
    | {
        "instructions": "Be kind.",
        "store": False,
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "previous_response_id": "resp_1",
    },
    "incomplete": ASKED | {"max_output_tokens": 4},
    "tools": ASKED | {"tools": [TOOL], "tool_choice": "required"},
    "cut tools": ASKED | {"tools": [TOOL], "max_output_tokens": 3},
    "named tool": ASKED | {"tools": [TOOL], "tool_choice": {"type": "function", "name": "get_weather"}},
    "hosted tool": ASKED | {"tools": [{"type": "web_search"}]},
    "schema": ASKED | {"text": {"format": {"type": "json_schema", "name": "p", "schema": PERSON, "strict": True}}},
    "reasoning": ASKED | {"model": "o3", "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]},
    "summary": ASKED | {"model": "gpt-5", "reasoning": {"effort": "medium", "summary": "auto"}},
    "logprobs": ASKED | {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "plain": {"model": "m", "prompt": "one"},
    "many": {"model": "m", "prompt": ["a", "b"], "n": 2, "logprobs": 2},
}


@lru_cache(maxsize=1)
def _registry() -> Registry[Any]:
    if not DOCUMENT.exists():
        pytest.skip(f"OpenAI's document is not there: {DOCUMENT.name}")
    document = json.loads(DOCUMENT.read_text())
    empty: Registry[Any] = Registry()
    filled: Registry[Any] = empty.with_resource("openai", Resource.from_contents(_exclusive(document), DRAFT202012))
    return filled


def _exclusive(node: Any) -> Any:
    """`oneOf` with a discriminator means the variant it names, which JSON Schema cannot say; `anyOf` comes nearest."""
    if isinstance(node, list):
        return [_exclusive(item) for item in node]
    if not isinstance(node, dict):
        return node
    loose = {key: _exclusive(value) for key, value in node.items()}
    if "discriminator" in loose and "oneOf" in loose:
        loose["anyOf"] = loose.pop("oneOf")
    return loose


def check(value: Any, name: str) -> None:
    schema = {"$ref": f"openai#/components/schemas/{name}"}
    jsonschema.Draft202012Validator(schema, registry=_registry()).validate(value)


def event_schemas() -> Iterator[tuple[str, str]]:
    """Each event type of the Responses API and the schema that describes it."""
    schemas = _registry().contents("openai")["components"]["schemas"]
    for reference in schemas["ResponseStreamEvent"]["anyOf"]:
        name = reference["$ref"].rpartition("/")[2]
        yield schemas[name]["properties"]["type"]["enum"][0], name


@pytest.mark.parametrize("case", CHATS)
def test_chat_answers_and_chunks_fit(case: str) -> None:
    check(ask(CHAT, CHATS[case]), "CreateChatCompletionResponse")
    for event in stream(CHAT, CHATS[case]):
        check(event, "CreateChatCompletionStreamResponse")


@pytest.mark.parametrize("case", COMPLETIONS)
def test_completions_and_chunks_fit(case: str) -> None:
    check(ask("/v1/completions", COMPLETIONS[case]), "CreateCompletionResponse")
    for event in stream("/v1/completions", COMPLETIONS[case] | {"stream_options": {"include_usage": True}}):
        check(event, "CreateCompletionResponse")


@pytest.mark.parametrize("case", ANSWERED)
def test_responses_and_their_events_fit(case: str) -> None:
    check(ask(RESPONSES, ANSWERED[case]), "Response")
    known = dict(event_schemas())
    for event in stream(RESPONSES, ANSWERED[case]):
        check(event, known[event["type"]])


def test_error_events_fit() -> None:
    known = dict(event_schemas())
    last = stream(RESPONSES, ASKED | {"metadata": {"simulate": "error_event"}})[-1]
    check(last, known["error"])
    last = stream(CHAT, chat(metadata={"simulate": "error_event"}))[-1]
    check(last, "ErrorResponse")


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_fit(encoding: str) -> None:
    answer = ask("/v1/embeddings", {"model": "m", "input": ["a", "b"], "encoding_format": encoding, "dimensions": 8})
    check(answer, "CreateEmbeddingResponse")


def test_moderations_fit() -> None:
    check(ask("/v1/moderations", {"input": "a"}), "CreateModerationResponse")
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    check(ask("/v1/moderations", {"input": parts}), "CreateModerationResponse")


@pytest.mark.parametrize("order", ["429", "500", "503", "529", "401", "error;status=404"])
def test_errors_fit(order: str) -> None:
    exchange = exchange_of(simulator(), CHAT, chat(metadata={"simulate": order}))
    check(json.loads(bytes_of(exchange)), "ErrorResponse")
