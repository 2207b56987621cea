"""Where a provider answers: the URL of each API, and the name it knows a target's model by. One class an address scheme."""

from typing import Protocol
from urllib.parse import quote

from router.config.provider_types import AZURE_DEFAULT_VERSION, AZURE_V1
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


class PathRoute:
    """One URL an API, the model named in the body: everybody but Azure's deployments."""

    def __init__(self, base_url: str, *, query: str = "", by_deployment: bool = False) -> None:
        self._urls = {api: base_url + dialect.path + query for api, dialect in DIALECTS.items()}
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


def _deployment(candidate: Candidate) -> str:
    return candidate.target.deployment or candidate.upstream_model


def path_route(spec: ProviderSpec) -> Route:
    return PathRoute((spec.base_url or _NOWHERE).rstrip("/"))


def anthropic_route(spec: ProviderSpec) -> Route:
    """The address may be written as Anthropic's SDKs take it, without /v1, or as everybody else's, with it."""
    return PathRoute(spec.base_url.rstrip("/").removesuffix("/v1") + "/v1")


def azure_route(spec: ProviderSpec) -> Route:
    version = spec.api_version or AZURE_DEFAULT_VERSION
    resource = spec.base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai").rstrip("/")
    if version in AZURE_V1:
        query = "" if version == "v1" else f"?api-version={version}"
        return PathRoute(f"{resource}/openai/v1", query=query, by_deployment=True)
    return DeploymentRoute(f"{resource}/openai", version)
