"""Which APIs are told to whom in parts: one row a caller's, one row a target's."""

from collections.abc import Callable, Mapping
from typing import Any

from router.config.aws_access import AwsAccess
from router.domain.requests import Api
from router.domain.routes import ProviderSpec
from router.providers.parted.bedrock_embeddings import BedrockEmbeddings
from router.providers.parted.bedrock_rerank import BedrockRerank
from router.providers.parted.cohere import CohereEmbeddings, CohereRerank
from router.providers.parted.embeddings import EmbeddingsCaller
from router.providers.parted.google_embeddings import GeminiEmbeddings, VertexEmbeddings
from router.providers.parted.lane import PartedCaller, PartedLane, PartedTarget
from router.providers.parted.local import OllamaEmbeddings, TextEmbeddings, TextRerank
from router.providers.parted.moderation import ContentSafety, ModerationsCaller
from router.providers.parted.rerank import RerankCaller

_Target = Callable[[ProviderSpec], PartedTarget[Any, Any]]

_CALLERS: Mapping[Api, PartedCaller[Any, Any]] = {
    Api.EMBEDDINGS: EmbeddingsCaller(),
    Api.RERANK: RerankCaller(),
    Api.MODERATIONS: ModerationsCaller(),
}

_TARGETS: Mapping[Api, _Target] = {
    Api.GEMINI_EMBED: lambda spec: GeminiEmbeddings(spec.max_batch),
    Api.VERTEX_EMBED: lambda spec: VertexEmbeddings(spec.max_batch),
    Api.BEDROCK_EMBED: lambda spec: BedrockEmbeddings(spec.max_batch),
    Api.COHERE_EMBED: lambda spec: CohereEmbeddings(spec.max_batch),
    Api.OLLAMA_EMBED: lambda spec: OllamaEmbeddings(spec.max_batch),
    Api.TEI_EMBED: lambda spec: TextEmbeddings(spec.max_batch),
    Api.FEATURE_EXTRACTION: lambda spec: TextEmbeddings(spec.max_batch, has_dimensions=False),
    Api.COHERE_RERANK: lambda spec: CohereRerank(),
    Api.BEDROCK_RERANK: lambda spec: BedrockRerank(_region(spec)),
    Api.TEI_RERANK: lambda spec: TextRerank(spec.max_batch),
    Api.CONTENT_SAFETY: lambda spec: ContentSafety(),
}

PARTED = frozenset(_CALLERS)
"""What callers may speak that is told in parts."""


def parted_lane(api: Api, spoken: Api, spec: ProviderSpec) -> PartedLane:
    """Raises KeyError for an API that is not told in parts."""
    target = _TARGETS[spoken](spec)
    caller = RerankCaller(target.most) if isinstance(target, TextRerank) else _CALLERS[api]
    return PartedLane(caller, target)


def _region(spec: ProviderSpec) -> str:
    access = spec.options.get("aws")
    return access.region if isinstance(access, AwsAccess) else ""
