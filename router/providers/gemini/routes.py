"""Where Google's models answer: the Gemini API by a key, Vertex by project and location; Claude on Vertex beside them."""

from collections.abc import Mapping
from urllib.parse import quote

from router.config.google_access import GoogleAccess, vertex_host
from router.domain.requests import Api
from router.domain.routes import Candidate, ProviderSpec
from router.providers.parted.google_embeddings import takes_content

_GENERATE = ("generateContent", "streamGenerateContent?alt=sse")
_COUNT = ("countTokens", "countTokens")
_CLAUDE = ("rawPredict", "streamRawPredict")
_CLAUDE_COUNTS = "count-tokens:rawPredict"
_VERSIONS = ("/v1", "/v1beta", "/v1beta1", "/v1alpha")


def is_claude(model: str) -> bool:
    return model.startswith("claude")


class GeminiRoute:
    """`base_url` with the version of the API. A name may be written as Google lists it: `models/gemini-2.5-flash`."""

    OPERATIONS: Mapping[Api, tuple[str, str]] = {
        Api.GENERATE_CONTENT: _GENERATE,
        Api.GEMINI_COUNT: _COUNT,
        Api.GEMINI_EMBED: ("batchEmbedContents", "batchEmbedContents"),
    }

    def __init__(self, base_url: str) -> None:
        self._base = base_url
        self.models_url = f"{base_url}/models?pageSize=1"

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        folder, _, name = candidate.upstream_model.rpartition("/")
        place = folder if folder in ("models", "tunedModels") else "models"
        if folder and folder != place:
            name = candidate.upstream_model
        return f"{self._base}/{place}/{quote(name, safe='')}:{self.OPERATIONS[api][stream]}"

    def model(self, candidate: Candidate) -> str:
        return candidate.upstream_model.removeprefix("models/")


class VertexRoute:
    """Models of Google's, and Claude of Anthropic's, in a project; with a key alone, in none (Vertex's express mode).

    A target's `deployment` is what is asked where it is no model of a publisher's: an endpoint of the project.
    """

    def __init__(self, base_url: str, project: str, location: str) -> None:
        place = f"/projects/{quote(project, safe=':')}/locations/{quote(location, safe='')}" if project else ""
        self._place = base_url + place
        self.models_url = f"{base_url}/publishers/google/models?pageSize=1"

    def url(self, api: Api, candidate: Candidate, *, stream: bool = False) -> str:
        if candidate.target.deployment:
            operation = (_COUNT if api is Api.GEMINI_COUNT else _GENERATE)[stream]
            return f"{self._place}/endpoints/{quote(candidate.target.deployment, safe='')}:{operation}"
        if api is Api.COUNT_TOKENS:
            return f"{self._place}/publishers/anthropic/models/{_CLAUDE_COUNTS}"
        model = candidate.upstream_model
        publisher = "anthropic" if is_claude(model) else "google"
        return f"{self._place}/publishers/{publisher}/models/{quote(model, safe='@')}:{_operation(api, model, stream)}"

    def model(self, candidate: Candidate) -> str:
        return candidate.upstream_model or candidate.target.deployment


def _operation(api: Api, model: str, stream: bool) -> str:
    if api is Api.VERTEX_EMBED:
        return "embedContent" if takes_content(model) else "predict"
    if api is Api.GEMINI_COUNT:
        return _COUNT[stream]
    return (_CLAUDE if is_claude(model) else _GENERATE)[stream]


def gemini_route(spec: ProviderSpec) -> GeminiRoute:
    return GeminiRoute(_versioned(spec.base_url, "/v1beta"))


def vertex_route(spec: ProviderSpec) -> VertexRoute:
    access = spec.options.get("google")
    if not isinstance(access, GoogleAccess):
        return VertexRoute(_versioned(spec.base_url, "/v1beta1"), "", "")
    return VertexRoute(
        _versioned(spec.base_url or vertex_host(access.location), "/v1beta1"), access.project, access.location
    )


def _versioned(base_url: str, version: str) -> str:
    base = base_url.rstrip("/")
    return base if base.endswith(_VERSIONS) else base + version
