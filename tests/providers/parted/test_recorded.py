"""Recorded requests for embeddings and rerank are what is sent; answers of OpenAI's kind pass at their count. What other
providers answer: tests/conformance/test_canonical_vectors.py."""

from typing import Any

import msgspec
import pytest
from openai.types import ModerationCreateResponse

from router.domain.requests import Api, parse_request
from router.domain.usage import Usage
from router.providers.dialects import DIALECTS
from router.providers.parted.cohere import CohereEmbeddings, CohereRerank
from router.providers.parted.embeddings import EmbeddingsCaller
from router.providers.parted.google_embeddings import GeminiEmbeddings, VertexEmbeddings
from router.providers.parted.lane import PartedLane, PartedTarget
from router.providers.parted.local import TextEmbeddings
from router.providers.parted.rerank import RerankCaller
from tests.providers.parted.recordings import recordings

EMBEDDINGS: dict[str, PartedTarget[Any, Any]] = {
    "gemini/gemini.batchEmbedContents": GeminiEmbeddings(),
    "vertex/vertex.predict": VertexEmbeddings(),
    "vertex/vertex.embedContent": VertexEmbeddings(),
    "cohere/cohere.v1_embed": CohereEmbeddings(),
    "cohere/cohere.v2_embed": CohereEmbeddings(),
    "huggingface/huggingface.task": TextEmbeddings(has_dimensions=False),
}
OPENAI_LIKE = (
    "openai/openai.embeddings",
    "azure/azure_openai.embeddings",
    "mistral/mistral.embeddings",
    "compat-local/compat.embeddings",
    "compat-openrouter/compat.embeddings",
    "compat-perplexity/compat.embeddings",
)


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
