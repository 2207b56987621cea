"""The Anthropic Python SDK through the real daemon to a provider of its own API: what its users write works."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from tests.clients.messages_provider import MessagesProvider
from tests.daemon import KEY, Daemon, Workplace, settings

pytestmark = pytest.mark.process

HELLO: Any = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": "Is the light on?"}]}
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PIXEL: Any = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
ALIASES = {name: {"targets": [{"provider": "far", "model": name}], "max_output_tokens": 100} for name in ("claude", "cut")}
ALIASES["overloaded"] = {"targets": [{"provider": "far", "model": "overloaded"}]}


class Lighthouse(BaseModel):
    name: str
    height_m: int


@dataclass
class Place:
    """The daemon, the provider behind it, and the SDK in front."""

    daemon: Daemon
    provider: MessagesProvider
    client: anthropic.AsyncAnthropic


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    folder = Workplace()
    async with MessagesProvider() as provider:
        far = {"type": "anthropic", "api_key": "sk-ant-of-the-tests", "base_url": provider.origin}
        with Daemon(folder, settings({"far": far}, ALIASES)) as daemon:
            async with anthropic.AsyncAnthropic(base_url=daemon.url, api_key=KEY, max_retries=0) as client:
                yield Place(daemon, provider, client)
    folder.remove()


async def test_a_message_its_stream_and_its_count(place: Place) -> None:
    message = await place.client.messages.create(**HELLO, extra_headers={"X-Request-Id": "whole"})
    assert [block.text for block in message.content if block.type == "text"] == ["The light is on."]
    async with place.client.messages.stream(**HELLO, extra_headers={"X-Request-Id": "stream"}) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert (text, final.stop_reason, final.usage.output_tokens) == ("The light is on.", "end_turn", 5)
    count = await place.client.messages.count_tokens(
        model="claude", messages=HELLO["messages"], extra_headers={"X-Request-Id": "count"}
    )
    assert count.input_tokens == 12
    for name in ("whole", "stream"):
        row = await place.daemon.entry(name)
        assert (row["api"], row["input_tokens"], row["cached_input_tokens"], row["cache_write_tokens"]) == (
            "messages",
            12,
            2,
            3,
        )
        assert (row["output_tokens"], row["cost_nano"], row["estimated"]) == (5, 12 * 1000 + 5 * 2000, 0)
    counted = await place.daemon.entry("count")
    assert (counted["api"], counted["input_tokens"], counted["cost_nano"], counted["estimated"]) == ("count_tokens", 0, 0, 0)


async def test_the_provider_gets_its_own_key_and_the_callers_version(place: Place) -> None:
    await place.client.messages.create(**HELLO, extra_headers={"anthropic-beta": "a-2025-01-01,b-2026-01-01"})
    older_way: Any = {"anthropic-version": "2023-06-01", "x-api-key": KEY, "Authorization": anthropic.Omit()}
    await place.client.messages.create(**HELLO, extra_headers=older_way)
    newest, older = place.provider.received
    assert (newest.path, newest.headers["anthropic-version"]) == ("/v1/messages", "2026-10-21")
    assert newest.headers["anthropic-beta"] == "a-2025-01-01,b-2026-01-01"
    assert older.headers["anthropic-version"] == "2023-06-01"
    for call in (newest, older):
        assert call.headers["x-api-key"] == "sk-ant-of-the-tests"
        assert KEY not in str(call.headers)


async def test_tools_are_called_and_their_results_answered(place: Place) -> None:
    tools: Any = [WEATHER, WEATHER | {"name": "tide"}]
    async with place.client.messages.stream(**HELLO, tools=tools) as stream:
        first = await stream.get_final_message()
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [("weather", {"city": "Genoa"}), ("tide", {"city": "Genoa"})]
    picture = {"type": "image", "source": PIXEL}
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": [picture]} for call in calls]
    turns: Any = [*HELLO["messages"], {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = await place.client.messages.create(**HELLO | {"messages": turns}, tools=tools)
    assert second.stop_reason == "end_turn"
    assert place.provider.received[-1].body["messages"][-1]["content"] == results


async def test_thoughts_come_with_their_signature(place: Place) -> None:
    async with place.client.messages.stream(**HELLO, thinking={"type": "adaptive"}) as stream:
        final = await stream.get_final_message()
    (thought,) = [block for block in final.content if block.type == "thinking"]
    assert (thought.thinking, thought.signature) == ("Let me see.", "c2lnbmVk")


async def test_a_schema_is_parsed(place: Place) -> None:
    answer = await place.client.messages.parse(**HELLO, output_format=Lighthouse)
    assert answer.parsed_output == Lighthouse(name="Pharos", height_m=103)


async def test_models_are_listed_in_the_sdks_shape(place: Place) -> None:
    models = {model.id: model async for model in place.client.models.list()}
    assert set(models) == {"claude", "cut", "overloaded"}
    assert (models["claude"].max_tokens, models["claude"].lifecycle) == (100, "active")
    assert (await place.client.models.retrieve("claude")).display_name == "claude"


async def test_errors_are_the_sdks_own(place: Place) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        await place.client.messages.create(**HELLO | {"model": "nobody"})
    body: Any = missing.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    with pytest.raises(anthropic.BadRequestError, match="greater than or equal to 0"):
        await place.client.messages.create(**HELLO | {"max_tokens": -1})
    async with anthropic.AsyncAnthropic(base_url=place.daemon.url, api_key="sk-demo.wrong", max_retries=0) as wrong:
        with pytest.raises(anthropic.AuthenticationError):
            await wrong.messages.create(**HELLO)
    with pytest.raises(anthropic.APIStatusError) as batches:
        await place.client.messages.batches.list()
    assert batches.value.status_code == 501


@pytest.mark.parametrize(("model", "said"), [("cut", "stream stopped before its end"), ("overloaded", "Overloaded")])
async def test_a_stream_that_breaks_raises_and_is_counted(place: Place, model: str, said: str) -> None:
    with pytest.raises(anthropic.APIError, match=said):
        async with place.client.messages.stream(**HELLO | {"model": model}, extra_headers={"X-Request-Id": model}) as stream:
            await stream.get_final_message()
    row = await place.daemon.entry(model)
    assert (row["input_tokens"], row["estimated"], row["output_tokens"] > 0) == (12, 1, True)
