"""Where a provider answers: the URL of each API, and the name it knows a target's model by. One class an address scheme."""

import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from router.config.provider_types import AZURE_DEFAULT_VERSION, AZURE_V1, SAFETY_DEFAULT_VERSION
from router.domain.requests import Api
from router.domain.routes import Candidate, ProviderSpec
from router.providers.dialects import DIALECTS

_NOWHERE = "http://simulated.invalid/v1"


class Route(Protocol):
    """Where a provider answers, and by which name it knows a target's model."""

    @property
    def models_url(self) -> str: ...

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str: ...

    def model(self, candidate: Candidate) -> str: ...


OWN_PATHS: Mapping[Api, str] = {
    Api.COHERE_CHAT: "/v2/chat",
    Api.OLLAMA_CHAT: "/api/chat",
    Api.COHERE_EMBED: "/v2/embed",
    Api.COHERE_RERANK: "/v2/rerank",
    Api.OLLAMA_EMBED: "/api/embed",
    Api.TEI_EMBED: "/embed",
    Api.TEI_RERANK: "/rerank",
    Api.TOKENIZE: "/tokenize",
}
"""Of APIs of a provider's own that stand beside its `/v1`: the path from the root of its address."""


class PathRoute:
    """One URL an API, the model named in the body: everybody but Azure's deployments. `root`: where OWN_PATHS begin."""

    def __init__(self, base_url: str, *, query: str = "", by_deployment: bool = False, root: str = "") -> None:
        self._urls = {api: base_url + dialect.path + query for api, dialect in DIALECTS.items()}
        self._urls[Api.RESPONSES_COUNT] = f"{base_url}/responses/input_tokens{query}"
        if root:
            self._urls |= {api: root + path for api, path in OWN_PATHS.items()}
        self._by_deployment = by_deployment
        self.models_url = f"{base_url}/models{query}"

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        return self._urls[api]

    def model(self, candidate: Candidate) -> str:
        return (candidate.target.deployment if self._by_deployment else "") or candidate.upstream_model


class DeploymentRoute:
    """Azure's dated API: the deployment is part of the path; Responses has no deployments and names it in the body."""

    def __init__(self, base_url: str, version: str) -> None:
        self._base = base_url
        self._query = f"?api-version={quote(version, safe='')}"
        self._urls: dict[tuple[Api, str], str] = {}
        self.models_url = f"{base_url}/models{self._query}"

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        deployment = _deployment(candidate)
        found = self._urls.get((api, deployment))
        if found is None:
            place = "" if api is Api.RESPONSES else f"/deployments/{quote(deployment, safe='')}"
            found = f"{self._base}{place}{DIALECTS[api].path}{self._query}"
            # A wildcard alias takes names from callers, so what is kept is only what the file names.
            if candidate.target.deployment or candidate.target.model:
                self._urls[api, deployment] = found
        return found

    def model(self, candidate: Candidate) -> str:
        return _deployment(candidate)


OPERATIONS: Mapping[Api, tuple[str, str]] = {
    Api.CONVERSE: ("converse", "converse-stream"),
    Api.CONVERSE_COUNT: ("count-tokens", "count-tokens"),
    Api.BEDROCK_EMBED: ("invoke", "invoke"),
}
"""Of each API that is spoken to Bedrock: the operation behind the model's name, and the one that streams."""


_ACROSS_REGIONS = re.compile(r"^(?:us|us-gov|eu|apac|ap|jp|au|ca|sa|global)\.")
"""Begins the id of a profile of inference across regions. Counting knows the model behind it alone."""


class BedrockRoute:
    """The model is in the path, encoded as AWS's own clients do: `:` and `/` of an ARN too.

    A target's `deployment` is what is asked (an inference profile, an ARN), its `model` then says what that is: its price,
    and how it is told to think.
    """

    def __init__(self, base_url: str) -> None:
        self._base = base_url
        # The list of models is on another host and needs another permission; this one tells whether it is there.
        self.models_url = f"{base_url}/"

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        if api is Api.BEDROCK_RERANK:
            return self._base.replace("//bedrock-runtime.", "//bedrock-agent-runtime.") + "/rerank"
        model = _deployment(candidate)
        if api is Api.CONVERSE_COUNT:
            model = _ACROSS_REGIONS.sub("", model)
        return f"{self._base}/model/{quote(model, safe='')}/{OPERATIONS[api][stream]}"

    def model(self, candidate: Candidate) -> str:
        return candidate.upstream_model or candidate.target.deployment


def _deployment(candidate: Candidate) -> str:
    return candidate.target.deployment or candidate.upstream_model


class HubRoute(PathRoute):
    """Hugging Face's router, where a task's model is in the path; a server of one's own has one model. The address may be
    written with /v1 or without."""

    def __init__(self, base_url: str) -> None:
        self._root = base_url.removesuffix("/v1")
        super().__init__(f"{self._root}/v1", root=self._root)

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        if api is Api.FEATURE_EXTRACTION:
            model = quote(candidate.upstream_model, safe="/")
            return f"{self._root}/hf-inference/models/{model}/pipeline/feature-extraction"
        return super().url(api, candidate, stream=stream)


class SafetyRoute:
    """Azure's Content Safety: no model is named, the version is its own."""

    def __init__(self, base_url: str, version: str) -> None:
        self._base = f"{base_url}/contentsafety/"
        self._query = f"?api-version={quote(version, safe='')}"
        self.models_url = f"{self._base}text/blocklists{self._query}"

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        return f"{self._base}text:analyze{self._query}"

    def model(self, candidate: Candidate) -> str:
        return _deployment(candidate)


def path_route(spec: ProviderSpec) -> Route:
    base = (spec.base_url or _NOWHERE).rstrip("/")
    return PathRoute(base, root=base.removesuffix("/v1"))


def hub_route(spec: ProviderSpec) -> Route:
    return HubRoute(spec.base_url.rstrip("/"))


def anthropic_route(spec: ProviderSpec) -> Route:
    """The address may be written as Anthropic's SDKs take it, without /v1, or as everybody else's, with it."""
    return PathRoute(spec.base_url.rstrip("/").removesuffix("/v1") + "/v1")


def rooted_route(spec: ProviderSpec) -> Route:
    """Cohere, Ollama: some of their APIs are below /v1, some beside it. The address may be written with /v1 or without."""
    root = spec.base_url.rstrip("/").removesuffix("/v1").removesuffix("/v2").removesuffix("/api")
    return PathRoute(f"{root}/v1", root=root)


def bedrock_route(spec: ProviderSpec) -> Route:
    return BedrockRoute(spec.base_url.rstrip("/"))


def azure_route(spec: ProviderSpec) -> Route:
    if Api.CONTENT_SAFETY in spec.apis:
        base = spec.base_url.rstrip("/").removesuffix("/contentsafety")
        return SafetyRoute(base, spec.api_version or SAFETY_DEFAULT_VERSION)
    version = spec.api_version or AZURE_DEFAULT_VERSION
    resource = spec.base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai").rstrip("/")
    if version in AZURE_V1:
        query = "" if version == "v1" else f"?api-version={version}"
        return PathRoute(f"{resource}/openai/v1", query=query, by_deployment=True)
    return DeploymentRoute(f"{resource}/openai", version)
