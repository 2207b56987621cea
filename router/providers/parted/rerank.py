"""Rerank in common words, and callers of it in the shape of Cohere and Jina: documents in the order of their relevance."""

from collections.abc import Mapping, Sequence

import msgspec

from router.domain.errors import InvalidRequest
from router.domain.usage import Usage
from router.providers.parted.members import Members, decoded

DOCUMENTS_PER_SEARCH = 100
"""What is sold as one search, at Cohere and at Bedrock."""

DROPPED: Mapping[str, str] = {
    "user": "a name for the provider's own watch over abuse; the ledger keeps it",
    "metadata": "no provider of rerank takes any; the ledger keeps it",
}
"""What of a rerank request no target but those of its own shape is told."""

_MOST_DOCUMENTS = 10_000
_INERT = (("stream", b"false"),)


class _Document(msgspec.Struct):
    text: str


class RerankQuery(msgspec.Struct, frozen=True):
    """`is_shown`: the documents are to come back with their scores."""

    query: str
    documents: tuple[str, ...]
    top_n: int | None = None
    is_shown: bool = False
    max_tokens_per_doc: int | None = None
    dropped: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Ranked(msgspec.Struct, frozen=True):
    """The document's place in its part; the score as the provider wrote it."""

    index: int
    score: msgspec.Raw


class Ranking(msgspec.Struct, frozen=True):
    """One part's documents."""

    ranked: Sequence[Ranked]
    usage: Usage | None = None
    id: str = ""


class RerankCaller:
    """`POST /v1/rerank`. Where a target takes few documents at a time, parts hold them in their order, `most` in each."""

    def __init__(self, most: int = _MOST_DOCUMENTS) -> None:
        self._most = most

    def decode_query(self, body: bytes) -> RerankQuery:
        members = Members(body)
        members.take("model", str, "a string")
        query = members.need("query", str, "a string")
        documents = members.need("documents", list[str | _Document], 'a list of strings or of {"text": string}')
        if not 1 <= len(documents) <= _MOST_DOCUMENTS:
            raise InvalidRequest(
                f"documents: expected 1 to {_MOST_DOCUMENTS} documents, found {len(documents)}", param="documents"
            )
        return RerankQuery(
            query,
            tuple(one if isinstance(one, str) else one.text for one in documents),
            _positive("top_n", members.take("top_n", int, "a positive integer")),
            members.take("return_documents", bool, "true or false") or False,
            _positive("max_tokens_per_doc", members.take("max_tokens_per_doc", int, "a positive integer")),
            members.drop(DROPPED),
            members.rest(*_INERT),
        )

    def encode_result(self, query: RerankQuery, pieces: Sequence[Ranking], model: str, usage: Usage) -> bytes:
        results = self._results(query, pieces)
        counts: dict[str, object] = {"total_tokens": usage.input_tokens}
        if usage.estimated:
            counts["estimated"] = True
        told: dict[str, object] = {"object": "list", "id": pieces[0].id, "model": model, "results": results}
        if not pieces[0].id:
            del told["id"]
        if usage.searches:
            told["meta"] = {"billed_units": {"search_units": usage.searches}}
        if usage.input_tokens:
            told["usage"] = counts
        return msgspec.json.encode(told)

    def _results(self, query: RerankQuery, pieces: Sequence[Ranking]) -> list[dict[str, object]]:
        """Of all parts, the best first. Raises ValueError for a document nobody sent."""
        ranked = [
            (number * self._most + one.index, one.score) for number, piece in enumerate(pieces) for one in piece.ranked
        ]
        known = range(len(query.documents))
        if any(index not in known for index, _ in ranked) or len({index for index, _ in ranked}) != len(ranked):
            raise ValueError("the answer ranks a document twice, or one that was not sent")
        ranked.sort(key=lambda one: -decoded(bytes(one[1]), float))
        shown = ranked[: query.top_n]
        return [
            {"index": index, "relevance_score": score}
            | ({"document": {"text": query.documents[index]}} if query.is_shown else {})
            for index, score in shown
        ]


def searches_for(documents: int) -> int:
    return -(-documents // DOCUMENTS_PER_SEARCH)


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InvalidRequest(f"{name}: expected a positive integer, found {value}", param=name)
    return value
