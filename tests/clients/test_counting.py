"""Anthropic's SDK counts tokens through the real daemon, at providers that count in words of their own, and at none."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.clients.gemini_provider import CLAUDE_PLACE, GEMINI_PLACE, LOCATION, PROJECT, VERTEX_PLACE, GeminiProvider
from tests.clients.gemini_provider import KEY as GOOGLE_KEY
from tests.daemon import KEY, Daemon, Simulator, Workplace, settings

pytestmark = pytest.mark.process

HELLO: Any = [{"role": "user", "content": "Is the light on?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"name": name, "description": "Of a city.", "input_schema": PARAMETERS} for name in ("weather", "time")]
CALL: Any = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Genoa"}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain."}
TURNS: Any = [*HELLO, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]}]


@pytest.fixture(scope="module")
def google() -> Iterator[GeminiProvider]:
    with GeminiProvider() as running:
        yield running


@pytest.fixture(scope="module")
def routerd(google: GeminiProvider) -> Iterator[Daemon]:
    folder = Workplace()
    with Simulator(folder) as simulator:
        at_google = {"api_key": GOOGLE_KEY, "base_url": google.origin}
        cloud = at_google | {"type": "vertex", "auth": "bearer", "project": PROJECT, "location": LOCATION}
        providers = {
            "gemini": at_google | {"type": "gemini"},
            "cloud": cloud,
            "openai": simulator.provider | {"type": "openai"},
            "vllm": simulator.provider | {"type": "vllm"},
            "inside": {"type": "simulated"},
            "countless": simulator.provider,
        }
        catalog = {
            "flash": [{"provider": "gemini", "model": "gemini-3-flash"}],
            "on-vertex": [{"provider": "cloud", "model": "gemini-2.5-flash"}],
            "claude": [{"provider": "cloud", "model": "claude-sonnet-4-5"}],
            **{name: name for name in ("openai", "vllm", "inside", "countless")},
            "either": ["countless", "inside"],
        }
        with Daemon(folder, settings(providers, catalog)) as running:
            yield running
    folder.remove()


@pytest.fixture
def claude(routerd: Daemon) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=routerd.url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.mark.parametrize(
    ("model", "path", "count"),
    [
        ("flash", f"{GEMINI_PLACE}gemini-3-flash:countTokens", 105),
        ("on-vertex", f"{VERTEX_PLACE}gemini-2.5-flash:countTokens", 105),
        ("claude", f"{CLAUDE_PLACE}count-tokens:rawPredict", 203),
    ],
)
def test_google_counts(claude: anthropic.Anthropic, google: GeminiProvider, model: str, path: str, count: int) -> None:
    told = claude.messages.count_tokens(model=model, messages=TURNS, system="Be brief.", tools=TOOLS)
    assert told.input_tokens == count
    assert google.received[-1].path == path


@pytest.mark.parametrize("model", ["inside", "vllm"])
def test_a_count_of_the_simulated_provider_is_what_its_usage_says(claude: anthropic.Anthropic, model: str) -> None:
    auto: Any = {"type": "auto"}
    told = claude.messages.count_tokens(model=model, messages=TURNS, system="Be brief.", tools=TOOLS, tool_choice=auto)
    answer = claude.messages.create(model=model, messages=TURNS, system="Be brief.", tools=TOOLS, max_tokens=9)
    assert told.input_tokens == answer.usage.input_tokens > 20


def test_the_schema_of_an_answer_and_a_choice_of_no_tools_count(claude: anthropic.Anthropic) -> None:
    asked: Any = {"model": "inside", "messages": HELLO, "tools": TOOLS}
    asked["output_config"] = {"format": {"type": "json_schema", "schema": PARAMETERS | {"additionalProperties": False}}}
    for choice in ("none", "auto"):
        asked["tool_choice"] = {"type": choice}
        told = claude.messages.count_tokens(**asked)
        answer: anthropic.types.Message = claude.messages.create(**asked, max_tokens=200)
        assert told.input_tokens == answer.usage.input_tokens


def test_openai_counts_by_its_responses_api(claude: anthropic.Anthropic) -> None:
    few = claude.messages.count_tokens(model="openai", messages=HELLO)
    more = claude.messages.count_tokens(model="openai", messages=TURNS, system="Be brief.", tools=TOOLS)
    answer = claude.messages.create(model="openai", messages=HELLO, max_tokens=9)
    assert answer.usage.input_tokens == few.input_tokens < more.input_tokens


def test_who_cannot_count_refuses_by_name(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="countless does not speak count_tokens"):
        claude.messages.count_tokens(model="countless", messages=HELLO)
    assert claude.messages.count_tokens(model="either", messages=HELLO).input_tokens > 0


async def test_a_count_is_in_the_ledger_and_costs_nothing(claude: anthropic.Anthropic, routerd: Daemon) -> None:
    claude.messages.count_tokens(model="flash", messages=HELLO, extra_headers={"X-Request-Id": "count"})
    row = await routerd.entry("count")
    assert (row["api"], row["status"], row["input_tokens"]) == ("count_tokens", 200, 0)
    assert (row["cost_nano"], row["estimated"]) == (0, 0)
