"""The OpenAI SDK through the real daemon to every kind of provider of embeddings, rerank and moderations."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tests.clients.vector_providers import VectorProvider, vector
from tests.daemon import AUTH, KEY, Daemon, Workplace, settings

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

EMBEDDINGS = {
    "gemini": "gemini-embedding-001",
    "vertex": "text-embedding-005",
    "vertex-single": "gemini-embedding-2",
    "bedrock": "amazon.titan-embed-text-v2:0",
    "bedrock-cohere": "cohere.embed-english-v3",
    "cohere": "embed-v4.0",
    "ollama": "nomic-embed-text",
    "tei": "bge",
    "hub": "sentence-transformers/all-MiniLM-L6-v2",
    "compatible": "m",
}
CALLS = {
    "gemini": 2,
    "vertex": 1,
    "vertex-single": 120,
    "bedrock": 120,
    "bedrock-cohere": 2,
    "cohere": 2,
    "tei": 4,
    "hub": 4,
}
ESTIMATED = {"tei", "hub"}
TEXTS = [f"text number {number}" for number in range(120)]


def providers(origin: str) -> dict[str, Any]:
    aws = {"type": "bedrock", "region": "us-east-1", "access_key_id": "AKIAEXAMPLE", "secret_access_key": "of-the-tests"}
    vertex = {"type": "vertex", "api_key": "of-the-tests", "base_url": origin}
    return {
        "gemini": {"type": "gemini", "api_key": "of-the-tests", "base_url": origin},
        "vertex": vertex,
        "vertex-single": vertex,
        "bedrock": aws | {"base_url": origin},
        "bedrock-cohere": aws | {"base_url": origin},
        "cohere": {"type": "cohere", "api_key": "of-the-tests", "base_url": origin},
        "ollama": {"type": "ollama", "base_url": f"{origin}/v1", "apis": ["ollama_embed"]},
        "tei": {"type": "openai-compatible", "base_url": origin, "apis": ["tei_embed", "tei_rerank"]},
        "hub": {"type": "huggingface", "api_key": "of-the-tests", "base_url": f"{origin}/v1"},
        "compatible": {"type": "openai-compatible", "base_url": f"{origin}/v1"},
        "safety": {"type": "azure-openai", "endpoint": origin, "api_key": "of-the-tests", "apis": ["content_safety"]},
    }


@dataclass
class Place:
    daemon: Daemon
    provider: VectorProvider
    sdk: openai.AsyncOpenAI

    async def rerank(self, **body: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.daemon.url}/v1/rerank", json=body, headers=AUTH) as answer,
        ):
            return answer.status, await answer.json()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[Place]:
    folder = Workplace()
    price = {"input": 1}
    async with VectorProvider().running() as provider:
        aliases: dict[str, Any] = {
            name: {"type": "embeddings", "targets": [{"provider": name, "model": model}], "price": price}
            for name, model in EMBEDDINGS.items()
        }
        for name in ("cohere", "bedrock", "tei", "compatible"):
            target = {"provider": name, "model": "rerank-v3.5"}
            aliases[f"rank-{name}"] = {"type": "rerank", "targets": [target], "price": {"search": 2000}}
        aliases["safety"] = {
            "type": "moderation",
            "targets": [{"provider": "safety", "model": "text"}],
            "price": {"input": 0},
        }
        config = settings(providers(provider.origin), aliases, defaults={"embeddings": "gemini", "moderation": "safety"})
        with Daemon(folder, config) as daemon:
            async with openai.AsyncOpenAI(base_url=f"{daemon.url}/v1", api_key=KEY, max_retries=0) as sdk:
                yield Place(daemon, provider, sdk)
    folder.remove()


@pytest.mark.parametrize("name", EMBEDDINGS)
async def test_the_sdk_gets_its_vectors_in_order_from(place: Place, name: str) -> None:
    """It asks for base64 and unpacks it by itself; asked for floats it gets them as they are."""
    place.provider.calls.clear()
    made = await place.sdk.embeddings.create(model=name, input=TEXTS, extra_headers={"X-Request-Id": f"packed-{name}"})
    assert [one.embedding for one in made.data] == [vector(text) for text in TEXTS]
    assert len(place.provider.calls) == CALLS.get(name, 1)
    row = await place.daemon.entry(f"packed-{name}")
    assert (row["estimated"], row["input_tokens"]) == (int(name in ESTIMATED), made.usage.prompt_tokens)
    if name not in ESTIMATED:
        assert made.usage.prompt_tokens == sum(map(len, TEXTS))
    assert row["cost_nano"] == made.usage.prompt_tokens * 1000
    plain = await place.sdk.embeddings.create(model=name, input="one", encoding_format="float")
    assert [one.embedding for one in plain.data] == [vector("one")]


async def test_a_google_model_may_be_the_default_for_embeddings(place: Place) -> None:
    for given in ("hello world", ["first", "second"], ["a", "b", "c"]):
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{place.daemon.url}/v1/embeddings", json={"input": given}, headers=AUTH) as answer,
        ):
            body = await answer.json()
        texts = [given] if isinstance(given, str) else given
        assert (answer.status, answer.headers["X-Router-Provider"]) == (200, "gemini")
        assert [one["embedding"] for one in body["data"]] == [vector(text) for text in texts]


async def test_calls_to_bedrock_are_signed_each_by_itself(place: Place) -> None:
    place.provider.headers.clear()
    await place.sdk.embeddings.create(model="bedrock", input=["a", "b"])
    signatures = {headers["authorization"].rpartition("Signature=")[2] for headers in place.provider.headers}
    assert len(signatures) == 2


async def test_a_refused_part_refuses_the_whole_and_the_rest_is_paid_for(place: Place) -> None:
    with pytest.raises(openai.BadRequestError, match="no"):
        await place.sdk.embeddings.create(
            model="bedrock", input=["four"] * 20 + ["refuse"], extra_headers={"X-Request-Id": "part"}
        )
    row = await place.daemon.entry("part")
    assert (row["input_tokens"], row["estimated"]) == (80, 0)
    assert row["cost_nano"] == 80_000


async def test_tokens_are_refused_by_name(place: Place) -> None:
    with pytest.raises(openai.BadRequestError, match=r"input cannot be said to cohere/embed-v4\.0") as refused:
        await place.sdk.embeddings.create(model="cohere", input=[1, 2, 3])
    assert (refused.value.code, refused.value.param) == ("unsupported_feature", "input")


@pytest.mark.parametrize("name", ["cohere", "bedrock", "tei", "compatible"])
async def test_documents_come_in_the_order_of_their_relevance_from(place: Place, name: str) -> None:
    documents = ["ab", "abcd", "abc"]
    status, body = await place.rerank(model=f"rank-{name}", query="q", documents=documents, top_n=2)
    assert status == 200
    assert [(one["index"], one["relevance_score"]) for one in body["results"]][:2] == [(1, 0.04), (2, 0.03)]


async def test_a_search_costs_what_the_catalog_says(place: Place) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{place.daemon.url}/v1/rerank",
            json={"model": "rank-cohere", "query": "q", "documents": [{"text": "a"}], "return_documents": True},
            headers=AUTH | {"X-Request-Id": "searched"},
        ) as answer,
    ):
        body = await answer.json()
    assert answer.headers["X-Cost-USD"] == "0.002"
    assert (await place.daemon.entry("searched"))["searches"] == 1
    assert body["results"] == [{"index": 0, "relevance_score": 0.01, "document": {"text": "a"}}]


async def test_azure_s_content_safety_answers_moderations(place: Place) -> None:
    judged = await place.sdk.moderations.create(model="safety", input=["good day", "I will stab you"])
    assert [one.flagged for one in judged.results] == [False, True]
    assert judged.results[1].categories.violence
    path, _ = place.provider.calls[-1]
    assert path == "/contentsafety/text:analyze?api-version=2024-09-01"
    assert place.provider.headers[-1]["ocp-apim-subscription-key"] == "of-the-tests"
