"""OpenAI's SDK and its agents on the Responses API, over targets that speak another; and other SDKs over targets that speak
nothing else."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from tests.daemon import KEY, Daemon, Simulator, Workplace, settings

pytestmark = pytest.mark.process

FAST = {"latency": 0, "tokens_per_second": 0}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
OVER = ["over-chat", "over-messages"]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Daemon]:
    """`over-chat`: Responses in, Chat Completions out; `over-messages`: Responses in, Messages out, to another gateway;
    `responses`: whatever comes in, Responses out."""
    folder = Workplace()
    chat_only = {"type": "simulated", "apis": ["chat"], "simulate": FAST}
    with Simulator(folder) as simulator, Daemon(folder, settings({"far": chat_only}, {"m": "far"}), name="inner") as inner:
        providers = {
            "chatty": chat_only,
            "claude": {"type": "anthropic", "base_url": inner.url, "api_key": KEY},
            "newest": simulator.provider | {"apis": ["responses"]},
        }
        catalog = {
            "over-chat": [{"provider": "chatty", "model": "gpt-5-mini"}],
            "over-messages": [{"provider": "claude", "model": "m"}],
            "responses": [{"provider": "newest", "model": "gpt-5-mini"}],
        }
        sections = {"database": {"url": "sqlite:///outer/router.db"}}
        with Daemon(folder, settings(providers, catalog, **sections), name="outer") as running:
            yield running
    folder.remove()


@pytest.fixture
async def sdk(gateway: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", OVER)
async def test_an_answer(sdk: openai.AsyncOpenAI, model: str) -> None:
    got = await sdk.responses.create(model=model, input="lighthouses", instructions="be brief", max_output_tokens=300)
    assert got.output_text
    assert (got.status, got.object, got.instructions) == ("completed", "response", "be brief")
    assert got.usage is not None
    assert got.usage.total_tokens == got.usage.input_tokens + got.usage.output_tokens > 0


@pytest.mark.parametrize("model", OVER)
async def test_a_stream_is_put_together_by_the_sdk(sdk: openai.AsyncOpenAI, model: str) -> None:
    async with sdk.responses.stream(model=model, input="lighthouses", max_output_tokens=300) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert (kinds[0], kinds[1], kinds[-1]) == ("response.created", "response.in_progress", "response.completed")
    assert kinds.count("response.output_text.delta") > 3
    assert final.output_text


@pytest.mark.parametrize("model", OVER)
async def test_a_stream_that_is_cut_by_its_cap_is_incomplete(sdk: openai.AsyncOpenAI, model: str) -> None:
    stream = await sdk.responses.create(model=model, input="lighthouses", max_output_tokens=16, stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("model", OVER)
async def test_a_forced_tool_and_the_turn_after_it(sdk: openai.AsyncOpenAI, model: str) -> None:
    asked: Any = {"role": "user", "content": "weather in Rome?"}
    async with sdk.responses.stream(model=model, input=[asked], tools=[TOOL], tool_choice="required") as stream:
        first = await stream.get_final_response()
    [call] = [item for item in first.output if item.type == "function_call"]
    assert call.name == "get_weather" and "city" in json.loads(call.arguments)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    turns: Any = [
        asked,
        *[item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output],
        result,
    ]
    second = await sdk.responses.create(model=model, input=turns, tools=[TOOL])
    assert second.output_text


class Seen(pydantic.BaseModel):
    title: str
    objects: list[str]


@pytest.mark.parametrize("model", OVER)
async def test_a_picture_and_a_schema(sdk: openai.AsyncOpenAI, model: str) -> None:
    content: Any = [{"type": "input_text", "text": "what is here?"}, {"type": "input_image", "image_url": PICTURE}]
    asked: Any = [{"role": "user", "content": content}]
    parsed = await sdk.responses.parse(model=model, input=asked, text_format=Seen)
    assert parsed.output_parsed is not None and isinstance(parsed.output_parsed.objects, list)
    nested = {"type": "json_schema", "json_schema": {"name": "seen", "schema": Seen.model_json_schema()}}
    got = await sdk.responses.create(model=model, input=asked, extra_body={"response_format": nested})
    Seen.model_validate_json(got.output_text)


@pytest.mark.parametrize("model", OVER)
async def test_a_tool_of_openais_own_is_refused_by_name(sdk: openai.AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model=model, input="x", tools=[{"type": "web_search"}])
    assert refused.value.code == "unsupported_feature" and "web_search" in refused.value.message


@pytest.mark.parametrize("model", [*OVER, "responses"])
async def test_an_agent_calls_its_tool_and_answers(sdk: openai.AsyncOpenAI, model: str) -> None:
    agents = pytest.importorskip("agents", reason="openai-agents is not installed")
    agents.set_tracing_disabled(True)
    cities: list[str] = []

    @agents.function_tool  # type: ignore[untyped-decorator]  # the package is not there for everybody
    def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return "Sunny."

    chosen = agents.ModelSettings(tool_choice="required")
    agent = agents.Agent(
        name="a",
        instructions="Be brief.",
        tools=[get_weather],
        model=agents.OpenAIResponsesModel(model, sdk),
        model_settings=chosen,
    )
    told = await agents.Runner.run(agent, "weather in Rome?")
    assert len(cities) == 1 and told.final_output
    streamed = agents.Runner.run_streamed(agent, "weather in Rome?")
    kinds = [event.type async for event in streamed.stream_events()]
    assert "raw_response_event" in kinds
    assert len(cities) == 2 and streamed.final_output


async def test_a_chat_over_a_responses_target(sdk: openai.AsyncOpenAI) -> None:
    asked: Any = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "lighthouses"}]
    whole = await sdk.chat.completions.create(model="responses", messages=asked, max_completion_tokens=300)
    assert whole.choices[0].message.content and whole.choices[0].finish_reason == "stop"
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    stream = await sdk.chat.completions.create(model="responses", messages=asked, **options)
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0


async def test_a_message_over_a_responses_target(gateway: Daemon) -> None:
    tool: Any = {"name": "get_weather", "input_schema": PARAMETERS}
    asked: Any = [{"role": "user", "content": "weather in Rome?"}]
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as claude:
        async with claude.messages.stream(
            model="responses", max_tokens=500, messages=asked, tools=[tool], tool_choice={"type": "any"}
        ) as stream:
            first = await stream.get_final_message()
        [call] = [block for block in first.content if block.type == "tool_use"]
        assert first.stop_reason == "tool_use" and "city" in json.dumps(call.input)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
        said = [block.model_dump(exclude_none=True) for block in first.content]
        turns: Any = [*asked, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
        second = await claude.messages.create(model="responses", max_tokens=500, messages=turns, tools=[tool])
        assert any(block.type == "text" and block.text for block in second.content)
