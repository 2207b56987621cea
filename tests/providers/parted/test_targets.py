"""What each target is told, what it says, and what it refuses by name."""

import re
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ModerationCreateResponse

from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import Api, parse_request
from router.domain.upstream import Answered
from router.domain.usage import Usage
from router.providers.parted.bedrock_embeddings import BedrockEmbeddings
from router.providers.parted.bedrock_rerank import BedrockRerank
from router.providers.parted.cohere import CohereEmbeddings, CohereRerank
from router.providers.parted.embeddings import EmbeddingsCaller
from router.providers.parted.google_embeddings import GeminiEmbeddings, VertexEmbeddings, takes_content
from router.providers.parted.lane import PartedCaller, PartedLane, PartedRequest, PartedTarget
from router.providers.parted.local import OllamaEmbeddings, TextEmbeddings, TextRerank
from router.providers.parted.moderation import ContentSafety, ModerationsCaller
from router.providers.parted.rerank import RerankCaller

Target = PartedTarget[Any, Any]
EVERY_EMBEDDER: list[Target] = [
    *(GeminiEmbeddings(), VertexEmbeddings(), BedrockEmbeddings(), CohereEmbeddings(), OllamaEmbeddings()),
    *(TextEmbeddings(), TextEmbeddings(has_dimensions=False)),
]
TITAN, TITAN_1 = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1"
CALLERS: dict[Api, PartedCaller[Any, Any]] = {Api.EMBEDDINGS: EmbeddingsCaller(), Api.MODERATIONS: ModerationsCaller()}


def told(target: Target, model: str = TITAN, api: Api = Api.EMBEDDINGS, **asked: Any) -> PartedRequest:
    if api is Api.RERANK:
        caller: PartedCaller[Any, Any] = RerankCaller(target.most) if isinstance(target, TextRerank) else RerankCaller()
    else:
        caller = CALLERS[api]
    return PartedLane(caller, target).translation(parse_request(api, msgspec.json.encode(asked)), model, "p/m")


def bodies(request: PartedRequest) -> list[Any]:
    return [msgspec.json.decode(body) for body in request.parts.bodies]


def answered(request: PartedRequest, *answers: Any, headers: dict[str, str] | None = None) -> tuple[Any, Usage]:
    for number, answer in enumerate(answers):
        request.parts.answered[number] = Answered(msgspec.json.encode(answer), headers or {})
    body, usage = request.answer(b"", 1)
    return msgspec.json.decode(body), usage


def vectors(body: Any) -> list[Any]:
    return [one["embedding"] for one in body["data"]]


# -- bodies ---------------------------------------------------------------------------------------------------------


def test_titan_is_asked_a_text_a_call() -> None:
    request = told(BedrockEmbeddings(), TITAN, input=["a", "b"], dimensions=2)
    assert bodies(request) == [{"inputText": "a", "dimensions": 2}, {"inputText": "b", "dimensions": 2}]
    body, usage = answered(
        request, {"embedding": [1, 2], "inputTextTokenCount": 3}, {"embedding": [3, 4], "inputTextTokenCount": 5}
    )
    assert vectors(body) == [[1, 2], [3, 4]]
    assert usage == Usage(input_tokens=8)
    assert body["usage"] == {"prompt_tokens": 8, "total_tokens": 8}


def test_cohere_on_bedrock_counts_in_a_header() -> None:
    request = told(BedrockEmbeddings(), "us.cohere.embed-v4:0", input="a", input_type="query", dimensions=2)
    assert bodies(request) == [
        {"texts": ["a"], "input_type": "search_query", "embedding_types": ["float"], "output_dimension": 2}
    ]
    headers = {"x-amzn-bedrock-input-token-count": "7"}
    assert answered(request, {"embeddings": {"float": [[1, 2]]}}, headers=headers)[1] == Usage(input_tokens=7)
    assert answered(request, {"embeddings": [[1, 2]]})[1].estimated


def test_ollama_and_text_embeddings_are_asked_in_one_call_and_in_calls_of_32() -> None:
    texts = [str(number) for number in range(70)]
    assert bodies(told(OllamaEmbeddings(), "m", input=texts)) == [{"model": "m", "truncate": False, "input": texts}]
    assert [len(body["inputs"]) for body in bodies(told(TextEmbeddings(), input=texts))] == [32, 32, 6]
    assert [len(body["inputs"]) for body in bodies(told(TextEmbeddings(50), input=texts))] == [50, 20]


