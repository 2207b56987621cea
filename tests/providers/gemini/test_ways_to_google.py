"""How the Gemini API and Vertex are called: addresses, keys and tokens."""

import json
from typing import Any

import pytest

from router.config.google_access import GoogleAccess, vertex_host
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Candidate, Credential, ProviderSpec, Target, Timeouts
from router.domain.upstream import FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.gemini.access import BearerTransport
from router.providers.registry import BoundProvider, bind

KEY = Credential("main", "secret-key")
CALLERS = frozenset({Api.CHAT, Api.MESSAGES, Api.RESPONSES})
CHAT = {"model": "a", "messages": [{"role": "user", "content": "x"}]}


class Recorder:
    """A transport that answers with a status and nothing."""

    def __init__(self, status: int = 200) -> None:
        self.calls: list[UpstreamCall] = []
        self.status = status

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        self.calls.append(call)
        return self  # type: ignore[return-value]  # only its status is looked at

    async def close(self) -> None: ...


def gemini(base: str = "https://generativelanguage.googleapis.com") -> BoundProvider:
    spec = ProviderSpec("p", "gemini", base, (KEY,), apis=frozenset({Api.GENERATE_CONTENT}), translates=CALLERS)
    return bind(spec, Recorder())


def vertex(location: str = "europe-west4", project: str = "my-project", **more: Any) -> BoundProvider:
    access = GoogleAccess(project, location)
    spec = ProviderSpec(
        "p",
        "vertex",
        vertex_host(location),
        apis=frozenset({Api.GENERATE_CONTENT}),
        translates=CALLERS,
        options={"google": access},
        **more,
    )
    return bind(spec, Recorder())


def candidate(model: str, deployment: str = "") -> Candidate:
    target = Target(f"p/{model}", "p", model, deployment=deployment)
    return Candidate(target, Alias("a", Kind.CHAT, (target,)), model, "")


def call(bound: BoundProvider, model: str, *, api: Api = Api.CHAT, deployment: str = "", **more: Any) -> UpstreamCall:
    body = CHAT | ({"max_tokens": 9} if api is Api.MESSAGES else {}) | more
    request = parse_request(api, json.dumps(body).encode())
    known = bound.spec.credentials[0] if bound.spec.credentials else None
    told = {"anthropic-beta": "b", "user-agent": "u"}
    return bound.prepare(candidate(model, deployment), request, known, forwarded=told, timeouts=Timeouts(), total_s=9.0)[0]


@pytest.mark.parametrize("base", ["https://h", "https://h/", "https://h/v1beta", "https://h/v1beta/"])
def test_the_gemini_api_is_called_by_model_with_its_key(base: str) -> None:
    plain, streamed = (call(gemini(base), "gemini-2.5-flash", stream=stream) for stream in (False, True))
    assert plain.to.url == "https://h/v1beta/models/gemini-2.5-flash:generateContent"
    assert streamed.to.url == "https://h/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert plain.headers == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "u",
        "x-goog-api-key": "secret-key",
    }
    assert isinstance(plain.body, bytes) and b"gemini" not in plain.body


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("models/gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("../../x?y=1", "models/..%2F..%2Fx%3Fy%3D1"),
        ("a:b#c", "models/a%3Ab%23c"),
    ],
)
def test_a_name_never_leaves_its_place_in_the_path(model: str, place: str) -> None:
    assert call(gemini("https://h"), model).to.url == f"https://h/v1beta/{place}:generateContent"


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_each_location_of_vertex_has_its_host(location: str, host: str) -> None:
    place = f"https://{host}/v1beta1/projects/my-project/locations/{location}/publishers/google/models/"
    assert call(vertex(location), "gemini-2.5-flash").to.url == f"{place}gemini-2.5-flash:generateContent"
    streamed = call(vertex(location), "gemini-2.5-flash", stream=True).to.url
    assert streamed == f"{place}gemini-2.5-flash:streamGenerateContent?alt=sse"


def test_vertex_with_a_key_alone_is_in_no_project() -> None:
    made = call(vertex("global", "", credentials=(KEY,)), "gemini-2.5-flash")
    assert (
        made.to.url == "https://aiplatform.googleapis.com/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
    )
    assert made.headers["x-goog-api-key"] == "secret-key"
    bearer = call(vertex(credentials=(KEY,), sends_bearer=True), "gemini-2.5-flash")
    assert bearer.headers["authorization"] == "Bearer secret-key" and "x-goog-api-key" not in bearer.headers


def test_an_endpoint_of_the_project_is_asked_by_its_id() -> None:
    url = call(vertex(), "gemini-2.5-flash", deployment="123").to.url
    assert url.endswith("/projects/my-project/locations/europe-west4/endpoints/123:generateContent")


@pytest.mark.parametrize("api", [Api.CHAT, Api.MESSAGES])
def test_claude_on_vertex_is_asked_in_messages(api: Api) -> None:
    plain, streamed = (call(vertex(), "claude-sonnet-4-5@20250929", api=api, stream=stream) for stream in (False, True))
    place = "/publishers/anthropic/models/claude-sonnet-4-5@20250929:"
    assert plain.to.url.endswith(place + "rawPredict") and streamed.to.url.endswith(place + "streamRawPredict")
    assert isinstance(plain.body, bytes)
    told = json.loads(plain.body)
    assert told["anthropic_version"] == "vertex-2023-10-16" and "model" not in told
    assert plain.headers.get("anthropic-beta") == ("b" if api is Api.MESSAGES else None)


def test_both_are_probed_by_their_lists_of_models() -> None:
    assert gemini("https://h").probe_call().to.url == "https://h/v1beta/models?pageSize=1"
    assert gemini("https://h").probe_call().headers["x-goog-api-key"] == "secret-key"
    listed = "https://europe-west4-aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=1"
    assert vertex().probe_call().to.url == listed


# -- tokens ---------------------------------------------------------------------------------------------------


class Tokens:
    """A source with one token at a time; `spoil` takes it away."""

    def __init__(self, *tokens: str) -> None:
        self._left = list(tokens)
        self.at_hand = ""

    async def fetch(self) -> str:
        if not self._left:
            raise TransportFailure(FailureKind.CONNECT, "no token")
        self.at_hand = self._left.pop(0)
        return self.at_hand

    def spoil(self, token: str) -> None:
        self.at_hand = "" if self.at_hand == token else self.at_hand


async def test_a_token_is_fetched_once_and_again_when_it_is_refused() -> None:
    inner = Recorder()
    transport = BearerTransport(inner, Tokens("t1", "t2"))
    for status in (200, 401, 200):
        inner.status = status
        await transport.send(call(vertex(), "gemini-2.5-flash"))
    sent = [made.headers["authorization"] for made in inner.calls]
    assert sent == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_without_a_token_nothing_is_sent() -> None:
    inner = Recorder()
    with pytest.raises(TransportFailure) as failure:
        await BearerTransport(inner, Tokens()).send(call(vertex(), "gemini-2.5-flash"))
    assert failure.value.kind is FailureKind.CONNECT and not inner.calls
