"""Recorded provider traffic of APIs that are relayed as they are, where it lies beside the project; none is kept here.

One exchange is what a recorder saw of one call: the request as JSON, the answer's status, headers and bytes. What is
missing (a request, a content type) is made up here and nowhere else.
"""

import base64
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from router.domain.requests import Api

ROOT = Path(__file__).parents[3] / "shared" / "exchanges"
ABSENT = "no recorded traffic beside the project: ../shared/exchanges is not there"
FOLDER = Path(__file__).parent
_EXPLAINED = json.loads((FOLDER / "explained.json").read_text())
EXPLAINED: dict[str, str] = _EXPLAINED["replay"]
"""Exchange -> reason, for those that are not replayed."""
EXPLAINED_CHATS: dict[str, str] = _EXPLAINED["canonical"]
"""Exchange -> reason, for those that have no canonical form."""
BEYOND_SDKS: dict[str, str] = _EXPLAINED["sdk"]
"""Exchange -> reason, for those that the types of its own family's SDK do not take."""

PATHS = {
    Api.CHAT: "/chat/completions",
    Api.COMPLETIONS: "/completions",
    Api.RESPONSES: "/responses",
    Api.EMBEDDINGS: "/embeddings",
    Api.MODERATIONS: "/moderations",
    Api.RERANK: "/rerank",
    Api.MESSAGES: "/messages",
    Api.COUNT_TOKENS: "/messages/count_tokens",
}
_SELECTED = re.compile(
    r"(?:openai|azure|groq|mistral|huggingface|ollama|compat-[^/]*)/"
    r"(?!ollama\.)[^/]*\.(?:chat|completions|embeddings|moderations|rerank|responses)/|anthropic/[^/]*\.(?:messages|count_tokens)/"
)
_HOP_BY_HOP = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
_OF_THE_SERVER = frozenset({"date", "server"})
_PROMPTS: dict[Api, dict[str, Any]] = {
    Api.CHAT: {"messages": [{"role": "user", "content": "What was asked is not recorded."}]},
    Api.COMPLETIONS: {"prompt": "What was asked is not recorded."},
    Api.RESPONSES: {"input": "What was asked is not recorded."},
    Api.EMBEDDINGS: {"input": "What was asked is not recorded."},
    Api.MODERATIONS: {"input": "What was asked is not recorded."},
    Api.RERANK: {"query": "What was asked is not recorded.", "documents": ["Nor is this."]},
    Api.MESSAGES: {"max_tokens": 4096, "messages": [{"role": "user", "content": "What was asked is not recorded."}]},
    Api.COUNT_TOKENS: {"messages": [{"role": "user", "content": "What was asked is not recorded."}]},
}


@dataclass(frozen=True, eq=False)
class Exchange:
    """One of a kind, so that what is worked out of it can be kept.

    `number` is its place in the list; `fields` are the request's members in their order.
    """

    name: str
    number: int
    api: Api
    url: str
    method: str
    fields: dict[str, Any]
    is_made_up: bool
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def family(self) -> str:
        """The folder of the provider."""
        return self.name.partition("/")[0]

    @property
    def kind(self) -> str:
        """The provider's name for the API."""
        return self.name.split("/")[1]

    @property
    def model(self) -> str:
        return str(self.fields.get("model") or "a-model-that-is-not-recorded")

    @property
    def streams(self) -> bool:
        """Whether the request asked for a stream."""
        return self.fields.get("stream") is True

    @cached_property
    def is_sse(self) -> bool:
        """Whether the answer is one."""
        return self.body.lstrip().startswith((b"data:", b"event:", b":"))

    @property
    def content_type(self) -> str:
        """As recorded; where the recorder left it out, what the body is."""
        return self.headers.get("content-type") or ("text/event-stream" if self.is_sse else "application/json")

    @property
    def asked_for_usage(self) -> bool:
        return bool((self.fields.get("stream_options") or {}).get("include_usage"))

    @property
    def upstream_headers(self) -> dict[str, str]:
        """What of the recorded headers a replaying server sends."""
        kept = {name: value for name, value in self.headers.items() if name not in _HOP_BY_HOP | _OF_THE_SERVER}
        return kept | {"content-type": self.content_type}


