"""Every recorded request of OpenAI's and Anthropic's callers: in words that Google's own SDK knows, or refused by name."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from router.domain.chat import ChatQuery, Reasoning, Text, ToolCall, ToolResult
from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.domain.routes import ProviderSpec
from router.providers.lanes import lane_of
from router.providers.openai_chat_codec.accents import COMPATIBLE
from router.providers.translated import Translated
from tests.providers.gemini.recordings import EXCHANGES

types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")

KINDS = {"gemini": "gemini", "vertex": "vertex"}
FOLDERS = {
    Api.CHAT: ("*/*.chat", "messages"),
    Api.MESSAGES: ("anthropic/anthropic.messages", "messages"),
    Api.RESPONSES: ("*/*.responses", "input"),
}
MODELS = ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.1-pro-preview")


def requests(api: Api) -> list[dict[str, Any]]:
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    pattern, needed = FOLDERS[api]
    paths = sorted(path for folder in EXCHANGES.glob(pattern) for path in folder.glob("*.json"))
    sent = ((json.loads(path.read_text()).get("request") or {}).get("json") for path in paths)
    return [body for body in sent if isinstance(body, dict) and body.get(needed)]


def lane(api: Api, kind: str) -> Translated:
    spec = ProviderSpec("p", kind, "https://p.test", apis=frozenset({Api.GENERATE_CONTENT}))
    found = lane_of(api, spec, COMPATIBLE).translated
    assert isinstance(found, Translated)
    return found


def assert_known(body: dict[str, Any]) -> None:
    """Google's SDK knows every member, and its type."""
    known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier", "safetySettings"}
    assert body.keys() <= known and body["contents"]
    for content in [*body["contents"], *([body["systemInstruction"]] if "systemInstruction" in body else [])]:
        types.Content.model_validate_json(json.dumps(content))
        assert content["parts"]
    for tool in body.get("tools", []):
        types.Tool.model_validate_json(json.dumps(tool))
    types.ToolConfig.model_validate_json(json.dumps(body.get("toolConfig", {})))
    types.GenerationConfig.model_validate_json(json.dumps(body.get("generationConfig", {})))


def assert_answered(body: dict[str, Any]) -> None:
    """What answers one turn's calls is one content of as many results, right behind it."""
    for content, behind in zip(body["contents"], [*body["contents"][1:], None], strict=True):
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        results = [p["functionResponse"] for p in behind["parts"] if "functionResponse" in p] if behind else []
        if calls and results:
            assert content["role"] == "model" and behind["role"] == "user"
            assert sorted(call["name"] for call in calls) == sorted(result["name"] for result in results)
            assert len(results) == len(behind["parts"])


def said(query: ChatQuery) -> Counter[str]:
    """Every text, call and result that the model must be told."""
    told: Counter[str] = Counter()
    for turn in query.turns:
        for part in turn.parts:
            if isinstance(part, Text) and part.text:
                told[part.text] += 1
            elif isinstance(part, ToolCall):
                told[f"call {part.name} {json.dumps(json.loads(part.arguments or '{}'), sort_keys=True)}"] += 1
            elif isinstance(part, ToolResult):
                told[f"result {part.call_id}"] += 1
    return told


def told_of(body: dict[str, Any]) -> Counter[str]:
    told: Counter[str] = Counter()
    for content in [*body["contents"], body.get("systemInstruction", {"parts": []})]:
        for part in content["parts"]:
            if "functionCall" in part:
                call = part["functionCall"]
                told[f"call {call['name']} {json.dumps(call['args'], sort_keys=True)}"] += 1
            elif "functionResponse" in part:
                told[f"result {part['functionResponse']['id']}"] += 1
            elif part.get("text"):
                told[part["text"]] += 1
    return told


@pytest.mark.parametrize("kind", ["gemini", "vertex"])
@pytest.mark.parametrize(("api", "least"), [(Api.CHAT, 0.9), (Api.MESSAGES, 0.8), (Api.RESPONSES, 0.6)])
def test_a_recorded_request_is_told_whole_or_refused_by_name(api: Api, least: float, kind: str) -> None:
    told, refused, wrong = 0, Counter[str](), 0
    over = lane(api, kind)
    for number, sent in enumerate(requests(api)):
        model = MODELS[number % len(MODELS)]
        request = parse_request(api, msgspec.json.encode(sent))
        try:
            body = json.loads(over.translation(request, model, "p/m").body)
        except UnsupportedFeature as error:
            refused[f"{error.param}: {error.message}"] += 1
            continue
        except InvalidRequest:
            wrong += 1
            continue
        told += 1
        assert_known(body)
        assert_answered(body)
        if kind == "gemini" and api is not Api.RESPONSES:
            query = over.caller.decode_query(request.body)
            missing = said(query) - told_of(body)
            documents = [text for text in missing if not text.startswith(("call ", "result "))]
            assert not missing - Counter(documents), missing
            assert all(any(text in have for have in told_of(body)) for text in documents), missing
    assert not [message for message in refused if message.startswith("None") or "p/m" not in message]
    assert told >= least * (told + sum(refused.values())), refused
    assert wrong <= 4


def test_thoughts_of_another_family_are_never_told_as_words() -> None:
    over = lane(Api.MESSAGES, "gemini")
    found = 0
    for sent in requests(Api.MESSAGES):
        request = parse_request(Api.MESSAGES, msgspec.json.encode(sent))
        try:
            translation = over.translation(request, "gemini-2.5-flash", "p/m")
        except UnsupportedFeature:
            continue
        query = over.caller.decode_query(request.body)
        thoughts = [part for turn in query.turns for part in turn.parts if isinstance(part, Reasoning)]
        if thoughts:
            found += 1
            assert "reasoning" in translation.dropped
            assert not any(thought.text and thought.text.encode() in translation.body for thought in thoughts)
    assert found
