"""The real daemon with the built-in simulated provider, for clients that nobody here wrote."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.daemon import KEY, Daemon, Workplace, settings

MODELS = {"gpt-5-mini": "demo", "text-embedding-3-small": {"type": "embeddings", "targets": ["demo"]}}
MODERATION = {"omni-moderation-latest": {"type": "moderation", "targets": ["demo"]}}


@pytest.fixture(scope="package")
def routerd() -> Iterator[Daemon]:
    folder = Workplace()
    config = settings(
        {"demo": {"type": "simulated", "simulate": {"latency": 0, "tokens_per_second": 0}}},
        MODELS | MODERATION,
        defaults={"embeddings": "text-embedding-3-small", "moderation": "omni-moderation-latest"},
    )
    config["bootstrap"]["api_keys"].append(
        {
            "tenant": "demo",
            "name": "once",
            "prefix": "once",
            "secret": "a-secret-of-the-tests-only",
            "rate_limit": {"requests_per_minute": 1},
        }
    )
    with Daemon(folder, config) as running:
        yield running
    folder.remove()


@pytest.fixture
def chat(routerd: Daemon) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{routerd.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def claude(routerd: Daemon) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=routerd.url, api_key=KEY, max_retries=0) as made:
        yield made
