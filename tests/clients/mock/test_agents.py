"""openai-agents through the daemon, by both of its APIs, to providers that are mocks nobody here wrote."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.clients.mock.callers import PICTURE_URL, Lighthouse
from tests.clients.mock.process import MockProviders
from tests.daemon import KEY, Daemon

pytestmark = pytest.mark.process

LIGHT = "The light is on. Ünder way, and no ship is lost."
by_main = pytest.mark.parametrize("alias", ["openai", "anthropic", "gemini", "bedrock"])
by_api = pytest.mark.parametrize("api", ["chat", "responses"])


@pytest.fixture
async def sdk(routerd: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{routerd.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    return pytest.importorskip("agents", reason="openai-agents is not installed")


def agent_of(agents: Any, sdk: openai.AsyncOpenAI, api: str, alias: str, **more: Any) -> Any:
    kind = agents.OpenAIChatCompletionsModel if api == "chat" else agents.OpenAIResponsesModel
    model = kind(alias, sdk)
    return agents.Agent(name="keeper", instructions="Keep the light.", model=model, **more)


@by_api
@by_main
async def test_an_agent_answers_whole_and_in_pieces(agents: Any, sdk: openai.AsyncOpenAI, api: str, alias: str) -> None:
    agent = agent_of(agents, sdk, api, alias)
    assert (await agents.Runner.run(agent, "Is the light on?")).final_output == LIGHT
    streamed = agents.Runner.run_streamed(agent, "Is the light on?")
    raw = [event.data async for event in streamed.stream_events() if event.type == "raw_response_event"]
    pieces = [event.delta for event in raw if event.type == "response.output_text.delta"]
    assert streamed.final_output == "".join(pieces) == LIGHT and len(pieces) > 1


@by_api
@by_main
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_agent_calls_its_tool_and_goes_on(
    agents: Any, sdk: openai.AsyncOpenAI, mock: MockProviders, api: str, alias: str, *, streamed: bool
) -> None:
    cities: list[str] = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return "Sunny, 20 degrees"

    mock.journal()
    agent = agent_of(agents, sdk, api, alias, tools=[agents.function_tool(get_weather)])
    if streamed:
        result = agents.Runner.run_streamed(agent, "Weather in Genoa?")
        async for _ in result.stream_events():
            pass
    else:
        result = await agents.Runner.run(agent, "Weather in Genoa?")
    assert (cities, result.final_output) == (["Genoa"], "It is sunny in Genoa.")
    first, _ = mock.journal()
    assert "Keep the light." in [message["content"] for message in first["body"]["messages"]]
    turns = [*result.to_input_list(), {"role": "user", "content": "Is the light on?"}]
    assert (await agents.Runner.run(agent, turns)).final_output == LIGHT


@by_api
@by_main
async def test_an_agent_is_shown_a_picture_and_fills_its_type(
    agents: Any, sdk: openai.AsyncOpenAI, api: str, alias: str
) -> None:
    shown = {"type": "input_image", "image_url": PICTURE_URL, "detail": "auto"}
    turn = {"role": "user", "content": [{"type": "input_text", "text": "What is in the picture?"}, shown]}
    assert (await agents.Runner.run(agent_of(agents, sdk, api, alias), [turn])).final_output == "A lighthouse."
    typed = agent_of(agents, sdk, api, alias, output_type=Lighthouse)
    result = await agents.Runner.run(typed, "Which lighthouse was a wonder?")
    assert result.final_output == Lighthouse(name="Pharos", height_m=103)
