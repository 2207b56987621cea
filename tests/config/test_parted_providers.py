"""Providers of embeddings, rerank and moderations: what the file may say of them, and what becomes of it."""

from pathlib import Path

import pytest

from router.config.compile import compile_snapshot
from router.domain.requests import Api
from router.domain.routes import ProviderSpec
from tests.config.samples import loaded, only, problems

AZURE = "type: azure-openai, endpoint: 'https://h', api_key: k"


def text(provider: str, kind: str = "embeddings", price: str = "{input: 1}") -> str:
    target = "{provider: p, model: m}"
    alias = f"{{alias: a, type: {kind}, targets: [{target}], price: {price}}}"
    return f"providers: {{p: {{{provider}}}}}\nmodel_catalog: [{alias}]\n"


def spec(folder: Path, provider: str, kind: str = "embeddings") -> ProviderSpec:
    return compile_snapshot(loaded(folder, text(provider, kind))).providers["p"]


@pytest.mark.parametrize("kind", ["gemini", "vertex", "cohere", "huggingface", "bedrock"])
def test_embeddings_are_asked_of_it_without_a_word_about_apis(tmp_path: Path, kind: str) -> None:
    keys = "region: us-east-1, api_key: k" if kind == "bedrock" else "api_key: k"
    made = spec(tmp_path, f"type: {kind}, {keys}, max_batch: 7")
    assert Api.EMBEDDINGS in made.translates
    assert made.max_batch == 7


def test_content_safety_counts_its_own_versions_and_needs_no_deployment(tmp_path: Path) -> None:
    assert spec(tmp_path, f"{AZURE}, apis: [content_safety]", "moderation").api_version == ""
    dated = spec(tmp_path, f"{AZURE}, apis: [content_safety], api_version: 2023-10-01", "moderation")
    assert dated.api_version == "2023-10-01"
    assert dated.translates == {Api.MODERATIONS}


def test_content_safety_is_a_provider_of_its_own(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, text(f"{AZURE}, apis: [content_safety, chat], api_version: v1", "moderation")))
    assert (problem.key, problem.found) == ("providers.p.apis", '"content_safety" among others')
    assert "content_safety alone" in problem.expected


def test_an_azure_resource_of_openai_s_does_not_serve_moderations(tmp_path: Path) -> None:
    assert "moderation" in only(problems(tmp_path, text(f"{AZURE}, api_version: v1", "moderation"))).expected


@pytest.mark.parametrize("price", ["{input: 1}", "{search: 2000}", "{search: 0}"])
def test_rerank_is_priced_by_the_token_or_by_the_search(tmp_path: Path, price: str) -> None:
    assert problems(tmp_path, text("type: cohere, api_key: k", "rerank", price)) == ()


def test_rerank_without_either_price_is_a_mistake(tmp_path: Path) -> None:
    assert "the key input" in only(problems(tmp_path, text("type: cohere, api_key: k", "rerank", "{output: 1}"))).expected


@pytest.mark.parametrize("provider", ["type: openai, api_key: k", "type: groq, api_key: k", "type: anthropic, api_key: k"])
def test_a_size_of_calls_is_no_key_of_a_type_whose_calls_are_never_cut(tmp_path: Path, provider: str) -> None:
    found = [problem.found for problem in problems(tmp_path, text(f"{provider}, max_batch: 7"))]
    assert "the key max_batch" in found


def test_a_size_of_calls_is_a_positive_number(tmp_path: Path) -> None:
    assert only(problems(tmp_path, text("type: cohere, api_key: k, max_batch: 0"))).key == "providers.p.max_batch"
