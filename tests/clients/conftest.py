"""The real daemon with the built-in simulated provider, for clients that nobody here wrote."""

from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, Workplace, settings

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