@pytest.mark.parametrize(
    ("target", "model", "most"),
    [
        (GeminiEmbeddings(), "gemini-embedding-001", 100),
        (CohereEmbeddings(), "embed-v4.0", 96),
        (BedrockEmbeddings(), "cohere.embed-english-v3", 96),
        (VertexEmbeddings(), "text-embedding-005", 250),
        (VertexEmbeddings(), "gemini-embedding-001", 1),
        (VertexEmbeddings(), "gemini-embedding-2", 1),
        (BedrockEmbeddings(), TITAN, 1),
    ],
)
def test_no_call_holds_more_than_its_provider_takes(target: Target, model: str, most: int) -> None:
    texts = [str(number) for number in range(300)]
    parts = told(target, model, input=texts).parts.bodies
    assert len(parts) == -(-300 // most)
    assert max(len(re.findall(rb'"\d+"', part)) for part in parts) == most
    joined = b"".join(parts)
    places = [joined.index(b'"%d"' % number) for number in range(300)]
    assert places == sorted(places)


def test_a_predict_request_stays_within_vertex_s_tokens() -> None:
    texts = ["x" * 9000, "y" * 9000, "z" * 9000, "w" * 50_000]
    sizes = [len(body["instances"]) for body in bodies(told(VertexEmbeddings(), "text-embedding-005", input=texts))]
    assert sizes == [2, 1, 1]


def test_vertex_s_models_know_their_route() -> None:
    assert takes_content("gemini-embedding-2") and not takes_content("gemini-embedding-001")
    assert not takes_content("text-multilingual-embedding-002")


# -- answers --------------------------------------------------------------------------------------------------------


def test_base64_is_little_endian_float32() -> None:
    request = told(TextEmbeddings(), input="a", encoding_format="base64")
    body, _ = answered(request, [[1.0, -0.5, 0.25]])
    assert b64decode(vectors(body)[0]).hex() == "0000803f000000bf0000803e"


def test_floats_are_the_digits_that_came() -> None:
    request = told(TextEmbeddings(), input="a")
    request.parts.answered[0] = Answered(b"[[0.1000000000000000055, 1e-7, -0.0]]", {})
    assert b'"embedding":[0.1000000000000000055, 1e-7, -0.0]' in request.answer(b"", 1)[0]


def test_an_estimate_is_called_one() -> None:
    body, usage = answered(told(TextEmbeddings(), input=["a" * 40]), [[1, 2]])
    assert usage == Usage(input_tokens=10, estimated=True)
    assert body["usage"] == {"prompt_tokens": 10, "total_tokens": 10, "estimated": True}


def test_one_vector_alone_is_one_vector() -> None:
    assert vectors(answered(told(TextEmbeddings(), input="a"), [1, 2])[0]) == [[1, 2]]


@pytest.mark.parametrize(
    "answer", [[[1, 2]], [], {"error": "x"}, [[[1, 2]], [[3, 4]]], "x", [["a", "b"], ["c", "d"]], [{"a": 1}, {"a": 2}]]
)
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_what_is_no_answer_is_none(answer: Any, encoding: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        answered(told(TextEmbeddings(), input=["a", "b"], encoding_format=encoding), answer)


def test_a_vector_of_another_size_than_was_asked_for_is_no_answer() -> None:
    with pytest.raises(ValueError, match="2 dimensions came, 3 were asked for"):
        answered(told(TextEmbeddings(), input="a", dimensions=3), [[1, 2]])


@given(st.binary(max_size=200), st.integers(0, len(EVERY_EMBEDDER) - 1))
def test_noise_is_a_clean_error(noise: bytes, place: int) -> None:
    request = told(EVERY_EMBEDDER[place], input="a", encoding_format="base64")
    request.parts.answered[0] = Answered(noise, {})
    try:
        request.answer(b"", 1)
    except ValueError:
        return


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", EVERY_EMBEDDER)
@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_tokens_are_refused_by_name(target: Target, tokens: Any) -> None:
    with pytest.raises(UnsupportedFeature, match="input cannot be said to p/m") as refused:
        told(target, input=tokens)
    assert refused.value.param == "input"


@pytest.mark.parametrize("target", EVERY_EMBEDDER)
def test_a_field_without_a_word_is_refused_by_name_and_a_hint_is_dropped(target: Target) -> None:
    with pytest.raises(UnsupportedFeature, match="late_chunking cannot be said to p/m"):
        told(target, input="a", late_chunking=True)
    assert told(target, input="a", user="u", stream=False, dimensions=None).dropped == ("user",)


@pytest.mark.parametrize(
    ("target", "model", "field"),
    [
        (BedrockEmbeddings(), TITAN_1, {"dimensions": 5}),
        (BedrockEmbeddings(), TITAN, {"input_type": "query"}),
        (BedrockEmbeddings(), "cohere.embed-english-v3", {"dimensions": 5}),
        (BedrockEmbeddings(), "meta.llama", {}),
        (TextEmbeddings(has_dimensions=False), "m", {"dimensions": 5}),
        (TextEmbeddings(), "m", {"input_type": "query"}),
        (OllamaEmbeddings(), "m", {"input_type": "query"}),
    ],
)
def test_what_a_target_cannot_do_is_refused_by_name(target: Target, model: str, field: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        told(target, model, input="a", **field)
    assert refused.value.param == next(iter(field), "model")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "3"}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "input_type": "poem"}, "input_type"),
    ],
)
def test_a_bad_request_is_told_by_its_field(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        told(TextEmbeddings(), **asked)
    assert refused.value.param == param


# -- rerank ---------------------------------------------------------------------------------------------------------


def test_rankings_of_several_calls_are_one() -> None:
    request = told(TextRerank(2), api=Api.RERANK, query="q", documents=["a", {"text": "b"}, "c"], top_n=2)
    assert bodies(request) == [{"query": "q", "texts": ["a", "b"]}, {"query": "q", "texts": ["c"]}]
    first, second = [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.1}], [{"index": 0, "score": 0.9}]
    body, usage = answered(request, first, second)
    assert body["results"] == [{"index": 2, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.5}]
    assert (usage.searches, usage.estimated) == (1, True)


