"""What each provider is asked where a Messages caller wants a count, and how its answer is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from router.config.provider_types import PROVIDER_TYPES, default_apis, translated_apis
from router.domain.errors import UnsupportedFeature
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Candidate, Credential, ProviderSpec, Target, Timeouts
from router.domain.upstream import UpstreamCall
from router.domain.usage import NOTHING
from router.providers.registry import bind
from router.providers.translation import TranslatedRequest
from tests.gateway.fakes import ScriptedTransport

EXCHANGES = Path(__file__).parents[3] / "shared" / "exchanges"
HELLO = [{"role": "user", "content": "Is the light on?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"name": "weather", "description": "Of a city.", "input_schema": SCHEMA}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
Asked = tuple[UpstreamCall, TranslatedRequest]


def ask(kind: str, model: str, *, deployment: str = "", base: str = "http://h", headers: Any = None, **fields: Any) -> Asked:
    """A provider of the type as it is where the file says nothing of its APIs."""
    apis = default_apis(PROVIDER_TYPES[kind], "")
    spec = ProviderSpec("p", kind, base, (Credential("p#1", "k"),), apis=apis, translates=translated_apis(apis))
    target = Target("p/m", "p", model, deployment=deployment)
    candidate = Candidate(target, Alias("a", Kind.CHAT, (target,)), model, "")
    body = json.dumps({"model": "a", "messages": HELLO} | fields).encode()
    call, made = bind(spec, ScriptedTransport()).prepare(
        candidate,
        parse_request(Api.COUNT_TOKENS, body),
        spec.credentials[0],
        forwarded=headers or {},
        timeouts=Timeouts(),
        total_s=9.0,
    )
    assert made is not None
    return call, made


def said(asked: Asked) -> Any:
    assert isinstance(asked[0].body, bytes)
    return json.loads(asked[0].body)


def test_gemini_counts_the_whole_request_in_a_wrapper_that_names_the_model() -> None:
    asked = ask("gemini", "models/gemini-3-flash", system="Be brief.", tools=TOOLS, tool_choice={"type": "any"})
    assert asked[0].to.url == "http://h/v1beta/models/gemini-3-flash:countTokens"
    wrapped = said(asked)["generateContentRequest"]
    assert said(asked).keys() == {"generateContentRequest"}
    assert wrapped.keys() == {"model", "contents", "systemInstruction", "tools", "toolConfig"}
    assert wrapped["model"] == "models/gemini-3-flash"
    tuned = ask("gemini", "tunedModels/mine")
    assert tuned[0].to.url == "http://h/v1beta/tunedModels/mine:countTokens"
    assert said(tuned)["generateContentRequest"]["model"] == "tunedModels/mine"


def test_vertex_counts_without_a_wrapper_and_is_not_told_of_the_choice_among_tools() -> None:
    asked = ask("vertex", "gemini-2.5-flash", system="Be brief.", tools=TOOLS, tool_choice={"type": "any"})
    assert asked[0].to.url.endswith("/publishers/google/models/gemini-2.5-flash:countTokens")
    assert said(asked).keys() == {"contents", "systemInstruction", "tools"}
    assert asked[1].dropped == ("tool_choice",)
    assert ask("vertex", "gemini-2.5-flash")[1].dropped == ()
    tuned = ask("vertex", "gemini-2.5-flash", deployment="123")
    assert tuned[0].to.url.endswith("/endpoints/123:countTokens")


def test_what_vertex_has_cached_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        ask("vertex", "gemini-2.5-flash", cached_content="cachedContents/1")
    assert caught.value.param == "cached_content" and "p/m" in caught.value.message


def test_claude_on_vertex_counts_in_the_callers_own_words() -> None:
    own: dict[str, Any] = {
        "tools": [{"type": "bash_20250124", "name": "bash"}],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    }
    asked = ask("vertex", "claude-sonnet-4-5@20250929", headers={"anthropic-beta": "b-1"}, **own)
    assert asked[0].to.url.endswith("/publishers/anthropic/models/count-tokens:rawPredict")
    version = {"anthropic_version": "vertex-2023-10-16"}
    assert said(asked) == version | {"model": "claude-sonnet-4-5@20250929", "messages": HELLO} | own
    assert asked[0].headers["anthropic-beta"] == "b-1"
    assert json.loads(asked[1].answer(b'{"input_tokens": 7}', 0)[0]) == {"input_tokens": 7}


def test_openai_counts_the_request_as_responses_has_it() -> None:
    asked = ask("openai", "gpt-5-mini", base="http://h/v1", system="Be brief.", tools=TOOLS, tool_choice={"type": "any"})
    assert asked[0].to.url == "http://h/v1/responses/input_tokens"
    assert said(asked).keys() == {"model", "input", "instructions", "tools", "tool_choice"}
    assert said(asked)["tools"][0]["name"] == "weather"


def test_vllm_is_asked_beside_its_v1_for_what_its_template_is_given() -> None:
    choice = {"type": "tool", "name": "weather"}
    asked = ask("vllm", "qwen", base="http://h/v1", system="Be brief.", tools=TOOLS, tool_choice=choice)
    assert asked[0].to.url == "http://h/tokenize"
    assert said(asked).keys() == {"model", "messages", "tools"}
    assert json.loads(asked[1].answer(b'{"count": 3, "max_model_len": 9, "tokens": [1, 2, 3]}', 0)[0]) == {"input_tokens": 3}


def test_vllm_counts_no_images() -> None:
    pictured = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]
    with pytest.raises(UnsupportedFeature) as caught:
        ask("vllm", "qwen", messages=pictured)
    assert caught.value.param == "messages[0].content"


@pytest.mark.parametrize("kind", ["azure-openai", "groq", "mistral", "cohere", "huggingface", "ollama", "openai-compatible"])
def test_nobody_counts_who_has_no_count(kind: str) -> None:
    apis = default_apis(PROVIDER_TYPES[kind], "v1")
    assert Api.COUNT_TOKENS not in apis | translated_apis(apis)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"totalTokens": -1}', b'{"totalTokens": "9"}', b'{"totalTokens": true}', b'{"count": 9}']
)
def test_what_is_no_count_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ValueError, match="no count"):
        ask("gemini", "gemini-3-flash")[1].answer(answer, 0)


def test_a_refusal_is_told_in_anthropics_envelope() -> None:
    told = {"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}}
    refused = json.loads(ask("gemini", "x")[1].refusal(404, json.dumps(told).encode()))
    assert refused["type"] == "error" and "models/x is not found" in refused["error"]["message"]


def test_recorded_counts_of_googles_are_read_and_asked_as_they_were() -> None:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    paths = sorted(p for kind in ("gemini", "vertex") for p in (EXCHANGES / kind / f"{kind}.countTokens").glob("*.json"))
    assert paths
    for path in paths:
        recorded = json.loads(path.read_text())
        wrapped = recorded["request"]["json"]
        theirs = wrapped.get("generateContentRequest", wrapped)
        fields: dict[str, Any] = {"messages": [_turn(content) for content in theirs["contents"]]}
        system = "".join(part["text"] for part in _parts(theirs.get("systemInstruction", {})))
        asked = ask(recorded["provider"], recorded["model"], **fields | ({"system": system} if system else {}))
        assert asked[0].to.url.rpartition("/")[2] == recorded["request"]["url"].rpartition("/")[2]
        ours = said(asked).get("generateContentRequest", said(asked))
        assert ours["contents"] == theirs["contents"], path.name
        assert [part["text"] for part in _parts(ours.get("systemInstruction", {}))] == ([system] if system else [])
        assert ours.get("model") == theirs.get("model") or "generateContentRequest" not in wrapped
        body = recorded["response"]["body_text"].encode()
        answer, usage = asked[1].answer(body, 0)
        assert (json.loads(answer), usage) == ({"input_tokens": json.loads(body)["totalTokens"]}, NOTHING)


def _turn(content: dict[str, Any]) -> dict[str, Any]:
    return {"role": content["role"], "content": [{"type": "text", "text": part["text"]} for part in content["parts"]]}


def _parts(content: dict[str, Any]) -> list[Any]:
    parts = content.get("parts", [])
    return parts if isinstance(parts, list) else [parts]
