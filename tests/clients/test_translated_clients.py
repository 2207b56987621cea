"""Real SDKs over both lanes of translation: an OpenAI client, a gateway, its provider of type anthropic, which is another
gateway, whose provider speaks Chat Completions. Everything is said twice in another dialect on the way, and back."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.daemon import KEY, Daemon, Simulator, Workplace, settings

pytestmark = pytest.mark.process

MODEL = "gpt-5-mini"
HELLO: Any = [{"role": "user", "content": "Tell me something about lighthouses."}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
OWN_TOOL: Any = {"name": "get_weather", "input_schema": PARAMETERS}


@pytest.fixture(scope="module")
def inner() -> Iterator[Daemon]:
    """Messages in, Chat Completions out."""
    folder = Workplace()
    with Simulator(folder) as simulator, Daemon(folder, settings({"far": simulator.provider}, {MODEL: "far"})) as running:
        yield running
    folder.remove()


@pytest.fixture(scope="module")
def outer(inner: Daemon) -> Iterator[Daemon]:
    """Chat Completions in, Messages out, to the other one."""
    folder = Workplace()
    provider = {"type": "anthropic", "base_url": inner.url, "api_key": KEY}
    with Daemon(folder, settings({"claude": provider}, {MODEL: "claude"})) as running:
        yield running
    folder.remove()


@pytest.fixture
def chat(outer: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{outer.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def claude(inner: Daemon) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=inner.url, api_key=KEY, max_retries=0) as made:
        yield made


def test_a_chat_answer(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=30)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 30)
    assert answer.created > 1_700_000_000


def test_a_chat_stream_with_usage(chat: openai.OpenAI) -> None:
    with chat.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=40, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["length"]
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 40


def test_a_forced_tool_and_the_turn_after_it(chat: openai.OpenAI) -> None:
    ask: Any = chat.chat.completions.create
    turns = [{"role": "user", "content": "Weather in Rome?"}]
    forced = {"type": "function", "function": {"name": "get_weather"}}
    first = ask(model=MODEL, messages=turns, tools=[TOOL], tool_choice=forced, max_tokens=200)
    said = first.choices[0].message
    [call] = said.tool_calls
    assert (call.function.name, first.choices[0].finish_reason) == ("get_weather", "tool_calls")
    assert "city" in json.loads(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 20 degrees"}
    turns = [*turns, said.to_dict(), result]
    second = ask(model=MODEL, messages=turns, tools=[TOOL], tool_choice="none", max_tokens=50)
    assert second.choices[0].message.content


def test_a_tool_in_a_stream(chat: openai.OpenAI) -> None:
    with chat.chat.completions.stream(
        model=MODEL, messages=HELLO, tools=[TOOL], tool_choice="required", max_tokens=200
    ) as stream:
        for _ in stream:
            pass
        said = stream.get_final_completion().choices[0].message
    assert said.tool_calls and said.tool_calls[0].id
    assert "city" in json.loads(said.tool_calls[0].function.arguments)


def test_a_field_the_target_cannot_express_is_refused_by_name(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        chat.chat.completions.create(model=MODEL, messages=HELLO, logit_bias={"5": -100})
    assert (refused.value.code, refused.value.param) == ("unsupported_feature", "logit_bias")


def test_what_was_dropped_is_told_in_a_header(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, max_tokens=20, seed=7)
    assert answer.headers["x-router-dropped"] == "seed"


def test_a_message(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model=MODEL, messages=HELLO, max_tokens=30, system="Be brief.")
    assert message.content[0].type == "text" and message.content[0].text
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 30)


def test_a_message_in_a_stream_and_its_tool(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model=MODEL, messages=HELLO, max_tokens=200, tools=[OWN_TOOL], tool_choice={"type": "any"}
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_message()
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert (call.name, message.stop_reason) == ("get_weather", "tool_use")
    turns: Any = [
        *HELLO,
        {"role": "assistant", "content": [block.to_dict() for block in message.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny"}]},
    ]
    again = claude.messages.create(
        model=MODEL, messages=turns, max_tokens=50, tools=[OWN_TOOL], tool_choice={"type": "none"}
    )
    assert again.content[0].type == "text" and again.usage.output_tokens > 0


def test_a_target_that_is_not_there_is_an_error_of_the_callers_sdk(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="nobody", messages=HELLO, max_tokens=5)
