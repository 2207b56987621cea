"""Embeddings of Google: batchEmbedContents of the Gemini API, predict and embedContent of Vertex."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from router.domain.usage import Usage
from router.providers.codec import ToldError
from router.providers.parted.embeddings import EmbeddingQuery, Vectors, check
from router.providers.parted.errors import decode_error
from router.providers.parted.lane import Part, Said, estimate_of
from router.providers.parted.members import decoded, packed

GEMINI_BATCH = 100
"""Gemini refuses a larger one: "at most 100 requests can be in one batch"."""

VERTEX_BATCH = 250
VERTEX_BATCH_TOKENS = 20_000
"""Of one predict request, by Vertex's documentation; a byte is at most a token."""

_TASKS = {
    "search_document": "RETRIEVAL_DOCUMENT",
    "search_query": "RETRIEVAL_QUERY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class _Values(msgspec.Struct):
    values: msgspec.Raw


class _UsageMetadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Batch(msgspec.Struct, rename="camel"):
    embeddings: list[_Values]
    usage_metadata: _UsageMetadata | None = None


class _Single(msgspec.Struct, rename="camel"):
    embedding: _Values
    usage_metadata: _UsageMetadata | None = None


class _Statistics(msgspec.Struct):
    token_count: int | None = None


class _Predicted(msgspec.Struct):
    values: msgspec.Raw
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct):
    embeddings: _Predicted


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction]


class GeminiEmbeddings:
    """`:batchEmbedContents`, a text a request of the batch."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or GEMINI_BATCH

    def encode_query(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        check(query, target, purpose=True)
        name = model.removeprefix("models/")
        options: dict[str, Any] = {"taskType": _TASKS[query.purpose]} if query.purpose else {}
        if query.dimensions is not None:
            options["outputDimensionality"] = query.dimensions
        parts = []
        for texts in packed(query.texts, self._most):
            requests = [{"model": f"models/{name}", "content": {"parts": [{"text": text}]}, **options} for text in texts]
            parts.append(Part(msgspec.json.encode({"requests": requests}), estimate_of(texts)))
        return Said(parts, query.dropped)

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Vectors:
        batch = decoded(answer, _Batch)
        return Vectors([one.values for one in batch.embeddings], _usage(batch.usage_metadata))

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


def takes_content(model: str) -> bool:
    """Whether Vertex serves the model by embedContent, a text a call, and no longer by predict."""
    name = model.rpartition("/")[2]
    return "maas" in name or ("gemini" in name and not name.startswith(("gemini-embedding-001", "gemini-embedding-exp")))


class VertexEmbeddings:
    """`:predict`, or `:embedContent` for the models that are served so."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or VERTEX_BATCH

    def encode_query(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        check(query, target, purpose=True)
        if takes_content(model):
            return Said([Part(_content(text, query), estimate_of([text])) for text in query.texts], query.dropped)
        most = 1 if "gemini" in model else self._most
        return Said(
            [Part(_instances(texts, query), estimate_of(texts)) for texts in _within(query.texts, most)], query.dropped
        )

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Vectors:
        if b'"predictions"' not in answer[:64] and b'"embedding"' in answer:
            single = decoded(answer, _Single)
            return Vectors([single.embedding.values], _usage(single.usage_metadata))
        found = [one.embeddings for one in decoded(answer, _Predictions).predictions]
        counts = [one.statistics.token_count if one.statistics is not None else None for one in found]
        known = [count for count in counts if count is not None]
        usage = Usage(input_tokens=sum(known)) if len(known) == len(counts) and min(known, default=0) >= 0 else None
        return Vectors([one.values for one in found], usage)

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


def _content(text: str, query: EmbeddingQuery) -> bytes:
    body: dict[str, Any] = {"content": {"parts": [{"text": text}]}}
    config: dict[str, Any] = {"taskType": _TASKS[query.purpose]} if query.purpose else {}
    if query.dimensions is not None:
        config["outputDimensionality"] = query.dimensions
    if config:
        body["embedContentConfig"] = config
    return msgspec.json.encode(body)


def _instances(texts: Sequence[str], query: EmbeddingQuery) -> bytes:
    task = {"task_type": _TASKS[query.purpose]} if query.purpose else {}
    body: dict[str, Any] = {"instances": [{"content": text, **task} for text in texts]}
    # A text that is too long is an error, as with other targets: Vertex would cut it and answer all the same.
    body["parameters"] = {"autoTruncate": False}
    if query.dimensions is not None:
        body["parameters"]["outputDimensionality"] = query.dimensions
    return msgspec.json.encode(body)


def _within(texts: Sequence[str], most: int) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    size = 0
    for text in texts:
        length = len(text.encode())
        if groups[-1] and (len(groups[-1]) == most or size + length > VERTEX_BATCH_TOKENS):
            groups.append([])
            size = 0
        groups[-1].append(text)
        size += length
    return groups


def _usage(told: _UsageMetadata | None) -> Usage | None:
    count = None if told is None else told.prompt_token_count
    return None if count is None or count < 0 else Usage(input_tokens=count)
