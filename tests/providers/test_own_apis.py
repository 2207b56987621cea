"""Providers with APIs of their own, bound as a file would: where each is called, in whose words, with what credential."""

import json
from typing import Any

import msgspec
import pytest

from router.config.provider_types import translated_apis
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Candidate, Credential, ProviderSpec, Target, Timeouts
from router.domain.upstream import UpstreamCall
from router.providers.registry import bind
from tests.gateway.fakes import ScriptedTransport

COHERE = frozenset({Api.COHERE_CHAT})
OLLAMA = frozenset({Api.OLLAMA_CHAT})
OPENAI = frozenset({Api.CHAT, Api.COMPLETIONS, Api.EMBEDDINGS})
HELLO: dict[str, Any] = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def call(kind: str, base_url: str, apis: frozenset[Api], api: Api = Api.CHAT) -> UpstreamCall:
    target = Target("p/m", "p", "m")
    bound = bind(ProviderSpec("p", kind, base_url, apis=apis, translates=translated_apis(apis)), ScriptedTransport())
    return bound.prepare(
        Candidate(target, Alias("a", Kind.CHAT, (target,)), "m", ""),
        parse_request(api, msgspec.json.encode(HELLO)),
        Credential("k", "secret"),
        forwarded={"anthropic-version": "2023-06-01"},
        timeouts=Timeouts(),
        total_s=9.0,
    )[0]


def sent(made: UpstreamCall) -> Any:
    assert isinstance(made.body, bytes)
    return json.loads(made.body)


@pytest.mark.parametrize("api", [Api.CHAT, Api.MESSAGES])
@pytest.mark.parametrize("base", ["https://h.test", "https://h.test/", "https://h.test/v1", "https://h.test/v2"])
def test_cohere_is_called_at_version_two_whoever_asks(base: str, api: Api) -> None:
    made = call("cohere", base, COHERE, api)
    assert made.to.url == "https://h.test/v2/chat"
    assert made.headers["authorization"] == "Bearer secret"
    assert "anthropic-version" not in made.headers
    assert sent(made) == HELLO | {"model": "m", "stream": False}


@pytest.mark.parametrize("base", ["http://h.test:11434", "http://h.test:11434/", "http://h.test:11434/v1"])
def test_ollama_is_called_at_its_openai_route_or_at_its_own(base: str) -> None:
    assert call("ollama", base, OPENAI).to.url == "http://h.test:11434/v1/chat/completions"
    assert call("ollama", base, OPENAI, Api.MESSAGES).to.url == "http://h.test:11434/v1/chat/completions"
    for api in (Api.CHAT, Api.MESSAGES):
        made = call("ollama", base, OLLAMA, api)
        assert made.to.url == "http://h.test:11434/api/chat"
        assert sent(made)["options"] == {"num_predict": 9}


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://router.huggingface.co/v1", "https://router.huggingface.co/v1/chat/completions"),
        ("https://router.huggingface.co/together/v1", "https://router.huggingface.co/together/v1/chat/completions"),
        ("https://x.endpoints.test", "https://x.endpoints.test/v1/chat/completions"),
        ("https://x.endpoints.test/v1/", "https://x.endpoints.test/v1/chat/completions"),
    ],
)
def test_hugging_face_is_called_at_its_router_or_at_an_endpoint(base: str, url: str) -> None:
    assert call("huggingface", base, frozenset({Api.CHAT})).to.url == url


@pytest.mark.parametrize("kind", ["mistral", "groq"])
def test_a_chat_callers_own_words_pass_to_those_who_speak_with_an_accent(kind: str) -> None:
    made = call(kind, "https://h.test/v1", frozenset({Api.CHAT}))
    assert made.body == msgspec.json.encode(HELLO | {"model": "m"})


@pytest.mark.parametrize(("kind", "cap"), [("mistral", "max_tokens"), ("groq", "max_completion_tokens")])
def test_a_messages_callers_words_are_said_in_their_accent(kind: str, cap: str) -> None:
    made = call(kind, "https://h.test/v1", frozenset({Api.CHAT}), Api.MESSAGES)
    assert sent(made) == {"model": "m", "messages": HELLO["messages"], cap: 9}
