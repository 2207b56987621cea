"""Cohere's v2 embed and rerank."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.domain.usage import Usage
from router.providers.codec import ToldError
from router.providers.parted.embeddings import EmbeddingQuery, Vectors, check
from router.providers.parted.errors import decode_error
from router.providers.parted.lane import Part, Said, estimate_of, refuse_others
from router.providers.parted.members import decoded, packed
from router.providers.parted.rerank import Ranked, Ranking, RerankQuery, searches_for

COHERE_BATCH = 96
"""Texts in one call, by Cohere's documentation."""

_DEFAULT_PURPOSE = "search_document"


class _Billed(msgspec.Struct):
    input_tokens: float | None = None
    search_units: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None


class _Answer(msgspec.Struct):
    embeddings: msgspec.Raw
    meta: _Meta | None = None


class _ByType(msgspec.Struct):
    float: list[msgspec.Raw]


class _Ranked(msgspec.Struct):
    index: int
    relevance_score: msgspec.Raw


class _Ranking(msgspec.Struct):
    results: list[_Ranked]
    id: str = ""
    meta: _Meta | None = None


class CohereEmbeddings:
    def __init__(self, most: int | None = None) -> None:
        self._most = most or COHERE_BATCH

    def encode_query(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        check(query, target, purpose=True)
        purpose = query.purpose or _DEFAULT_PURPOSE
        fixed: dict[str, Any] = {"model": model, "input_type": purpose, "embedding_types": ["float"]}
        if query.dimensions is not None:
            fixed["output_dimension"] = query.dimensions
        # A text that is too long is an error, as with every other target.
        fixed["truncate"] = "NONE"
        groups = packed(query.texts, self._most)
        return Said(
            [Part(msgspec.json.encode({**fixed, "texts": texts}), estimate_of(texts)) for texts in groups], query.dropped
        )

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Vectors:
        billed = _billed(decoded(answer, _Answer).meta)
        count = None if billed is None else billed.input_tokens
        return Vectors(vectors_by_type(answer), None if count is None or count < 0 else Usage(input_tokens=int(count)))

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


class CohereRerank:
    """One call, whatever the number of documents: scores of several calls would be comparable, their price would not."""

    def encode_query(self, query: RerankQuery, model: str, target: str) -> Said:
        refuse_others(query.others, target)
        body: dict[str, Any] = {"model": model, "query": query.query, "documents": query.documents}
        if query.top_n is not None:
            body["top_n"] = query.top_n
        if query.max_tokens_per_doc is not None:
            body["max_tokens_per_doc"] = query.max_tokens_per_doc
        estimate = estimate_of([query.query, *query.documents], searches=searches_for(len(query.documents)))
        return Said([Part(msgspec.json.encode(body), estimate)], query.dropped)

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Ranking:
        found = decoded(answer, _Ranking)
        billed = _billed(found.meta)
        units = None if billed is None else billed.search_units
        usage = None if units is None or units < 0 else Usage(searches=-int(-units // 1))
        return Ranking([Ranked(one.index, one.relevance_score) for one in found.results], usage, found.id)

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


def vectors_by_type(answer: bytes) -> list[msgspec.Raw]:
    """Raises ValueError. Older models answer with the floats alone."""
    found = decoded(answer, _Answer).embeddings
    if bytes(found).lstrip()[:1] == b"[":
        vectors: list[msgspec.Raw] = decoded(bytes(found), list[msgspec.Raw])
        return vectors
    by_type: _ByType = decoded(bytes(found), _ByType)
    return by_type.float


def _billed(meta: _Meta | None) -> _Billed | None:
    return None if meta is None else meta.billed_units
