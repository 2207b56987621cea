"""Requests that go out in several calls: one attempt in the ledger, at the sum of what was answered, however it ends."""

import json
from typing import Any

import msgspec
import pytest

from router.domain.errors import UnsupportedFeature, UpstreamError
from router.domain.requests import Api, Kind, ModelRequest, parse_request
from router.domain.routes import Alias, Candidate, ProviderSpec, Target
from router.domain.upstream import FailureKind, TransportFailure
from router.domain.usage import Price, Usage
from router.gateway.bounds import bound_of
from tests.gateway.fakes import Scripted, status
from tests.gateway.table import Table

PRICE = Price(input=1_000_000, output=0)
TEI = ProviderSpec(
    "p",
    "openai-compatible",
    "http://p.test/v1",
    apis=frozenset({Api.TEI_EMBED}),
    translates=frozenset({Api.EMBEDDINGS}),
    max_batch=1,
)
COHERE = ProviderSpec(
    "p",
    "cohere",
    "http://p.test",
    apis=frozenset({Api.COHERE_EMBED, Api.COHERE_RERANK}),
    translates=frozenset({Api.EMBEDDINGS, Api.RERANK}),
    max_batch=1,
)


def table(spec: ProviderSpec, *script: Scripted | Exception, kind: Kind = Kind.EMBEDDINGS, price: Price = PRICE) -> Table:
    target = Target("p/m", "p", "m", price=price, provider_type=spec.type)
    return Table(Alias("a", kind, (target,), max_attempts=1), providers=[spec], p=list(script))


def embeddings(**asked: Any) -> ModelRequest:
    return parse_request(Api.EMBEDDINGS, msgspec.json.encode({"model": "a", **asked}))


def vector(*numbers: float, tokens: int | None = None) -> Scripted:
    meta = {} if tokens is None else {"meta": {"billed_units": {"input_tokens": tokens}}}
    return Scripted(body=msgspec.json.encode({"id": "e", "embeddings": {"float": [list(numbers)]}, **meta}))


async def test_an_attempt_costs_the_sum_of_its_parts() -> None:
    told = table(COHERE, vector(1, tokens=3), vector(2, tokens=4), vector(3, tokens=5))
    async with told.open(embeddings(input=["a", "b", "c"])) as got:
        body = json.loads(got.body or b"")
    assert [one["embedding"] for one in body["data"]] == [[1], [2], [3]]
    (attempt,) = told.entry.attempts
    assert (attempt.usage.input_tokens, attempt.cost, told.entry.cost) == (12, 12, 12)
    assert [call.to.url for call in told.transport.calls] == ["http://p.test/v2/embed"] * 3
    assert attempt.usage.estimated is False


async def test_what_was_answered_before_a_refusal_is_paid_for() -> None:
    told = table(COHERE, vector(1, tokens=3), status(400))
    async with told.open(embeddings(input=["a", "b"])) as got:
        assert got.status == 400
        assert json.loads(got.body or b"")["error"]["message"] == "status 400"
    (attempt,) = told.entry.attempts
    assert (attempt.usage.input_tokens, attempt.cost, attempt.usage.estimated) == (3, 3, False)


async def test_what_was_answered_before_a_target_fails_is_paid_for() -> None:
    told = table(COHERE, vector(1, tokens=3), status(503))
    with pytest.raises(UpstreamError):
        await told.ask(embeddings(input=["a", "b"]))
    assert told.entry.cost == 3
    assert told.outcomes == ["server_error"]


async def test_what_was_lost_on_its_way_is_estimated_beside_what_was_answered() -> None:
    told = table(COHERE, vector(1, tokens=3), TransportFailure(FailureKind.RESET))
    with pytest.raises(UpstreamError):
        await told.ask(embeddings(input=["a", "b" * 40]))
    usage = told.entry.attempts[0].usage
    assert (usage.input_tokens, usage.estimated) == (13, True)


