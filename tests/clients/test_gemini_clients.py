"""Real SDKs over the daemon to a provider of Google's shape, by the Gemini API and by Vertex.

Google's own client is used against the same provider, so that it is known to have that shape.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.clients.gemini_provider import (
    CLAUDE_PLACE,
    GEMINI_PLACE,
    LOCATION,
    PROJECT,
    SIGNATURE,
    TEXT_SIGNATURE,
    VERTEX_PLACE,
    GeminiProvider,
)
from tests.clients.gemini_provider import (
    KEY as GOOGLE_KEY,
)
from tests.daemon import Daemon, Workplace, settings

pytestmark = pytest.mark.process

HELLO: Any = [{"role": "user", "content": "Is the light on?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": PARAMETERS}}
OWN_TOOLS: Any = [{"name": name, "input_schema": PARAMETERS} for name in ("get_weather", "get_time")]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
TEXT = "The light is on. Ünder way."
BY_GEMINI, BY_VERTEX = "flash", "on-vertex"


@pytest.fixture(scope="module")
def provider() -> Iterator[GeminiProvider]:
    with GeminiProvider() as running:
        yield running


@pytest.fixture(scope="module")
def routerd(provider: GeminiProvider) -> Iterator[Daemon]:
    folder = Workplace()
    google = {"type": "gemini", "api_key": GOOGLE_KEY, "base_url": provider.origin}
    cloud = {
        "type": "vertex",
        "api_key": GOOGLE_KEY,
        "auth": "bearer",
        "project": PROJECT,
        "location": LOCATION,
        "base_url": provider.origin,
    }
    catalog = {
        BY_GEMINI: [{"provider": "google", "model": "gemini-3-flash-preview"}],
        BY_VERTEX: [{"provider": "cloud", "model": "gemini-2.5-flash"}],
        "claude": [{"provider": "cloud", "model": "claude-sonnet-4-5"}],
        **{name: [{"provider": "google", "model": name}] for name in ("busy", "blocked", "cut")},
        "keyless": [{"provider": "stranger", "model": "gemini-2.5-flash"}],
    }
    providers = {"google": google, "cloud": cloud, "stranger": google | {"api_key": "another-key"}}
    with Daemon(folder, settings(providers, catalog)) as running:
        yield running
    folder.remove()


@pytest.mark.parametrize(
    ("alias", "place", "model"),
    [(BY_GEMINI, GEMINI_PLACE, "gemini-3-flash-preview"), (BY_VERTEX, VERTEX_PLACE, "gemini-2.5-flash")],
)
def test_a_chat_answer_with_usage_that_counts_the_cache_once(
    chat: Any, provider: GeminiProvider, alias: str, place: str, model: str
) -> None:
    answer = chat.chat.completions.create(model=alias, messages=HELLO, max_tokens=30)
    assert answer.choices[0].message.content == TEXT and answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (12, 8, 20)
    assert (usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens) == (2, 3)
    assert answer.model == model and answer.created > 1_700_000_000
    sent = provider.received[-1]
    assert sent.path == f"{place}{model}:generateContent"
    asked = [{"role": "user", "parts": [{"text": "Is the light on?"}]}]
    assert sent.body == {"contents": asked, "generationConfig": {"maxOutputTokens": 30}}


@pytest.mark.parametrize("alias", [BY_GEMINI, BY_VERTEX])
def test_a_chat_stream(chat: Any, provider: GeminiProvider, alias: str) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    with chat.chat.completions.create(model=alias, messages=HELLO, **asked) as stream:
        chunks = list(stream)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == TEXT
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (12, 8)
    assert provider.received[-1].path.endswith(":streamGenerateContent?alt=sse")


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_and_the_turn_with_their_results(chat: Any, provider: GeminiProvider, *, streamed: bool) -> None:
    asked: Any = {"model": BY_GEMINI, "messages": HELLO, "tools": [TOOL, CLOCK], "tool_choice": "required"}
    if streamed:
        with chat.chat.completions.stream(**asked) as stream:
            for _ in stream:
                pass
            choice = stream.get_final_completion().choices[0]
    else:
        choice = chat.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].function.arguments) == {"city": "Genoa"}
    assert provider.received[-1].body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in reversed(calls)]
    again = chat.chat.completions.create(
        model=BY_GEMINI, messages=[*HELLO, choice.message.to_dict(), *results], tools=[TOOL, CLOCK]
    )
    assert again.choices[0].message.content == TEXT
    said, answered = provider.received[-1].body["contents"][1:]
    assert [part.get("thoughtSignature") for part in said["parts"]] == [SIGNATURE, None]
    assert [part["functionResponse"]["response"] for part in answered["parts"]] == [
        {"output": "get_weather"},
        {"output": "get_time"},
    ]


def test_vision_and_a_form_for_the_answer(chat: Any, provider: GeminiProvider) -> None:
    class Tower(BaseModel):
        name: str
        height_m: int

    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    seen: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    assert chat.chat.completions.create(model=BY_GEMINI, messages=seen).choices[0].message.content == "I see 48 bytes."
    answer = chat.chat.completions.parse(model=BY_GEMINI, messages=HELLO, response_format=Tower)
    assert answer.choices[0].message.parsed == Tower(name="Pharos", height_m=103)
    config = provider.received[-1].body["generationConfig"]
    assert config["responseJsonSchema"]["required"] == ["name", "height_m"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_messages_caller_thinks_calls_and_goes_on(claude: Any, provider: GeminiProvider, *, streamed: bool) -> None:
    asked: Any = {
        "model": BY_GEMINI,
        "max_tokens": 3000,
        "messages": HELLO,
        "tools": OWN_TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    if streamed:
        with claude.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = claude.messages.create(**asked)
    assert message.stop_reason == "tool_use" and message.content[0].thinking == "Let me see."
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Genoa"}] * 2
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (10, 2, 8)
    assert provider.received[-1].body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "LOW"
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny"} for call in calls]
    said = [block.to_dict() for block in message.content]
    turns = [*HELLO, {"role": "assistant", "content": said}, {"role": "user", "content": results}]
    again = claude.messages.create(**asked | {"messages": turns, "thinking": {"type": "disabled"}})
    assert [block.text for block in again.content if block.type == "text"] == [TEXT]
    told = provider.received[-1].body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in told if "functionCall" in part] == [SIGNATURE, None]
    turns += [{"role": "assistant", "content": [block.to_dict() for block in again.content]}, *HELLO]
    claude.messages.create(**asked | {"messages": turns})
    assert TEXT_SIGNATURE in json.dumps(provider.received[-1].body["contents"][3])


@pytest.mark.parametrize("streamed", [False, True])
def test_claude_on_vertex_answers_callers_of_both(
    claude: Any, chat: Any, provider: GeminiProvider, *, streamed: bool
) -> None:
    if streamed:
        with claude.messages.stream(model="claude", max_tokens=20, messages=HELLO) as stream:
            message = stream.get_final_message()
    else:
        message = claude.messages.create(model="claude", max_tokens=20, messages=HELLO)
    assert message.content[0].text == "Bonjour" and message.usage.cache_read_input_tokens == 1
    operation = "streamRawPredict" if streamed else "rawPredict"
    assert provider.received[-1].path == f"{CLAUDE_PLACE}claude-sonnet-4-5:{operation}"
    answer = chat.chat.completions.create(model="claude", messages=HELLO)
    assert answer.choices[0].message.content == "Bonjour" and answer.usage.prompt_tokens == 10


def test_refusals_come_in_the_callers_words(chat: Any, claude: Any) -> None:
    with pytest.raises(openai.RateLimitError):
        chat.chat.completions.create(model="busy", messages=HELLO)
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(model="busy", max_tokens=9, messages=HELLO)
    with pytest.raises(openai.BadRequestError) as wrong:
        chat.chat.completions.create(model=BY_GEMINI, messages=HELLO, logit_bias={"5": 1})
    assert wrong.value.param == "logit_bias"
    with pytest.raises(openai.APIStatusError):
        chat.chat.completions.create(model="keyless", messages=HELLO)


def test_a_blocked_prompt_is_a_filtered_answer(chat: Any, claude: Any) -> None:
    assert chat.chat.completions.create(model="blocked", messages=HELLO).choices[0].finish_reason == "content_filter"
    with claude.messages.stream(model="blocked", max_tokens=9, messages=HELLO) as stream:
        assert stream.get_final_message().stop_reason == "refusal"


def test_a_stream_that_is_cut_never_looks_finished(chat: Any) -> None:
    heard: list[Any] = []
    with pytest.raises(openai.APIError), chat.chat.completions.create(model="cut", messages=HELLO, stream=True) as stream:
        heard += stream
    assert heard and not any(choice.finish_reason for chunk in heard for choice in chunk.choices)


def test_what_was_not_told_is_named_in_a_header(chat: Any) -> None:
    raw = chat.chat.completions.with_raw_response.create(model=BY_GEMINI, messages=HELLO, user="u", verbosity="low")
    assert set(raw.headers["x-router-dropped"].replace(" ", "").split(",")) == {"user", "verbosity"}


def test_googles_own_client_knows_the_provider_as_googles(provider: GeminiProvider) -> None:
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    client = genai.Client(api_key=GOOGLE_KEY, http_options={"base_url": provider.origin})
    assert client.models.generate_content(model="gemini-2.5-flash", contents="x").text == TEXT
    stream = client.models.generate_content_stream(model="gemini-2.5-flash", contents="x")
    assert "".join(chunk.text or "" for chunk in stream) == TEXT
