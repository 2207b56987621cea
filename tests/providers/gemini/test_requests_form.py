"""What callers want of the answer, in Gemini's words: every field has its place, or is refused or dropped by name."""

import json
from typing import Any

import msgspec
import pytest

from router.providers.anthropic.codec import ANTHROPIC
from router.providers.gemini.codec import CLAUDE_ON_VERTEX
from tests.providers.gemini.asking import ON_VERTEX, OTHER, SCHEMA, TOOL, USER, config, encoded, of_messages, refused, told

# -- tools ----------------------------------------------------------------------------------------------------


def calling(choice: Any, tools: tuple[Any, ...] = (TOOL, OTHER)) -> Any:
    found = told(tools=list(tools), tool_choice=choice)
    names = [one["name"] for one in found["tools"][0]["functionDeclarations"]]
    return found["toolConfig"]["functionCallingConfig"], names


def test_functions_are_declared_by_their_json_schema() -> None:
    assert told(tools=[TOOL, OTHER])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA},
                {"name": "time", "description": ""},
            ]
        }
    ]


def test_each_choice_of_tools_has_its_mode() -> None:
    both = ["weather", "time"]
    some = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}
    forced = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}}
    named = {"type": "function", "function": {"name": "time"}}
    assert calling("auto") == ({"mode": "AUTO"}, both)
    assert calling("none") == ({"mode": "NONE"}, both)
    assert calling("required") == ({"mode": "ANY"}, both)
    assert calling(named) == ({"mode": "ANY", "allowedFunctionNames": ["time"]}, both)
    assert calling(some) == ({"mode": "AUTO"}, ["time"])
    assert calling(forced) == ({"mode": "ANY", "allowedFunctionNames": ["time"]}, both)


def test_one_call_at_a_time_is_refused_where_there_may_be_one() -> None:
    assert refused(tools=[TOOL], parallel_tool_calls=False) == "parallel_tool_calls"
    assert "tools" in told(tools=[TOOL], parallel_tool_calls=False, tool_choice="none")
    assert "tools" not in told(parallel_tool_calls=False)


def test_tools_that_others_run_are_refused() -> None:
    assert refused(tools=[{"type": "web_search"}]) == "tools[0]"
    assert refused(tools=[{"type": "custom", "custom": {"name": "x"}}]) == "tools[0]"


# -- the answer's form ----------------------------------------------------------------------------------------


def test_sampling_has_geminis_names() -> None:
    asked: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "seed": 7,
        "stop": ["END"],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "max_completion_tokens": 50,
    }
    assert config(**asked) == {
        "temperature": 0.5,
        "topP": 0.9,
        "candidateCount": 2,
        "stopSequences": ["END"],
        "presencePenalty": 0.2,
        "frequencyPenalty": 0.1,
        "seed": 7,
        "responseLogprobs": True,
        "logprobs": 3,
        "maxOutputTokens": 50,
    }
    assert of_messages(top_k=5)["generationConfig"]["topK"] == 5


def test_a_schema_goes_as_it_stands() -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    assert config(response_format=asked) == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config(response_format={"type": "text"}) == {}


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("gemini-2.5-flash", {"reasoning_effort": "low"}, {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128}),
        (
            "gemini-2.5-pro",
            {"thinking": {"type": "enabled", "budget_tokens": 64000}},
            {"includeThoughts": True, "thinkingBudget": 32768},
        ),
        ("gemini-2.5-flash", {"thinking": {"type": "enabled"}}, {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-3-flash-preview", {"reasoning_effort": "minimal"}, {"includeThoughts": True, "thinkingLevel": "MINIMAL"}),
        ("gemini-3.1-pro-preview", {"reasoning_effort": "minimal"}, {"includeThoughts": True, "thinkingLevel": "LOW"}),
        ("gemini-3.1-pro-preview", {"reasoning_effort": "xhigh"}, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        (
            "gemini-3.6-flash",
            {"thinking": {"type": "enabled", "budget_tokens": 4000}},
            {"includeThoughts": True, "thinkingLevel": "MEDIUM"},
        ),
        ("gemini-flash-latest", {"reasoning_effort": "high"}, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-flash-preview", {"thinking": {"type": "disabled"}}, {"thinkingLevel": "MINIMAL"}),
    ],
)
def test_how_much_to_think_is_said_as_the_model_knows_it(
    model: str, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert config(model, **asked)["thinkingConfig"] == expected


def test_a_model_that_does_not_think_is_not_asked_to() -> None:
    found, dropped = encoded("gemini-2.0-flash", reasoning_effort="high")
    assert "generationConfig" not in found and dropped == {"reasoning_effort"}


def test_thoughts_that_a_caller_wants_omitted_are_not_asked_for() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}
    found = of_messages(thinking=thinking)["generationConfig"]["thinkingConfig"]
    assert found == {"includeThoughts": False, "thinkingBudget": 2000}


def test_speech_and_images_are_asked_for() -> None:
    spoken = config(modalities=["text", "audio"], audio={"voice": "Kore", "format": "pcm16"})
    assert spoken == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }
    assert config(modalities=["text", "image"]) == {"responseModalities": ["TEXT", "IMAGE"]}
    assert config(modalities=["text"]) == {}
    assert refused(modalities=["text", "audio"], audio={"voice": "Kore", "format": "mp3"}) == "audio.format"


# -- the rest -------------------------------------------------------------------------------------------------


def test_tiers_are_of_the_gemini_api() -> None:
    assert told(service_tier="flex")["serviceTier"] == "flex"
    assert told(service_tier="default")["serviceTier"] == "standard"
    assert "serviceTier" not in told(service_tier="auto")
    assert "serviceTier" not in told(codec=ON_VERTEX, service_tier="default")
    assert refused(codec=ON_VERTEX, service_tier="priority") == "service_tier"
    assert refused(service_tier="scale") == "service_tier"


@pytest.mark.parametrize(("field", "value"), [("logit_bias", {"5": 1}), ("web_search_options", {}), ("frobnicate", 1)])
def test_what_gemini_has_no_word_for_is_refused_by_name(field: str, value: Any) -> None:
    assert refused(**{field: value}) == field


def test_what_changes_nothing_is_dropped_by_name() -> None:
    _, dropped = encoded(
        "gemini-2.5-flash",
        user="u",
        metadata={"a": "b"},
        store=True,
        prompt_cache_key="k",
        verbosity="low",
        tools=[TOOL | {"function": TOOL["function"] | {"strict": True}}],
        messages=[USER | {"name": "Ann"}],
    )
    assert dropped == {*("user", "metadata", "store", "prompt_cache_key", "verbosity", "strict", "speaker's name")}


def test_geminis_own_fields_pass() -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert told(safety_settings=safety)["safetySettings"] == safety
    assert told(cached_content="cachedContents/x")["cachedContent"] == "cachedContents/x"


def test_claude_on_vertex_is_told_its_version_and_no_model() -> None:
    asked = {"model": "a", "max_tokens": 9, "messages": [USER], "stream": True, "top_k": 3}
    query = ANTHROPIC.decode_query(msgspec.json.encode(asked))
    assert json.loads(CLAUDE_ON_VERTEX.encode_query(query, "claude-sonnet-4-5@20250929", "p/m").body) == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 9,
        "messages": [USER],
        "stream": True,
        "top_k": 3,
    }
