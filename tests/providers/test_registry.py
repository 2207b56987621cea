"""URLs, headers and bodies per provider type."""

import json
from typing import Any

import pytest

from router.config.provider_types import PROVIDER_TYPES, translated_apis
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Candidate, Credential, ProviderSpec, Target, Timeouts
from router.domain.upstream import UpstreamAnswer, UpstreamCall
from router.providers.registry import BoundProvider, bind

KEY = Credential("main", "secret-key")


class NoTransport:
    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        raise AssertionError(call)

    async def close(self) -> None: ...


def provider(
    kind: str, base_url: str, *, version: str = "", headers: tuple[tuple[str, str], ...] = (), stream_usage: bool = True
) -> BoundProvider:
    spec = ProviderSpec(
        "p", kind, base_url, (KEY,), api_version=version, headers=headers, ca_file="/ca.pem", stream_usage=stream_usage
    )
    return bind(spec, NoTransport())


def candidate(model: str = "m", deployment: str = "", upstream: str = "") -> Candidate:
    target = Target("p/m", "p", model, deployment=deployment)
    return Candidate(target, Alias("a", Kind.CHAT, (target,)), upstream or model, "")


def call(
    bound: BoundProvider, to: Candidate, *, api: Api = Api.CHAT, body: bytes = b'{"model":"a"}', **forwarded: str
) -> UpstreamCall:
    told = {name.replace("_", "-"): value for name, value in forwarded.items()}
    return bound.prepare(to, parse_request(api, body), KEY, forwarded=told, timeouts=Timeouts(), total_s=9.0)[0]


def said(prepared: UpstreamCall) -> Any:
    assert isinstance(prepared.body, bytes)
    return json.loads(prepared.body)


@pytest.mark.parametrize("kind", sorted(PROVIDER_TYPES))
def test_whatever_a_provider_can_be_asked_has_a_url(kind: str) -> None:
    for apis in {frozenset({api}) for api in PROVIDER_TYPES[kind].apis}:
        spec = ProviderSpec("p", kind, "http://h", (KEY,), api_version="v1", apis=apis, translates=translated_apis(apis))
        bound = bind(spec, NoTransport())
        for api in (*bound.dialects, *(lane.spoken for lane in bound.lanes.values())):
            assert bound.route.url(api, candidate()).startswith("http://h")


@pytest.mark.parametrize("base", ["http://h", "http://h/", "http://h/v1", "http://h/v1/"])
@pytest.mark.parametrize(("api", "path"), [(Api.MESSAGES, "/v1/messages"), (Api.COUNT_TOKENS, "/v1/messages/count_tokens")])
def test_anthropic_is_called_as_its_sdks_call_it(base: str, api: Api, path: str) -> None:
    prepared = call(provider("anthropic", base), candidate(), api=api)
    assert (prepared.to.url, said(prepared)) == ("http://h" + path, {"model": "m"})
    assert prepared.headers == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
        "x-api-key": "secret-key",
    }


def test_the_version_of_the_api_is_the_files_else_the_callers_else_the_first() -> None:
    plain, pinned = (provider("anthropic", "http://h", headers=h) for h in ((), (("Anthropic-Version", "pinned"),)))
    probes = [each.probe_call().headers["anthropic-version"] for each in (plain, pinned)]
    calls = [call(each, candidate(), api=Api.MESSAGES, anthropic_version="c") for each in (plain, pinned)]
    assert [*probes, *(each.headers["anthropic-version"] for each in calls)] == ["2023-06-01", "pinned", "c", "pinned"]


def test_anthropics_key_goes_as_a_bearer_where_the_file_says_so() -> None:
    spec = ProviderSpec("p", "anthropic", "http://h", (KEY,), sends_bearer=True)
    headers = call(bind(spec, NoTransport()), candidate(), api=Api.MESSAGES).headers
    assert headers["authorization"] == "Bearer secret-key"
    assert "x-api-key" not in headers


