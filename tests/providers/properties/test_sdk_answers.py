"""Answers made from the types of the providers' own SDKs: all they may hold is read, and what they say is told on."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from router.domain.chat import ChatQuery, Family
from router.domain.folding import unfolded
from tests.providers.properties.sdk_values import SdkValues
from tests.providers.properties.targets import CALLERS, TARGETS

Json = dict[str, Any]
MANY = range(300)
SDK_TYPES: dict[str, Any] = {"chat": ChatCompletion, "messages": Message, "responses": Response}


def chat_words(answer: Json) -> Iterator[str]:
    for choice in answer["choices"]:
        said = choice["message"]
        yield from (said.get("content") or "", said.get("refusal") or "")
        for call in said.get("tool_calls") or ():
            what = call.get("function") or call.get("custom")
            yield from (what["name"], what.get("arguments") or what.get("input"))
        break


def message_words(answer: Json) -> Iterator[str]:
    for block in answer["content"]:
        yield from (block.get(name) or "" for name in ("text", "thinking") if block["type"] == name)
        if block["type"] == "tool_use":
            yield block["name"]


def response_words(answer: Json) -> Iterator[str]:
    for item in answer["output"]:
        if item["type"] == "message":
            yield from (part.get("text") or part.get("refusal") or "" for part in item["content"])
        if item["type"] in {"function_call", "custom_tool_call"}:
            yield from (item["name"], item.get("arguments") or item.get("input") or "")


KINDS: dict[str, tuple[str, Any, Callable[[Json], Iterator[str]]]] = {
    "chat": ("openai", ChatCompletion, chat_words),
    "messages": ("anthropic", Message, message_words),
    "messages beta": ("anthropic", BetaMessage, message_words),
    "responses": ("responses", Response, response_words),
}
STREAMS: dict[str, tuple[str, Any]] = {
    "chat": ("openai", ChatCompletionChunk),
    "messages": ("anthropic", RawMessageStreamEvent),
    "responses": ("responses", ResponseStreamEvent),
}


def told_to(caller: str, target: str, answer: Json) -> tuple[str, str]:
    """(the answer, and the stream that says the same), each as this caller gets it."""
    side = CALLERS[caller][0]
    query = ChatQuery(side.family, (), stream=True, wants_usage=True)
    result = TARGETS[target][0].decode_result(json.dumps(answer).encode())
    encoder = side.stream_encoder(query)
    stream = b"".join([*(encoder.feed(event) for event in unfolded(result)), encoder.close()])
    return side.encode_result(result, query).decode(), stream.decode()


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_answer_says_is_told_whatever_else_it_holds(kind: str, caller: str) -> None:
    target, sdk, words = KINDS[kind]
    tried = 0
    for seed in MANY:
        answer = SdkValues(seed).of(sdk)
        if answer.get("status") == "failed":
            continue
        whole, stream = told_to(caller, target, answer)
        said = [json.dumps(word, ensure_ascii=False)[1:-1] for word in words(answer)]
        assert not [word for word in said if word not in whole or word not in stream], answer
        if caller not in kind:
            SDK_TYPES[caller].model_validate_json(whole)
        tried += bool("".join(said))
    assert tried > len(MANY) // 15


@pytest.mark.parametrize("kind", STREAMS)
def test_events_in_any_order_are_read_or_are_a_clean_error(kind: str) -> None:
    target, sdk = STREAMS[kind]
    for seed in MANY:
        decoder, values = TARGETS[target][0].stream_decoder(), SdkValues(seed)
        with suppress(ValueError):
            for _ in range(8):
                decoder.feed(b"data: " + json.dumps(values.of(sdk)).encode() + b"\n\n")
        decoder.close()


def test_whatever_gemini_may_answer_is_read_or_is_a_clean_error() -> None:
    types = pytest.importorskip("google.genai.types")
    for seed in MANY:
        answer = json.dumps(SdkValues(seed).of(types.GenerateContentResponse)).encode()
        with suppress(ValueError):
            result = TARGETS["gemini"][0].decode_result(answer)
            for side, _ in CALLERS.values():
                side.encode_result(result, ChatQuery(Family.CHAT, ()))
        decoder = TARGETS["gemini"][0].stream_decoder()
        with suppress(ValueError):
            decoder.feed(b"data: " + answer + b"\n\n")
        decoder.close()
