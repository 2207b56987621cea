"""The OpenAI and the Anthropic SDK through the real daemon to providers that speak neither: Cohere's chat, Ollama's own."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.clients.own_providers import OwnProvider
from tests.daemon import KEY, Daemon, Workplace, settings

pytestmark = pytest.mark.process

HELLO: Any = [{"role": "user", "content": "Is the light on?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [
    {"type": "function", "function": {"name": n, "parameters": PARAMETERS, "strict": True}} for n in ("weather", "time")
]
OWN_TOOLS: Any = [{"name": n, "input_schema": PARAMETERS} for n in ("weather", "time")]
MODELS = ("good", "cut", "broken", "long")


class Lighthouse(BaseModel):
    name: str
    height_m: int


@dataclass
class Place:
    """The daemon, the provider behind it, and both SDKs in front."""

    daemon: Daemon
    provider: OwnProvider
    chat: openai.AsyncOpenAI
    claude: anthropic.AsyncAnthropic


@pytest.fixture(params=["cohere", "ollama"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    folder = Workplace()
    async with OwnProvider().running() as provider:
        far: Any = {
            "cohere": {"type": "cohere", "api_key": "of-the-tests", "base_url": provider.origin},
            "ollama": {"type": "ollama", "apis": ["ollama_chat"], "base_url": f"{provider.origin}/v1"},
        }[request.param]
        aliases = {name: {"targets": [{"provider": "far", "model": name}]} for name in MODELS}
        with Daemon(folder, settings({"far": far}, aliases)) as daemon:
            async with (
                openai.AsyncOpenAI(base_url=f"{daemon.url}/v1", api_key=KEY, max_retries=0) as chat,
                anthropic.AsyncAnthropic(base_url=daemon.url, api_key=KEY, max_retries=0) as claude,
            ):
                yield Place(daemon, provider, chat, claude)
    folder.remove()


async def test_callers_of_chat_completions(place: Place) -> None:
    create: Any = place.chat.chat.completions.create
    answer = await create(model="good", messages=HELLO, extra_headers={"X-Request-Id": "whole"})
    assert answer.choices[0].message.content == "The light is on."
    assert answer.choices[0].message.reasoning_content == "Let me see."
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "good")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 5)
    row = await place.daemon.entry("whole")
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (7, 5, 0)

    stream = await create(model="good", messages=HELLO, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "The light is on."
    assert chunks[-1].usage.completion_tokens == 5

    parsed = await place.chat.chat.completions.parse(model="good", messages=HELLO, response_format=Lighthouse)
    assert parsed.choices[0].message.parsed == Lighthouse(name="Pharos", height_m=103)

    async with place.chat.chat.completions.stream(model="good", messages=HELLO, tools=TOOLS) as events:
        said = (await events.get_final_completion()).choices[0]
    assert said.finish_reason == "tool_calls" and said.message.tool_calls
    called = [(call.function.name, json.loads(call.function.arguments)) for call in said.message.tool_calls]
    assert called == [("weather", {"city": "Genoa"}), ("time", {"city": "Genoa"})]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in said.message.tool_calls]
    functions = [{"name": call.function.name, "arguments": call.function.arguments} for call in said.message.tool_calls]
    ids = [call.id for call in said.message.tool_calls]
    calls = [{"id": i, "type": "function", "function": function} for i, function in zip(ids, functions, strict=True)]
    turns = [*HELLO, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    last = await create(model="good", messages=turns, tools=TOOLS)
    assert last.choices[0].message.content == "The light is on."
    roles = [message["role"] for message in place.provider.received[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]


async def test_callers_of_messages(place: Place) -> None:
    ask: Any = {"model": "good", "messages": HELLO, "max_tokens": 50}
    message = await place.claude.messages.create(**ask, system="Be brief.")
    assert [block.text for block in message.content if block.type == "text"] == ["The light is on."]
    assert [block.thinking for block in message.content if block.type == "thinking"] == ["Let me see."]
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 7, 5)
    assert place.provider.received[-1]["messages"][0] == {"role": "system", "content": "Be brief."}

    parsed = await place.claude.messages.parse(**ask, output_format=Lighthouse)
    assert parsed.parsed_output == Lighthouse(name="Pharos", height_m=103)

    async with place.claude.messages.stream(**ask, tools=OWN_TOOLS) as stream:
        message = await stream.get_final_message()
    calls = [block for block in message.content if block.type == "tool_use"]
    assert ([call.name for call in calls], message.stop_reason) == (["weather", "time"], "tool_use")
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "fine"} for call in calls]
    said = {"role": "assistant", "content": [block.to_dict() for block in message.content]}
    turns = [*HELLO, said, {"role": "user", "content": results}]
    last = await place.claude.messages.create(**ask | {"messages": turns}, tools=OWN_TOOLS)
    assert last.content[-1].type == "text" and last.content[-1].text == "The light is on."


async def test_a_stream_that_is_cut_or_broken_ends_in_an_error(place: Place) -> None:
    for model in ("cut", "broken"):
        create: Any = place.chat.chat.completions.create
        stream = await create(model=model, messages=HELLO, stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
        with pytest.raises(anthropic.APIStatusError):
            async with place.claude.messages.stream(model=model, messages=HELLO, max_tokens=9) as events:
                await events.get_final_message()


async def test_what_the_provider_refuses_and_what_it_could_not_be_asked(place: Place) -> None:
    create: Any = place.chat.chat.completions.create
    with pytest.raises(openai.BadRequestError) as refused:
        await create(model="long", messages=HELLO)
    assert "too many tokens" in refused.value.message or "context length" in refused.value.message
    asked = len(place.provider.received)
    with pytest.raises(openai.BadRequestError) as unsaid:
        await create(model="good", messages=HELLO, n=2)
    assert (unsaid.value.code, unsaid.value.param) == ("unsupported_feature", "n")
    assert len(place.provider.received) == asked
    answer = await place.chat.chat.completions.with_raw_response.create(model="good", messages=HELLO, user="me")
    assert answer.headers["x-router-dropped"] == "user"


async def test_the_simulated_provider_answers_callers_of_messages_too(routerd: Daemon) -> None:
    ask: Any = {"model": "gpt-5-mini", "messages": HELLO, "max_tokens": 200}
    async with anthropic.AsyncAnthropic(base_url=routerd.url, api_key=KEY, max_retries=0) as claude:
        message = await claude.messages.create(**ask)
        assert message.content[0].type == "text" and message.content[0].text and message.usage.output_tokens
        parsed = await claude.messages.parse(**ask, output_format=Lighthouse)
        assert isinstance(parsed.parsed_output, Lighthouse)
        async with claude.messages.stream(**ask, tools=OWN_TOOLS, tool_choice={"type": "tool", "name": "time"}) as stream:
            message = await stream.get_final_message()
    assert [block.name for block in message.content if block.type == "tool_use"] == ["time"]
    assert message.stop_reason == "tool_use"