def test_bedrock_ranks_by_arn_and_counts_a_search_for_a_hundred_documents() -> None:
    target = BedrockRerank("eu-west-1")
    request = told(target, "amazon.rerank-v1:0", Api.RERANK, query="q", documents=["a"] * 101, top_n=500)
    (body,) = bodies(request)
    ranking = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    assert ranking == {
        "modelConfiguration": {"modelArn": "arn:aws:bedrock:eu-west-1::foundation-model/amazon.rerank-v1:0"},
        "numberOfResults": 101,
    }
    assert body["sources"][0] == {
        "type": "INLINE",
        "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": "a"}},
    }
    assert answered(request, {"results": [{"index": 3, "relevanceScore": 0.5}]})[1].searches == 2


@pytest.mark.parametrize("index", [5, -1])
def test_a_ranking_of_what_was_not_sent_is_no_answer(index: int) -> None:
    with pytest.raises(ValueError, match="not sent"):
        answered(told(TextRerank(), api=Api.RERANK, query="q", documents=["a"]), [{"index": index, "score": 1}])


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": [{"title": "a"}]}, "documents"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
        ({"query": "q", "documents": ["a"], "rank_fields": ["title"]}, "rank_fields"),
    ],
)
def test_a_bad_request_for_ranking_is_told_by_its_field(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        told(CohereRerank(), api=Api.RERANK, **asked)
    assert refused.value.param == param


# -- moderations ----------------------------------------------------------------------------------------------------


def analysis(**severities: int) -> dict[str, Any]:
    known = {"Hate": 0, "SelfHarm": 0, "Sexual": 0, "Violence": 0} | severities
    found = [{"category": name, "severity": severity} for name, severity in known.items()]
    return {"blocklistsMatch": [], "categoriesAnalysis": found}


def test_content_safety_judges_a_text_a_call_and_its_severities_are_scores() -> None:
    request = told(ContentSafety(), api=Api.MODERATIONS, input=["calm", "angry"])
    assert bodies(request)[1] == {
        "text": "angry",
        "categories": ["Hate", "SelfHarm", "Sexual", "Violence"],
        "outputType": "FourSeverityLevels",
    }
    body, usage = answered(request, analysis(Violence=2), analysis(Violence=4, SelfHarm=6))
    read = ModerationCreateResponse.model_validate(body, strict=True)
    assert [one.flagged for one in read.results] == [False, True]
    assert (read.results[1].categories.violence, read.results[1].categories.self_harm) == (True, True)
    assert read.results[1].category_scores.self_harm == 1.0
    assert read.results[0].category_scores.violence == pytest.approx(1 / 3)
    applied = body["results"][0]["category_applied_input_types"]
    assert (applied["violence"], applied["harassment"]) == (["text"], [])
    assert usage == Usage()


def test_parts_of_text_are_one_input_and_pictures_are_refused() -> None:
    text = {"type": "text", "text": "a"}
    assert bodies(told(ContentSafety(), api=Api.MODERATIONS, input=[text, text]))[0]["text"] == "a\na"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(UnsupportedFeature, match="input cannot be said to p/m"):
        told(ContentSafety(), api=Api.MODERATIONS, input=[text, picture])


def test_an_analysis_without_a_category_is_no_answer() -> None:
    with pytest.raises(ValueError, match="every category"):
        answered(told(ContentSafety(), api=Api.MODERATIONS, input="a"), {"categoriesAnalysis": []})
