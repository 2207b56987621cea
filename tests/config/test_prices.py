"""The shipped table: intact, small, exact; what it does not know is unknown."""

import json
from hashlib import sha256
from importlib.resources import files

import pytest

from router.config.prices import Listed, look_up, table_version
from router.domain.usage import Price

_TABLE = files("router.data").joinpath("prices.json")


def test_the_table_is_what_its_digest_says_and_names_its_source() -> None:
    content = _TABLE.read_bytes()
    noted = files("router.data").joinpath("prices.json.sha256").read_text().split()
    assert noted == [sha256(content).hexdigest(), "prices.json"]
    head = json.loads(content)
    assert ("genai-prices" in head["source"], head["licence"].startswith("MIT"), len(head["date"])) == (True, True, 10)
    assert files("router.data").joinpath("prices.LICENSE").read_text().startswith("The MIT License")
    assert len(content) < 500_000
    assert noted[0][:12] in table_version()


@pytest.mark.parametrize("provider", ["openai", "azure-openai"])
@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5-mini-2025-08-07", "GPT-5-mini"])
def test_a_dated_name_has_the_price_of_its_model(provider: str, model: str) -> None:
    assert look_up(provider, model) == Listed(Price(250_000_000, 2_000_000_000, cached_input=25_000_000), 400_000)


def test_a_dated_name_with_a_price_of_its_own_keeps_it() -> None:
    first, current = look_up("openai", "gpt-4o-2024-05-13"), look_up("openai", "gpt-4o")
    assert first is not None
    assert current is not None
    assert (first.price.input, current.price.input) == (5 * 10**9, 25 * 10**8)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("openai", "gpt-5-mini-turbo"),
        ("openai", "ft:gpt-4o:mine::1"),
        ("openai-compatible", "gpt-5-mini"),
        ("simulated", "gpt-5-mini"),
        ("vllm", "gpt-5-mini"),
        ("nobody", "gpt-5-mini"),
        ("openai", ""),
    ],
)
def test_what_the_table_does_not_know_is_unknown(provider: str, model: str) -> None:
    assert look_up(provider, model) is None


def test_embeddings_have_no_output_and_moderation_is_free() -> None:
    embeddings, moderation = look_up("openai", "text-embedding-3-small"), look_up("openai", "omni-moderation-latest")
    assert embeddings is not None
    assert moderation is not None
    assert embeddings.price == Price(20_000_000, 0)
    assert moderation.price == Price(0, 0)


def test_every_row_is_a_price() -> None:
    table = json.loads(_TABLE.read_bytes())["prices"]
    provider_type = {"openai": "openai", "groq": "groq", "mistral": "mistral", "anthropic": "anthropic", "gemini": "gemini"}
    for table_name, type_name in provider_type.items():
        for model in table[table_name]:
            listed = look_up(type_name, model)
            assert listed is not None, model
            assert listed.price.input >= 0
            assert listed.price.output >= 0