def test_under_a_hard_budget_a_message_without_a_cap_gets_one() -> None:
    request = parse_request(Api.MESSAGES, b'{"model":"a"}')
    bound = provider("anthropic", "http://h")
    prepared, _ = bound.prepare(candidate(), request, KEY, forwarded={}, timeouts=Timeouts(), total_s=9.0, cap=50)
    assert said(prepared) == {"model": "m", "max_tokens": 50}


@pytest.mark.parametrize("kind", ["openai", "openai-compatible", "groq", "mistral", "ollama", "vllm", "huggingface"])
@pytest.mark.parametrize("base", ["http://h/v1", "http://h/v1/"])
def test_a_compatible_provider_is_called_below_its_base_url_with_a_bearer(kind: str, base: str) -> None:
    prepared = call(provider(kind, base), candidate())
    assert (prepared.to.method, prepared.to.url, prepared.to.ca_file) == ("POST", "http://h/v1/chat/completions", "/ca.pem")
    assert prepared.headers == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer secret-key",
    }
    assert said(prepared) == {"model": "m"}


@pytest.mark.parametrize(
    ("api", "path"),
    [
        (Api.CHAT, "/chat/completions"),
        (Api.COMPLETIONS, "/completions"),
        (Api.RESPONSES, "/responses"),
        (Api.EMBEDDINGS, "/embeddings"),
        (Api.MODERATIONS, "/moderations"),
    ],
)
def test_every_api_has_its_path(api: Api, path: str) -> None:
    assert call(provider("openai", "http://h/v1"), candidate(), api=api).to.url == f"http://h/v1{path}"


@pytest.mark.parametrize(
    "endpoint", ["https://r.example", "https://r.example/", "https://r.example/openai", "https://r.example/openai/v1/"]
)
def test_azure_names_the_deployment_in_the_path_of_a_dated_version(endpoint: str) -> None:
    prepared = call(provider("azure-openai", endpoint, version="2024-10-21"), candidate(deployment="my dep"))
    assert prepared.to.url == "https://r.example/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21"
    assert prepared.headers["api-key"] == "secret-key"
    assert "authorization" not in prepared.headers


def test_azure_responses_name_the_deployment_in_the_body() -> None:
    bound = provider("azure-openai", "https://r.example", version="2025-03-01-preview")
    prepared = call(bound, candidate(deployment="dep"), api=Api.RESPONSES)
    assert prepared.to.url == "https://r.example/openai/responses?api-version=2025-03-01-preview"
    assert said(prepared) == {"model": "dep"}


@pytest.mark.parametrize(("version", "query"), [("v1", ""), ("preview", "?api-version=preview")])
def test_azure_v1_names_the_deployment_in_the_body(version: str, query: str) -> None:
    bound = provider("azure-openai", "https://r.example", version=version)
    prepared = call(bound, candidate(deployment="dep"))
    assert prepared.to.url == f"https://r.example/openai/v1/chat/completions{query}"
    assert said(prepared) == {"model": "dep"}
    assert said(call(bound, candidate())) == {"model": "m"}


def test_a_wildcard_alias_cannot_fill_the_memory_with_urls() -> None:
    bound = provider("azure-openai", "https://r.example", version="2024-10-21")
    for number in range(50):
        prepared = call(bound, candidate(model="", upstream=f"x/../{number}?a=b"))
        assert f"/deployments/x%2F..%2F{number}%3Fa%3Db/chat" in prepared.to.url
    assert not bound.route.__dict__["_urls"]


def test_only_the_listed_headers_travel_up() -> None:
    bound = provider("openai", "http://h/v1", headers=(("X-Org", "ours"), ("User-Agent", "configured")))
    prepared = call(
        bound, candidate(), accept="text/event-stream", user_agent="caller", traceparent="00-1", openai_beta="b",
        authorization="Bearer caller", cookie="c", x_api_key="k", host="evil", connection="close", x_org="theirs",
        content_type="application/json; charset=utf-8", accept_encoding="gzip", anthropic_version="1", anthropic_beta="2",
    )  # fmt: skip
    assert prepared.headers == {
        "content-type": "application/json; charset=utf-8",
        "accept": "text/event-stream",
        "traceparent": "00-1",
        "openai-beta": "b",
        "anthropic-version": "1",
        "anthropic-beta": "2",
        "user-agent": "configured",
        "x-org": "ours",
        "authorization": "Bearer secret-key",
        "accept-encoding": "identity",
    }


