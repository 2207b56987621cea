"""Recorded traffic of embeddings, rerank and moderations: whole, at the recorded count, and read by the OpenAI SDK."""

from array import array
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse, ModerationCreateResponse

from router.domain.requests import Api, parse_request
from router.domain.upstream import Answered
from router.domain.usage import Usage
from router.providers.dialects import DIALECTS
from router.providers.parted.bedrock_embeddings import BedrockEmbeddings
from router.providers.parted.bedrock_rerank import BedrockRerank
from router.providers.parted.cohere import CohereEmbeddings, CohereRerank
from router.providers.parted.embeddings import EmbeddingsCaller
from router.providers.parted.google_embeddings import GeminiEmbeddings, VertexEmbeddings
from router.providers.parted.lane import PartedLane, PartedRequest, PartedTarget
from router.providers.parted.local import TextEmbeddings
from router.providers.parted.rerank import RerankCaller
from tests.providers.parted.recordings import Recording, recordings

EMBEDDINGS: dict[str, PartedTarget[Any, Any]] = {
    "gemini/gemini.batchEmbedContents": GeminiEmbeddings(),
    "vertex/vertex.predict": VertexEmbeddings(),
    "vertex/vertex.embedContent": VertexEmbeddings(),
    "cohere/cohere.v1_embed": CohereEmbeddings(),
    "cohere/cohere.v2_embed": CohereEmbeddings(),
    "huggingface/huggingface.task": TextEmbeddings(has_dimensions=False),
}
RERANKS: dict[str, PartedTarget[Any, Any]] = {
    "cohere/cohere.v1_rerank": CohereRerank(),
    "cohere/cohere.v2_rerank": CohereRerank(),
    "bedrock/bedrock.rerank": BedrockRerank("us-east-1"),
}
OPENAI_LIKE = (
    "openai/openai.embeddings",
    "azure/azure_openai.embeddings",
    "mistral/mistral.embeddings",
    "compat-local/compat.embeddings",
    "compat-openrouter/compat.embeddings",
    "compat-perplexity/compat.embeddings",
)


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
        return list(found.get("float") or found["int8"])
    return [one.get("values") or one["embedding"] for one in found]


def count_in(told: Any) -> int | None:
    if isinstance(told, list):
        return None
    if "predictions" in told:
        return sum(one["embeddings"]["statistics"]["token_count"] for one in told["predictions"])
    count = told.get("usageMetadata", {}).get("promptTokenCount")
    return count if count is not None else told.get("meta", {}).get("billed_units", {}).get("input_tokens")


def answered(lane: PartedLane, api: Api, recording: Recording, **asked: Any) -> tuple[Any, Usage]:
    """The recording as the one part's answer to a request of our own."""
    told = lane.translation(parse_request(api, msgspec.json.encode({"model": "a", **asked})), "m", "p/m")
    assert isinstance(told, PartedRequest)
    assert len(told.parts.bodies) == 1
    told.parts.answered[0] = Answered(recording.body, recording.headers)
    body, usage = told.answer(b"", 1)
    return body, usage


@pytest.mark.parametrize("folder", EMBEDDINGS)
def test_recorded_vectors_come_over_whole_and_at_their_count(folder: str) -> None:
    lane = PartedLane(EmbeddingsCaller(), EMBEDDINGS[folder])
    for recording in recordings(folder):
        if recording.status != 200 or "int8" in recording.name:
            continue
        vectors = vectors_in(recording.json)
        texts = ["x"] * len(vectors)
        body, usage = answered(lane, Api.EMBEDDINGS, recording, input=texts)
        read = CreateEmbeddingResponse.model_validate_json(body, strict=True)
        assert [one.embedding for one in read.data] == vectors
        assert [one.index for one in read.data] == list(range(len(vectors)))
        count = count_in(recording.json)
        assert usage.estimated is (count is None)
        assert read.usage.prompt_tokens == usage.input_tokens == (count if count is not None else len(texts))
        packed, _ = answered(lane, Api.EMBEDDINGS, recording, input=texts, encoding_format="base64")
        said = msgspec.json.decode(packed)["data"]
        assert [b64decode(one["embedding"]) for one in said] == [array("f", vector).tobytes() for vector in vectors]