async def test_what_was_never_sent_is_free_beside_what_was_answered() -> None:
    told = table(COHERE, vector(1, tokens=3), TransportFailure(FailureKind.CONNECT))
    with pytest.raises(UpstreamError):
        await told.ask(embeddings(input=["a", "b"]))
    assert told.entry.cost == 3


async def test_one_part_that_was_refused_is_free() -> None:
    told = table(COHERE, status(500))
    with pytest.raises(UpstreamError):
        await told.ask(embeddings(input="a"))
    assert told.entry.cost == 0


async def test_a_part_that_makes_no_sense_is_paid_for() -> None:
    told = table(COHERE, vector(1, tokens=3), Scripted(body=b"{}"))
    with pytest.raises(Exception, match="the answer"):
        await told.ask(embeddings(input=["a", "b" * 40]))
    assert told.entry.attempts[0].usage.input_tokens == 3 + 10


async def test_what_a_target_cannot_say_costs_nothing() -> None:
    told = table(TEI, Scripted(body=b"[[1]]"))
    with pytest.raises(UnsupportedFeature):
        await told.ask(embeddings(input=[1, 2]))
    assert not told.transport.calls and told.entry.cost == 0


def candidate(kind: Kind, price: Price) -> Candidate:
    target = Target("p/m", "p", "m", price=price, provider_type="cohere")
    return Candidate(target, Alias("a", kind, (target,)), "m", "")


@pytest.mark.parametrize("asked", ["a", ["a"] * 30, ["é" * 10, ""], [""] * 40])
def test_no_sum_of_parts_passes_what_is_held(asked: str | list[str]) -> None:
    """A byte is at most a token, and a tokenizer adds two of its own to each text: they are within its quotes and comma."""
    texts = [asked] if isinstance(asked, str) else asked
    most = Usage(input_tokens=sum(len(text.encode()) + 2 for text in texts))
    assert bound_of(embeddings(input=asked), candidate(Kind.EMBEDDINGS, PRICE)).amount >= PRICE.of(most)


def rerank(**asked: Any) -> ModelRequest:
    return parse_request(Api.RERANK, msgspec.json.encode({"model": "a", "query": "q", **asked}))


def ranking(units: int | None) -> Scripted:
    meta = {} if units is None else {"meta": {"billed_units": {"search_units": units}}}
    return Scripted(body=msgspec.json.encode({"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], **meta}))


SEARCH = Price(input=0, output=0, search=2_000_000_000_000)


async def test_a_search_has_a_price() -> None:
    told = table(COHERE, ranking(3), kind=Kind.RERANK, price=SEARCH)
    async with told.open(rerank(documents=["a"])) as got:
        assert json.loads(got.body or b"")["meta"] == {"billed_units": {"search_units": 3}}
    assert told.entry.usage.searches == 3
    assert told.entry.cost == 3 * 2_000_000


async def test_among_those_of_one_shape_a_ranking_passes_and_is_a_search() -> None:
    spec = ProviderSpec("p", "openai-compatible", "http://p.test/v1", apis=frozenset({Api.RERANK}))
    told = table(spec, ranking(None), kind=Kind.RERANK, price=SEARCH)
    async with told.open(rerank(documents=["a"])) as got:
        assert (got.body or b"").startswith(b'{"id":"r","results"')
    assert told.transport.calls[0].to.url == "http://p.test/v1/rerank"
    assert told.entry.cost == 2_000_000


@pytest.mark.parametrize("documents", [["a"], ["a"] * 101, ["word " * 200] * 100])
def test_a_ranking_is_held_at_what_it_can_be_billed_as(documents: list[str]) -> None:
    """A document of more than 500 tokens, the query's among them, counts as several; a hundred are a search."""
    chunks = sum(-(-len(document) // 499) for document in documents)
    bound = bound_of(rerank(documents=documents), candidate(Kind.RERANK, SEARCH))
    assert SEARCH.of(Usage(searches=-(-chunks // 100))) <= bound.amount <= SEARCH.of(Usage(searches=chunks))
