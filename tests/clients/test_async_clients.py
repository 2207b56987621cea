"""The asynchronous SDK, openai-agents and instructor, through the real daemon."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.daemon import KEY, Daemon

pytestmark = pytest.mark.process

HELLO: Any = [{"role": "user", "content": "Tell me something about lighthouses."}]


class Harbour(BaseModel):
    name: str
    ships: int


@pytest.fixture
async def client(routerd: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{routerd.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


async def test_many_streams_at_once(client: openai.AsyncOpenAI) -> None:
    async def read() -> int:
        stream = await client.chat.completions.create(
            model="gpt-5-mini", messages=HELLO, stream=True, metadata={"simulate": "tokens_per_second=200"}
        )
        return len([chunk async for chunk in stream])

    assert min(await asyncio.gather(*(read() for _ in range(20)))) > 5


async def test_every_kind_of_call_works_asynchronously(client: openai.AsyncOpenAI) -> None:
    assert (await client.chat.completions.create(model="gpt-5-mini", messages=HELLO)).choices
    assert (await client.responses.create(model="gpt-5-mini", input="hi")).output_text
    assert (await client.embeddings.create(model="text-embedding-3-small", input="hi")).data
    assert (await client.moderations.create(input="hi")).results
    assert [model.id async for model in client.models.list()]
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="nobody", messages=HELLO)


async def test_a_cancelled_call_is_metered(client: openai.AsyncOpenAI, routerd: Daemon) -> None:
    call = asyncio.create_task(
        client.chat.completions.create(
            model="gpt-5-mini", messages=HELLO, metadata={"simulate": "latency=20"}, extra_headers={"X-Request-Id": "left"}
        )
    )
    await asyncio.sleep(0.3)
    call.cancel()
    entry = await routerd.entry("left")
    assert (entry["outcome"], entry["status"]) == ("cancelled", 499)
    assert entry["input_tokens"] > 0


async def test_an_agent_uses_its_tool(client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    agents = pytest.importorskip("agents")
    asked: list[str] = []

    def ships_in(harbour: str) -> str:
        """How many ships lie in a harbour."""
        asked.append(harbour)
        return "12"

    tool = agents.function_tool(ships_in)
    agent = agents.Agent(
        name="harbour master",
        instructions="Use the tool.",
        model=agents.OpenAIResponsesModel("gpt-5-mini", client),
        tools=[tool],
        model_settings=agents.ModelSettings(tool_choice="required"),
    )
    result = await agents.Runner.run(
        agent, "How many ships are in Genoa?", run_config=agents.RunConfig(tracing_disabled=True)
    )
    assert len(asked) == 1
    assert result.final_output


async def test_instructor_gets_its_model(client: openai.AsyncOpenAI) -> None:
    instructor = pytest.importorskip("instructor")
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        harbour = await instructor.from_openai(client, mode=mode).chat.completions.create(
            model="gpt-5-mini", messages=HELLO, response_model=Harbour, max_retries=0
        )
        assert isinstance(harbour, Harbour)
