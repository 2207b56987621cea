"""Rerank of Bedrock: one query, documents inline."""

from collections.abc import Mapping
from typing import Any

import msgspec

from router.providers.codec import ToldError
from router.providers.parted.errors import decode_error
from router.providers.parted.lane import Part, Said, estimate_of, refuse, refuse_others
from router.providers.parted.members import decoded
from router.providers.parted.rerank import Ranked, Ranking, RerankQuery, searches_for

_MOST_DOCUMENTS = 1000


class _Result(msgspec.Struct, rename="camel"):
    index: int
    relevance_score: msgspec.Raw


class _Answer(msgspec.Struct):
    results: list[_Result]


class BedrockRerank:
    """A model is named by its ARN: one of the region's where the target names only the model."""

    def __init__(self, region: str) -> None:
        self._region = region

    def encode_query(self, query: RerankQuery, model: str, target: str) -> Said:
        if len(query.documents) > _MOST_DOCUMENTS:
            raise refuse("documents", target, f"it takes at most {_MOST_DOCUMENTS}")
        if query.max_tokens_per_doc is not None:
            raise refuse("max_tokens_per_doc", target, "it has no word for it")
        refuse_others(query.others, target)
        arn = model if model.startswith("arn:") else f"arn:aws:bedrock:{self._region}::foundation-model/{model}"
        # Without a number only the best few might come; an explicit one never asks for more than there are.
        most = min(query.top_n or len(query.documents), len(query.documents))
        ranking: dict[str, Any] = {"modelConfiguration": {"modelArn": arn}, "numberOfResults": most}
        body = {
            "queries": [{"type": "TEXT", "textQuery": {"text": query.query}}],
            "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL", "bedrockRerankingConfiguration": ranking},
            "sources": [
                {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}
                for text in query.documents
            ],
        }
        estimate = estimate_of([query.query, *query.documents], searches=searches_for(len(query.documents)))
        return Said([Part(msgspec.json.encode(body), estimate)], query.dropped)

    def decode_result(self, answer: bytes, headers: Mapping[str, str]) -> Ranking:
        return Ranking([Ranked(one.index, one.relevance_score) for one in decoded(answer, _Answer).results])

    def decode_error(self, status: int, body: bytes) -> ToldError:
        return decode_error(status, body)
