"""The simulated provider's rerank: a shape that Cohere's and Jina's callers know, and an order that makes sense."""

import json
from typing import Any

import pytest

from router.domain.requests import Api
from router.providers.dialects import DIALECTS
from router.providers.simulated.options import parse_options
from router.providers.simulated.provider import Received, Simulator

DOCUMENTS = ["Paris is in France", "Ruby is a programming language", {"text": "Rails is a Ruby framework"}]


def answered(**body: Any) -> tuple[int, Any, bytes]:
    received = Received("POST", "/v1/rerank", {}, json.dumps({"model": "m", **body}).encode(), 1)
    exchange = Simulator(parse_options({})).answer(received)
    data = b"".join(piece.data for piece in exchange.pieces)
    return exchange.status, json.loads(data), data


def test_documents_that_share_words_with_the_query_come_first() -> None:
    status, body, data = answered(query="a ruby framework", documents=DOCUMENTS, top_n=2, return_documents=True)
    assert status == 200
    assert [one["index"] for one in body["results"]] == [2, 1]
    assert body["results"][0]["document"] == {"text": "Rails is a Ruby framework"}
    scores = [one["relevance_score"] for one in body["results"]]
    assert 1 >= scores[0] > scores[1] >= 0
    usage = DIALECTS[Api.RERANK].usage_of(data)
    assert usage is not None and usage.searches == 1 and usage.input_tokens > 0


def test_the_same_request_gets_the_same_answer() -> None:
    assert answered(query="q", documents=["a", "b"]) == answered(query="q", documents=["a", "b"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": [1]}, "documents"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
    ],
)
def test_a_bad_request_is_told_by_its_field(body: dict[str, Any], param: str) -> None:
    status, told, _ = answered(**body)
    assert (status, told["error"]["param"]) == (400, param)
