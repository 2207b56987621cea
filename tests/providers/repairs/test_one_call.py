"""`parallel_tool_calls: false` at targets that cannot be told."""

import json
from typing import Any

import pytest

from router.domain.requests import Api
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.codec import TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.gemini.codec import GeminiCodec
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.sse import frames
from tests.providers.spoken import Spoken

GEMINI = Spoken(GeminiCodec())
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("first", "second")]
ASKED: dict[str, Any] = {"tools": TOOLS, "parallel_tool_calls": False}
PARTS: list[dict[str, Any]] = [
    {"text": "Both."},
    {"functionCall": {"name": "first", "args": {}}},
    {"functionCall": {"name": "second", "args": {}}},
]


def answer(parts: list[dict[str, Any]]) -> bytes:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return json.dumps({"candidates": [candidate], "modelVersion": "g", "responseId": "r"}).encode()


def names(message: Any) -> list[str]:
    return [call["function"]["name"] for call in message.get("tool_calls", ())]


@pytest.mark.parametrize("target", [GeminiCodec(), COHERE_CHAT, OLLAMA_CHAT], ids=lambda target: str(target.family))
def test_the_wish_is_no_reason_to_refuse(target: TargetSide) -> None:
    sent = Spoken(target).sent(ASKED)
    assert "first" in json.dumps(sent["tools"]) and "parallel" not in json.dumps(sent)


def test_who_can_be_told_is_told() -> None:
    assert Spoken(ANTHROPIC).sent(ASKED)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(("wish", "told"), [(False, ["first"]), (True, ["first", "second"]), (None, ["first", "second"])])
def test_of_a_whole_answer_the_first_call_comes_back_where_one_was_asked_for(wish: bool | None, told: list[str]) -> None:
    asked = {"model": "a", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "parallel_tool_calls": wish}
    body, _ = GEMINI.asked(Api.CHAT, asked).answer(answer(PARTS), 1)
    choice = json.loads(body)["choices"][0]
    assert names(choice["message"]) == told
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Both.", "tool_calls")


def test_of_a_stream_too() -> None:
    asked = {"model": "a", "messages": [{"role": "user", "content": "x"}], "stream": True}
    meter = GEMINI.asked(Api.CHAT, asked | ASKED).meter(1)
    told = meter.feed(b"data: " + answer(PARTS) + b"\n\n") + meter.close()
    choices = [choice for _, data in list(frames(told))[:-1] for choice in json.loads(data)["choices"]]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
    assert [call["function"]["name"] for call in calls if "name" in call["function"]] == ["first"]
    assert {call["index"] for call in calls} == {0}
    assert choices[-1]["finish_reason"] == "tool_calls" and meter.finished
