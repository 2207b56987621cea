"""Which tokenizer a model has, where that is certain: OpenAI publishes those of its own models."""

import re

O200K, CL100K = "o200k_base", "cl100k_base"

_PUBLISHED_FOR = frozenset({"openai", "azure-openai"})
"""Types whose model names are OpenAI's. Elsewhere a server may give any model that name."""

_FAMILIES = (
    (re.compile(r"(?:ft:)?gpt-4o(?:-|:|$)|chatgpt-4o-|gpt-4\.[15](?:-|$)|gpt-5(?:[.-]|$)|(?:o1|o3|o4-mini)(?:-|$)"), O200K),
    (re.compile(r"(?:ft:)?(?:gpt-4|gpt-3\.5-turbo|gpt-35-turbo)(?:-|:|$)"), CL100K),
    (re.compile(r"text-embedding-(?:3-small|3-large|ada-002)$"), CL100K),
)
# These put more into a prompt than the request shows, or count something else than text.
_NOT_ONLY_TEXT = re.compile(r"audio|realtime|search|transcribe|tts|image|research|computer|vision")


def tokenizer_of(provider_type: str, model: str) -> str:
    """`o200k_base` or `cl100k_base`, "" where it is not known for certain. Pure."""
    if provider_type not in _PUBLISHED_FOR or _NOT_ONLY_TEXT.search(model):
        return ""
    return next((name for pattern, name in _FAMILIES if pattern.match(model)), "")
