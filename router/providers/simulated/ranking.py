"""Rerank: documents that share words with the query come first."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.providers.simulated.exchange import Exchange, faulty_count, json_exchange, noted
from router.providers.simulated.judgement import embed
from router.providers.simulated.options import FaultKind, SimulateOptions
from router.providers.simulated.reply import Count
from router.providers.simulated.request import BadRequest, model_of
from router.providers.simulated.text import Draws, estimate_tokens

_DIMENSIONS = 256
_MOST_DOCUMENTS = 10_000
_PER_SEARCH = 100


def answer_rerank(body: Mapping[str, Any], options: SimulateOptions, fault: FaultKind | None, _created: int) -> Exchange:
    """Raises BadRequest."""
    model, query, texts = model_of(body), body.get("query"), _texts(body.get("documents"))
    if not isinstance(query, str):
        raise BadRequest("Missing required parameter: 'query'.", "query", "missing_required_parameter")
    top_n = body.get("top_n")
    if top_n is not None and (not isinstance(top_n, int) or top_n < 1):
        raise BadRequest("Invalid 'top_n': expected a positive integer.", "top_n", "invalid_value")
    space = f"{model}\0{options.seed}"
    asked = embed(query, _DIMENSIONS, space)
    scores = [_score(asked, embed(text, _DIMENSIONS, space)) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: (-scores[index], index))[:top_n]
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in order]
    if body.get("return_documents") is True:
        results = [result | {"document": {"text": texts[result["index"]]}} for result in results]
    tokens = sum(estimate_tokens(text) for text in (query, *texts))
    answer = {"id": "rerank-" + Draws("rerank", options.seed, query, *texts).hex(24), "model": model, "results": results}
    return replace(json_exchange(answer | _usage(tokens, len(texts), fault)), usage=noted(Count(tokens, 0, 0)))


def _texts(documents: object) -> list[str]:
    found = documents if isinstance(documents, list) else []
    texts = [one.get("text") if isinstance(one, dict) else one for one in found]
    if not 1 <= len(texts) <= _MOST_DOCUMENTS or not all(isinstance(text, str) for text in texts):
        message = f"Invalid 'documents': expected 1 to {_MOST_DOCUMENTS} strings or objects with a text."
        raise BadRequest(message, "documents", "invalid_value")
    return [text for text in texts if isinstance(text, str)]


def _score(one: list[float], other: list[float]) -> float:
    """Of two unit vectors, from 0 to 1."""
    return round((1 + sum(a * b for a, b in zip(one, other, strict=True))) / 2, 6)


def _usage(tokens: int, documents: int, fault: FaultKind | None) -> dict[str, Any]:
    if fault is FaultKind.USAGE_ABSENT:
        return {}
    said = faulty_count(Count(tokens, 0, 0), fault)
    if said is None:
        return {"meta": None, "usage": None}
    units = -(-documents // _PER_SEARCH)
    return {"meta": {"billed_units": {"search_units": units}}, "usage": {"total_tokens": said.input}}