def test_a_recorded_nova_embedding_comes_over_whole() -> None:
    (recording,) = recordings("bedrock/bedrock.invoke", containing="embedding")
    told = PartedLane(EmbeddingsCaller(), BedrockEmbeddings())
    request = {"model": "a", "input": recording.sent["singleEmbeddingParams"]["text"]["value"], "dimensions": 256}
    lane = told.translation(
        parse_request(Api.EMBEDDINGS, msgspec.json.encode(request)), "amazon.nova-2-multimodal-embeddings-v1:0", "p/m"
    )
    sent = msgspec.json.decode(lane.body)
    assert sent["singleEmbeddingParams"].pop("text")["value"] == request["input"]
    recording.sent["singleEmbeddingParams"].pop("text")
    assert sent == recording.sent
    lane.parts.answered[0] = Answered(recording.body, recording.headers)
    body, usage = lane.answer(b"", 1)
    assert (
        CreateEmbeddingResponse.model_validate_json(body).data[0].embedding == recording.json["embeddings"][0]["embedding"]
    )
    assert usage.estimated


@pytest.mark.parametrize("folder", RERANKS)
def test_recorded_rankings_come_over_whole_and_at_their_count(folder: str) -> None:
    lane = PartedLane(RerankCaller(), RERANKS[folder])
    for recording in recordings(folder):
        documents = recording.sent.get("documents") or [f"document {number}" for number in range(6)]
        asked = {"query": "q", "documents": documents, "return_documents": True}
        body, usage = answered(lane, Api.RERANK, recording, **asked)
        told, recorded = msgspec.json.decode(body), recording.json
        scores = [(one["index"], one.get("relevance_score", one.get("relevanceScore"))) for one in recorded["results"]]
        assert [(one["index"], one["relevance_score"]) for one in told["results"]] == scores
        assert [one["document"]["text"] for one in told["results"]] == [documents[index] for index, _ in scores]
        units = recorded.get("meta", {}).get("billed_units", {}).get("search_units")
        assert usage.searches == (units or 1)
        assert usage.estimated is (units is None)


def same(sent: dict[str, Any], recorded: dict[str, Any], *ours: str) -> bool:
    """But for what the recorded client says without meaning anything, and members `ours` that we always send."""
    meant = {name: value for name, value in recorded.items() if value is not None}
    return {name: value for name, value in sent.items() if name not in ours or name in meant} == meant


PURPOSE = {"RETRIEVAL_QUERY": "query", "RETRIEVAL_DOCUMENT": "document", None: None}


def test_recorded_requests_to_gemini_are_what_we_send() -> None:
    compared = 0
    for recording in recordings("gemini/gemini.batchEmbedContents"):
        first = recording.sent["requests"][0]
        if any(len(one["content"]["parts"]) > 1 for one in recording.sent["requests"]):
            continue  # several parts of one text, or a picture: our callers cannot say either
        asked = {
            "input": [one["content"]["parts"][0]["text"] for one in recording.sent["requests"]],
            "dimensions": first.get("outputDimensionality"),
            "input_type": PURPOSE[first.get("taskType")],
        }
        request = parse_request(Api.EMBEDDINGS, msgspec.json.encode(asked))
        told = PartedLane(EmbeddingsCaller(), GeminiEmbeddings()).translation(request, first["model"], "p/m")
        assert msgspec.json.decode(told.body) == recording.sent
        compared += 1
    assert compared >= 5


