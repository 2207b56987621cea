"""Every recorded embedding, ranking and count of a provider that is not asked in the caller's words: whole, at its count."""

from array import array
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from anthropic.types import MessageTokensCount
from openai.types import CreateEmbeddingResponse

from router.domain.requests import Api, parse_request
from router.domain.routes import ProviderSpec
from router.domain.upstream import Answered
from router.domain.usage import NOTHING, Usage
from router.providers.lanes import lane_of
from router.providers.openai_chat_codec.accents import COMPATIBLE
from router.providers.parted.bedrock_embeddings import BedrockEmbeddings
from router.providers.parted.bedrock_rerank import BedrockRerank
from router.providers.parted.cohere import CohereEmbeddings, CohereRerank
from router.providers.parted.embeddings import EmbeddingsCaller
from router.providers.parted.google_embeddings import GeminiEmbeddings, VertexEmbeddings
from router.providers.parted.lane import PartedLane, PartedRequest, PartedTarget
from router.providers.parted.local import TextEmbeddings
from router.providers.parted.rerank import RerankCaller
from tests.conformance.every import NOVA, Recording, labels, recording
from tests.conformance.recordings import ABSENT, EXPLAINED_CHATS

NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
EMBEDDINGS: dict[str, PartedTarget[Any, Any]] = {
    "gemini.batchEmbedContents": GeminiEmbeddings(),
    "vertex.predict": VertexEmbeddings(),
    "vertex.embedContent": VertexEmbeddings(),
    "cohere.v2_embed": CohereEmbeddings(),
    "huggingface.task": TextEmbeddings(has_dimensions=False),
}
RERANKS: dict[str, PartedTarget[Any, Any]] = {
    "cohere.v2_rerank": CohereRerank(),
    "bedrock.rerank": BedrockRerank("us-east-1"),
}


def named(*wanted: str, refused: bool) -> list[Any]:
    tried = (name for name, label in labels().items() if label in wanted and name not in EXPLAINED_CHATS)
    return [name for name in tried if (recording(name).status >= 300) == refused] or [NONE]


def vectors_in(told: Any) -> list[Any]:
    """Of any provider's answer, by its shape alone."""
    if isinstance(told, list):
        return told if isinstance(told[0], list) else [told]
    if "predictions" in told:
        return [one["embeddings"]["values"] for one in told["predictions"]]
    if "embedding" in told:
        return [told["embedding"]["values"]]
    found = told["embeddings"]
    if isinstance(found, dict):
        return list(found["float"])
    return [one.get("values") or one["embedding"] for one in found]


def count_in(told: Any) -> Any:
    """None where the provider counts none."""
    if isinstance(told, list):
        return None
    if "predictions" in told:
        return sum(one["embeddings"]["statistics"]["token_count"] for one in told["predictions"])
    count = told.get("usageMetadata", {}).get("promptTokenCount")
    return count if count is not None else told.get("meta", {}).get("billed_units", {}).get("input_tokens")


def answered(lane: PartedLane, api: Api, of: Recording, **asked: Any) -> tuple[Any, Usage]:
    """The recording as the one part's answer to a request of our own."""
    told = lane.translation(parse_request(api, msgspec.json.encode({"model": "a", **asked})), "m", "p/m")
    assert isinstance(told, PartedRequest)
    assert len(told.parts.bodies) == 1
    told.parts.answered[0] = Answered(of.body, of.headers)
    body, usage = told.answer(b"", 1)
    return body, usage


@pytest.mark.parametrize("recorded", named(*EMBEDDINGS, refused=False), ids=str)
def test_recorded_vectors_come_over_whole_and_at_their_count(recorded: str) -> None:
    of = recording(recorded)
    lane, told = PartedLane(EmbeddingsCaller(), EMBEDDINGS[of.label]), msgspec.json.decode(of.body)
    vectors = vectors_in(told)
    texts = ["x"] * len(vectors)
    body, usage = answered(lane, Api.EMBEDDINGS, of, input=texts)
    read = CreateEmbeddingResponse.model_validate_json(body, strict=True)
    assert [one.embedding for one in read.data] == vectors
    assert [one.index for one in read.data] == list(range(len(vectors)))
    count = count_in(told)
    assert usage.estimated is (count is None)
    assert read.usage.prompt_tokens == usage.input_tokens == (count if count is not None else len(texts))
    packed, _ = answered(lane, Api.EMBEDDINGS, of, input=texts, encoding_format="base64")
    said = msgspec.json.decode(packed)["data"]
    assert [b64decode(one["embedding"]) for one in said] == [array("f", vector).tobytes() for vector in vectors]


