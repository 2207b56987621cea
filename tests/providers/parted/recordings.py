"""Recorded embeddings, rerank and moderations, where they lie beside the project."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

EXCHANGES = Path(__file__).parents[4] / "shared" / "exchanges"

EXPLAINED = {
    "openai/openai.embeddings/u-200-ruby-openai-usage_embeddings-0.json": "a report of an organisation's usage",
    "openai/openai.moderations/u-200-ruby-openai-usage_moderations-0.json": "a report of an organisation's usage",
    "vertex/vertex.predict/u-200-vertexai-sdk-t-unary-failure-generate-images-gcs-some-filtered-0.json": "makes images",
    "vertex/vertex.predict/u-200-vertexai-sdk-t-unary-success-generate-images-gcs-0.json": "makes images",
    "ollama/ollama.api_embeddings/u-200-openllmetry-test_ollama_embeddings_legacy-0.json": "the route before /api/embed",
    "huggingface/huggingface.task/u-200-huggingface_hu-InferenceApiTest.test_simple_inference-2.json": "fills a mask",
    "huggingface/huggingface.task/u-200-openllmetry-test_custom_llm-0.json": "generates text",
}
"""Recordings of these folders that are of another API."""


class Recording:
    def __init__(self, name: str) -> None:
        told = json.loads((EXCHANGES / name).read_text())
        self.name = name
        asked = told.get("request") or {}
        self.url: str = asked.get("url") or ""
        self.sent: dict[str, Any] = asked.get("json") or {}
        self.status: int = told["response"]["status"]
        self.headers: dict[str, str] = told["response"]["headers"]
        self.body: bytes = told["response"]["body_text"].encode()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def recordings(folder: str, *, containing: str = "") -> list[Recording]:
    """Those of `provider/api` that are not explained."""
    if not EXCHANGES.is_dir():
        pytest.skip("no recorded traffic beside the project: ../shared/exchanges is not there")
    names = sorted(p.relative_to(EXCHANGES).as_posix() for p in (EXCHANGES / folder).glob("*.json") if containing in p.name)
    found = [Recording(name) for name in names if name not in EXPLAINED]
    assert found, f"nothing is recorded in {folder}"
    return found