def test_recorded_requests_to_vertex_are_what_we_send() -> None:
    lane = PartedLane(EmbeddingsCaller(), VertexEmbeddings())
    for recording in [*recordings("vertex/vertex.predict"), *recordings("vertex/vertex.embedContent")]:
        if not recording.sent or "generate-images" in recording.name:
            continue
        model = recording.url.rpartition("/")[2].partition(":")[0]
        instances = recording.sent.get("instances") or [{"content": recording.sent["content"]["parts"][0]["text"]}]
        asked = {"input": [one["content"] for one in instances], "input_type": PURPOSE[instances[0].get("task_type")]}
        told = lane.translation(parse_request(Api.EMBEDDINGS, msgspec.json.encode(asked)), model, "p/m")
        assert same(msgspec.json.decode(told.body), recording.sent, "parameters"), recording.name


def test_recorded_requests_to_cohere_are_what_we_send() -> None:
    embed, rank = PartedLane(EmbeddingsCaller(), CohereEmbeddings()), PartedLane(RerankCaller(), CohereRerank())
    for recording in recordings("cohere/cohere.v2_embed"):
        if not recording.sent:
            continue
        sent = recording.sent
        asked = {"input": sent["texts"], "input_type": sent["input_type"], "dimensions": sent.get("output_dimension")}
        told = embed.translation(parse_request(Api.EMBEDDINGS, msgspec.json.encode(asked)), sent["model"], "p/m")
        sent.pop("truncate", None)
        assert same(msgspec.json.decode(told.body), sent, "truncate"), recording.name
    for recording in recordings("cohere/cohere.v2_rerank"):
        known = {name: value for name, value in recording.sent.items() if value is not None}
        if known:
            told = rank.translation(parse_request(Api.RERANK, msgspec.json.encode(known)), known["model"], "p/m")
            assert same(msgspec.json.decode(told.body), known), recording.name


@pytest.mark.parametrize("folder", OPENAI_LIKE)
def test_recorded_answers_of_openais_kind_pass_at_their_count(folder: str) -> None:
    for recording in recordings(folder):
        if recording.status == 200:
            usage = DIALECTS[Api.EMBEDDINGS].usage_of(recording.body)
            assert usage is not None
            assert usage.input_tokens == recording.json["usage"]["prompt_tokens"]
            assert usage.output_tokens == 0


def test_recorded_requests_of_openais_kind_reach_every_target() -> None:
    said = 0
    for recording in [one for folder in OPENAI_LIKE for one in recordings(folder) if one.status == 200 and one.sent]:
        for target in EMBEDDINGS.values():
            request = parse_request(Api.EMBEDDINGS, msgspec.json.encode(recording.sent))
            if recording.sent.get("dimensions") and target is EMBEDDINGS["huggingface/huggingface.task"]:
                continue
            assert PartedLane(EmbeddingsCaller(), target).translation(request, "m", "p/m").parts.bodies
            said += 1
    assert said > 90


def test_recorded_rankings_of_cohere_s_shape_pass_at_their_count() -> None:
    (recording,) = recordings("compat-openrouter/compat.rerank")
    assert DIALECTS[Api.RERANK].usage_of(recording.body) == Usage(input_tokens=17, searches=1)


def test_recorded_moderations_cost_nothing_and_are_moderations() -> None:
    for recording in recordings("openai/openai.moderations"):
        usage = DIALECTS[Api.MODERATIONS].usage_of(recording.body)
        assert usage is not None and usage.total_tokens == 0
        if b"category_applied_input_types" in recording.body:  # the models before omni did not say it
            ModerationCreateResponse.model_validate_json(recording.body)


@pytest.mark.parametrize("folder", EMBEDDINGS)
def test_recorded_refusals_are_told_in_their_words(folder: str) -> None:
    for recording in recordings(folder):
        if recording.status >= 400:
            inner = recording.json.get("error", recording.json)
            told = EMBEDDINGS[folder].decode_error(recording.status, recording.body)
            assert told.message == inner["message"]
