"""Embeddings by InvokeModel on Bedrock: Amazon's Titan and Nova, a text a call, and Cohere's."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.domain.usage import Usage
from router.providers.codec import ToldError
from router.providers.parted.cohere import COHERE_BATCH, vectors_by_type
from router.providers.parted.embeddings import EmbeddingQuery, Vectors, check
from router.providers.parted.errors import decode_error
from router.providers.parted.lane import Part, Said, estimate_of, refuse
from router.providers.parted.members import decoded, packed

_COUNT_HEADER = "x-amzn-bedrock-input-token-count"
_DEFAULT_PURPOSE = "search_document"
_NOVA_PURPOSES = {
    "": "GENERIC_INDEX",
    "search_document": "GENERIC_INDEX",
    "search_query": "GENERIC_RETRIEVAL",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class _Titan(msgspec.Struct, rename="camel"):
    embedding: msgspec.Raw
    input_text_token_count: int | None = None


class _NovaVector(msgspec.Struct):
    embedding: msgspec.Raw


class _Nova(msgspec.Struct):
    embeddings: list[_NovaVector]


class BedrockEmbeddings:
    """Which words a model takes is told by its id, in any region's profile: `us.cohere.embed-v4:0`."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or COHERE_BATCH

    def encode_query(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        if "cohere.embed" in model:
            return self._cohere(query, model, target)
        if "titan-embed" in model:
            check(query, target, dimensions="titan-embed-text-v1" not in model)
            bodies = [_titan(text, query, model) for text in query.texts]
        elif "nova" in model and "embed" in model:
            check(query, target, purpose=True)
            bodies = [_nova(text, query) for text in query.texts]
        else:
            raise refuse("model", target, f"{model} is not one of Titan's, Nova's or Cohere's models of embeddings")
        parts = [Part(body, estimate_of([text])) for body, text in zip(bodies, query.texts, strict=True)]
        return Said(parts, query.dropped)

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Vectors:
        usage = _counted(headers)
        if b'"embeddings"' not in answer:
            titan = decoded(answer, _Titan)
            count = titan.input_text_token_count
            return Vectors([titan.embedding], usage if count is None or count < 0 else Usage(input_tokens=count))
        if b'"embeddingType"' in answer:
            return Vectors([one.embedding for one in decoded(answer, _Nova).embeddings], usage)
        return Vectors(vectors_by_type(answer), usage)

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)

    def _cohere(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        check(query, target, dimensions="embed-v4" in model, purpose=True)
        fixed: dict[str, Any] = {"input_type": query.purpose or _DEFAULT_PURPOSE, "embedding_types": ["float"]}
        if query.dimensions is not None:
            fixed["output_dimension"] = query.dimensions
        groups = packed(query.texts, self._most)
        return Said(
            [Part(msgspec.json.encode({"texts": texts, **fixed}), estimate_of(texts)) for texts in groups], query.dropped
        )


def _titan(text: str, query: EmbeddingQuery, model: str) -> bytes:
    body: dict[str, Any] = {"inputText": text}
    if query.dimensions is not None:
        is_multimodal = "titan-embed-image" in model
        size = {"outputEmbeddingLength": query.dimensions}
        body |= {"embeddingConfig": size} if is_multimodal else {"dimensions": query.dimensions}
    return msgspec.json.encode(body)


def _nova(text: str, query: EmbeddingQuery) -> bytes:
    told: dict[str, Any] = {
        "embeddingPurpose": _NOVA_PURPOSES[query.purpose],
        # A text that is too long is an error, as with every other target.
        "text": {"truncationMode": "NONE", "value": text},
    }
    if query.dimensions is not None:
        told["embeddingDimension"] = query.dimensions
    return msgspec.json.encode({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": told})


def _counted(headers: Mapping[str, str]) -> Usage | None:
    count = headers.get(_COUNT_HEADER, "")
    return Usage(input_tokens=int(count)) if count.isdecimal() and len(count) < 10 else None