@pytest.mark.parametrize("recorded", [NOVA] if labels() else [NONE])
def test_a_recorded_nova_embedding_comes_over_whole(recorded: str) -> None:
    of = recording(recorded)
    assert of.sent is not None
    sent = msgspec.json.decode(msgspec.json.encode(of.sent))
    text = sent["singleEmbeddingParams"].pop("text")["value"]
    request = parse_request(Api.EMBEDDINGS, msgspec.json.encode({"model": "a", "input": text, "dimensions": 256}))
    lane = PartedLane(EmbeddingsCaller(), BedrockEmbeddings())
    told = lane.translation(request, "amazon.nova-2-multimodal-embeddings-v1:0", "p/m")
    ours = msgspec.json.decode(told.body)
    assert ours["singleEmbeddingParams"].pop("text")["value"] == text
    assert ours == sent
    told.parts.answered[0] = Answered(of.body, of.headers)
    body, usage = told.answer(b"", 1)
    [vector] = [one["embedding"] for one in msgspec.json.decode(of.body)["embeddings"]]
    assert CreateEmbeddingResponse.model_validate_json(body).data[0].embedding == vector
    assert usage.estimated


@pytest.mark.parametrize("recorded", named(*RERANKS, refused=False), ids=str)
def test_recorded_rankings_come_over_whole_and_at_their_count(recorded: str) -> None:
    of = recording(recorded)
    documents = (of.sent or {}).get("documents") or [f"document {number}" for number in range(6)]
    asked = {"query": "q", "documents": documents, "return_documents": True}
    body, usage = answered(PartedLane(RerankCaller(), RERANKS[of.label]), Api.RERANK, of, **asked)
    told, wanted = msgspec.json.decode(body), msgspec.json.decode(of.body)
    scores = [(one["index"], one.get("relevance_score", one.get("relevanceScore"))) for one in wanted["results"]]
    assert [(one["index"], one["relevance_score"]) for one in told["results"]] == scores
    assert [one["document"]["text"] for one in told["results"]] == [documents[index] for index, _ in scores]
    units = wanted.get("meta", {}).get("billed_units", {}).get("search_units")
    assert usage.searches == (units or 1)
    assert usage.estimated is (units is None)


@pytest.mark.parametrize("recorded", named(*EMBEDDINGS, *RERANKS, refused=True), ids=str)
def test_recorded_refusals_are_told_in_their_words(recorded: str) -> None:
    of = recording(recorded)
    told = msgspec.json.decode(of.body)
    error = (EMBEDDINGS | RERANKS)[of.label].decode_error(of.status, of.body)
    assert error.message == told.get("error", told)["message"]


# -- counts of tokens -------------------------------------------------------------------------------------------

COUNTS = {
    "bedrock.count-tokens": ("bedrock", Api.CONVERSE_COUNT, "inputTokens"),
    "gemini.countTokens": ("gemini", Api.GEMINI_COUNT, "totalTokens"),
    "vertex.countTokens": ("vertex", Api.GEMINI_COUNT, "totalTokens"),
    "openai.responses_aux": ("openai", Api.RESPONSES_COUNT, "input_tokens"),
}
"""Label -> the provider's type, the API that counts, and where its answer has the number."""
COUNTED = [
    name
    for name, label in labels().items()
    if label in COUNTS and (label != "openai.responses_aux" or recording(name).path.endswith("/input_tokens"))
]


@pytest.mark.parametrize("recorded", COUNTED or [NONE], ids=str)
def test_a_recorded_count_of_tokens_is_told_in_anthropics_words(recorded: str) -> None:
    of = recording(recorded)
    kind, spoken, member = COUNTS[of.label]
    lane = lane_of(Api.COUNT_TOKENS, ProviderSpec("p", kind, "https://p.test", apis=frozenset({spoken})), COMPATIBLE)
    asked = {"model": "a", "messages": [{"role": "user", "content": "x"}]}
    way_back = lane.translated.translation(parse_request(Api.COUNT_TOKENS, msgspec.json.encode(asked)), "m", "p/m")
    told = msgspec.json.decode(of.body)
    if of.status >= 300:
        assert msgspec.json.decode(way_back.refusal(of.status, of.body))["error"]["message"] == told["message"]
        return
    body, usage = way_back.answer(of.body, 1)
    assert MessageTokensCount.model_validate_json(body).input_tokens == told[member]
    assert usage == NOTHING