@cache
def names() -> tuple[str, ...]:
    """Every exchange that belongs here, explained ones too; empty where there is no recorded traffic."""
    found = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.json"))
    return tuple(sorted(name for name in found if _SELECTED.match(name)))


def replayed() -> tuple[str, ...]:
    return tuple(name for name in names() if name not in EXPLAINED)


def elsewhere() -> tuple[tuple[str, str], ...]:
    """Method and path of the recorded calls that fetch, count or compact responses: routes of their own."""
    told = [json.loads(path.read_text())["request"] for path in sorted(ROOT.glob("openai/openai.responses_*/*.json"))]
    return tuple(dict.fromkeys((asked["method"], urlsplit(asked["url"]).path) for asked in told))


@cache
def exchange(name: str) -> Exchange:
    told = json.loads((ROOT / name).read_text())
    api = Api(name.split("/")[1].rpartition(".")[2])
    asked, answered = told["request"] or {}, told["response"]
    body = base64.b64decode(answered["body_b64"]) if "body_b64" in answered else answered["body_text"].encode()
    fields = asked.get("json") or _made_up(api, told, body)
    return Exchange(
        name=name,
        number=names().index(name),
        api=api,
        url=asked.get("url", ""),
        method=asked.get("method", "POST"),
        fields=fields,
        is_made_up=not asked.get("json"),
        status=answered["status"],
        headers={key.lower(): value for key, value in answered["headers"].items()},
        body=body,
    )


def _made_up(api: Api, told: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The least that could have been asked; for usage too, where the answer shows that it was asked for."""
    fields = {"model": told["model"] or "a-model-that-is-not-recorded"} | _PROMPTS[api]
    if told["stream"]:
        fields["stream"] = True
        if api is Api.CHAT and b'"choices":[],' in body.replace(b" ", b""):
            fields["stream_options"] = {"include_usage": True}
    return fields


_DEPLOYMENT = re.compile(r"/+openai/deployments/([^/]+)/")


@dataclass(frozen=True)
class Place:
    """How the provider of an exchange is written in the file, and where its call must then arrive."""

    provider: dict[str, Any]
    deployment: str
    path: str


def place_of(of: Exchange, origin: str) -> Place:
    """The provider at `origin`, where the first segment of the path is the exchange's number."""
    parts, base = urlsplit(of.url), f"{origin}/{of.number}"
    key: dict[str, Any] = {"api_key": "sk-upstream-of-the-tests"}
    end = PATHS[of.api]
    version = re.search(r"api-version=([^&]+)", parts.query)
    if of.family == "azure" and (deployed := _DEPLOYMENT.search(parts.path)) and version:
        provider = key | {"type": "azure-openai", "endpoint": base, "api_version": version[1]}
        path = f"/{of.number}/openai/deployments/{deployed[1]}{end}?{parts.query}"
        return Place(provider, deployed[1], path)
    if of.family == "azure" and parts.path == "/openai/responses" and version:
        provider = key | {"type": "azure-openai", "endpoint": base, "api_version": version[1], "apis": ["responses"]}
        return Place(provider, of.model, f"/{of.number}/openai/responses?{parts.query}")
    # Azure AI Inference (`/models/...?api-version=`) has no provider type; its models answer on the v1 route too.
    if of.family == "azure" and (not of.url or parts.path.startswith(("/openai/v1/", "/models/"))):
        provider = key | {"type": "azure-openai", "endpoint": base, "api_version": "v1"}
        return Place(provider, "", f"/{of.number}/openai/v1{end}")
    # A recorder's placeholder for the base URL (`<NAME>/chat/completions`) stands for one that ends in /v1.
    prefix = "/v1" if not parts.scheme else parts.path.removesuffix(end)
    kind = "openai-compatible" if of.family.startswith("compat-") or of.family == "azure" else of.family
    return Place(key | {"type": kind, "base_url": base + prefix}, "", f"/{of.number}{prefix}{end}")
