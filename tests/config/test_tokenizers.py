"""Which models have a tokenizer that is known for certain."""

import pytest
import tiktoken

from router.config.tokenizers import tokenizer_of

O200K = (
    *("gpt-4o", "gpt-4o-mini", "gpt-4o-2024-08-06", "chatgpt-4o-latest", "gpt-4.1", "gpt-4.1-nano", "gpt-4.5-preview"),
    *("gpt-5", "gpt-5-mini", "gpt-5.1", "o1", "o1-mini", "o3", "o3-mini", "o4-mini", "ft:gpt-4o:acme:name:id"),
)
CL100K = (
    *("gpt-4", "gpt-4-turbo", "gpt-4-0613", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct", "gpt-35-turbo", "ft:gpt-4:acme"),
    *("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002", "ft:gpt-3.5-turbo:acme:name:id"),
)
UNKNOWN = (
    *(
        "",
        "gpt",
        "gpt-6",
        "gpt-40",
        "gpt-4omni",
        "o5",
        "o1x",
        "gpt-oss-120b",
        "my-gpt-4o",
        "openai/gpt-4o",
        "text-davinci-003",
    ),
    *("gpt-4o-audio-preview", "gpt-4o-search-preview", "gpt-4o-realtime-preview", "gpt-4o-transcribe", "gpt-4o-mini-tts"),
    *("o3-deep-research", "computer-use-preview", "gpt-image-1", "gpt-4-vision-preview", "claude-sonnet-4", "llama-3"),
)


@pytest.mark.parametrize("provider_type", ["openai", "azure-openai"])
def test_openai_s_own_models_have_the_tokenizer_that_tiktoken_names(provider_type: str) -> None:
    for models, expected in ((O200K, "o200k_base"), (CL100K, "cl100k_base")):
        for model in models:
            assert tokenizer_of(provider_type, model) == expected == tiktoken.encoding_name_for_model(model), model


def test_what_is_not_known_for_certain_has_none() -> None:
    assert {tokenizer_of("openai", model) for model in UNKNOWN} == {""}


@pytest.mark.parametrize("provider_type", ["openai-compatible", "vllm", "ollama", "simulated", "groq", ""])
def test_a_server_that_gives_its_model_such_a_name_is_not_believed(provider_type: str) -> None:
    assert {tokenizer_of(provider_type, model) for model in O200K + CL100K} == {""}