def test_a_provider_without_a_key_sends_none() -> None:
    bound = provider("ollama", "http://h/v1")
    request = parse_request(Api.CHAT, b"{}")
    prepared, _ = bound.prepare(candidate(), request, None, forwarded={}, timeouts=Timeouts(), total_s=1.0)
    assert "authorization" not in prepared.headers


def test_headers_of_one_call_are_not_those_of_the_next() -> None:
    bound = provider("openai", "http://h/v1")
    call(bound, candidate(), accept="a")
    assert "accept" not in call(bound, candidate()).headers


@pytest.mark.parametrize(
    ("kind", "stream_usage", "api", "body", "injects"),
    [
        ("openai", True, Api.CHAT, b'{"stream":true}', True),
        ("openai", True, Api.COMPLETIONS, b'{"stream":true}', True),
        ("openai", True, Api.CHAT, b'{"stream":true,"stream_options":{"include_usage":false}}', True),
        ("openai", True, Api.CHAT, b'{"stream":true,"stream_options":{"include_usage":true}}', False),
        ("openai", True, Api.CHAT, b"{}", False),
        ("openai", True, Api.RESPONSES, b'{"stream":true}', False),
        ("openai", False, Api.CHAT, b'{"stream":true}', False),
        ("mistral", True, Api.CHAT, b'{"stream":true}', False),
    ],
)
def test_usage_is_asked_for_only_where_it_would_be_missing(
    kind: str, stream_usage: bool, api: Api, body: bytes, injects: bool
) -> None:
    bound = provider(kind, "http://h/v1", stream_usage=stream_usage)
    assert bound.injects_usage(parse_request(api, body)) is injects
    sent = said(call(bound, candidate(), api=api, body=body))
    expected = {"include_usage": True} if injects else json.loads(body).get("stream_options")
    assert sent.get("stream_options") == expected


def test_a_probe_lists_the_models() -> None:
    probe = provider("openai", "http://h/v1").probe_call()
    assert (probe.to.method, probe.to.url, probe.body, probe.stream) == ("GET", "http://h/v1/models", b"", False)
    assert probe.headers["authorization"] == "Bearer secret-key"
    azure = provider("azure-openai", "https://r.example", version="2024-10-21").probe_call()
    assert azure.to.url == "https://r.example/openai/models?api-version=2024-10-21"


def test_no_secret_is_in_a_providers_repr() -> None:
    bound = provider("openai", "http://h/v1", headers=(("X-Secret", "hidden-value"),))
    call(bound, candidate())
    assert "secret-key" not in repr(bound)
    assert "hidden-value" not in repr(bound)


def test_the_calls_of_one_client_go_to_one_destination_and_those_of_another_to_another() -> None:
    bound = provider("openai", "http://h/v1")
    one, same, other = (call(bound, candidate(), user_agent=agent) for agent in ("a/1", "a/1", "b/2"))
    assert one.to is same.to
    assert (one.headers["user-agent"], other.headers["user-agent"]) == ("a/1", "b/2")
    accepting = call(bound, candidate(), accept="a/1").headers
    assert accepting["accept"] == "a/1"
    assert "user-agent" not in accepting


def test_a_trace_is_a_header_of_its_call_alone_unless_the_file_sets_it() -> None:
    plain, pinned = (provider("openai", "http://h/v1", headers=h) for h in ((), (("traceparent", "pinned"),)))
    first, second = (call(plain, candidate(), traceparent=trace) for trace in ("00-1", "00-2"))
    assert first.to is second.to
    assert [each.headers["traceparent"] for each in (first, second)] == ["00-1", "00-2"]
    assert call(pinned, candidate(), traceparent="00-1").headers["traceparent"] == "pinned"


def test_callers_cannot_fill_the_memory_with_names_of_themselves() -> None:
    bound = provider("openai", "http://h/v1")
    for number in range(2000):
        assert call(bound, candidate(), user_agent=f"x/{number}").headers["user-agent"] == f"x/{number}"
    assert len(bound._destinations) < 1000
