"""Servers people run themselves, and Hugging Face: Text Embeddings Inference, feature extraction, Ollama's own embed."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.domain.usage import Usage
from router.providers.codec import ToldError
from router.providers.parted.embeddings import EmbeddingQuery, Vectors, check
from router.providers.parted.errors import decode_error
from router.providers.parted.lane import Part, Said, estimate_of, refuse, refuse_others
from router.providers.parted.members import decoded, packed
from router.providers.parted.rerank import Ranked, Ranking, RerankQuery

TEI_BATCH = 32
"""`--max-client-batch-size` of Text Embeddings Inference, where nobody set another."""


class _Rank(msgspec.Struct):
    index: int
    score: msgspec.Raw


class _Embedded(msgspec.Struct):
    embeddings: list[msgspec.Raw]
    prompt_eval_count: int | None = None


class TextEmbeddings:
    """`/embed` of Text Embeddings Inference; feature extraction of Hugging Face's router, which knows no dimensions."""

    def __init__(self, most: int | None = None, *, has_dimensions: bool = True) -> None:
        self._most = most or TEI_BATCH
        self._has_dimensions = has_dimensions

    def encode_query(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        check(query, target, dimensions=self._has_dimensions)
        size = {} if query.dimensions is None else {"dimensions": query.dimensions}
        groups = packed(query.texts, self._most)
        return Said(
            [Part(msgspec.json.encode({"inputs": texts, **size}), estimate_of(texts)) for texts in groups], query.dropped
        )

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Vectors:
        vectors: list[msgspec.Raw] = decoded(answer, list[msgspec.Raw])
        # A server that was sent one text may answer with its vector alone.
        is_alone = bool(vectors) and not bytes(vectors[0]).startswith(b"[")
        return Vectors([msgspec.Raw(answer.strip())] if is_alone else vectors)

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


class TextRerank:
    """`/rerank` of Text Embeddings Inference. `most` documents a call."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most or TEI_BATCH

    def encode_query(self, query: RerankQuery, model: str, target: str) -> Said:
        if query.max_tokens_per_doc is not None:
            raise refuse("max_tokens_per_doc", target, "it has no word for it")
        refuse_others(query.others, target)
        parts = []
        for number, texts in enumerate(packed(query.documents, self.most)):
            body: dict[str, Any] = {"query": query.query, "texts": texts}
            parts.append(Part(msgspec.json.encode(body), estimate_of([query.query, *texts], searches=number == 0)))
        return Said(parts, query.dropped)

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Ranking:
        return Ranking([Ranked(one.index, one.score) for one in decoded(answer, list[_Rank])])

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)


class OllamaEmbeddings:
    """`/api/embed`."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most

    def encode_query(self, query: EmbeddingQuery, model: str, target: str) -> Said:
        check(query, target)
        # Without this word Ollama cuts what is too long and says nothing.
        fixed: dict[str, Any] = {"model": model, "truncate": False}
        if query.dimensions is not None:
            fixed["dimensions"] = query.dimensions
        groups = packed(query.texts, self._most or len(query.texts))
        return Said(
            [Part(msgspec.json.encode({**fixed, "input": texts}), estimate_of(texts)) for texts in groups], query.dropped
        )

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Vectors:
        found = decoded(answer, _Embedded)
        count = found.prompt_eval_count
        return Vectors(found.embeddings, None if count is None or count < 0 else Usage(input_tokens=count))

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)
