"""Whose model it is: Bedrock serves many makers', and what Converse has no words for each of them says its own way."""

import re
from enum import StrEnum

_MAKER = re.compile(
    r"(?:^|[./])(?:amazon|openai|mistral|meta|cohere|deepseek|qwen|moonshot(?:ai)?|minimax|zai|nvidia|ai21|writer|google)\."
)
_OPENAI = re.compile(r"(?:^|[./])openai\.")


class Maker(StrEnum):
    """UNKNOWN: the id (an application's inference profile, an imported model) does not say."""

    CLAUDE = "claude"
    NOVA = "nova"
    GPT_OSS = "gpt-oss"
    OPENAI = "openai"
    OTHER = "other"
    UNKNOWN = "unknown"


CACHING = frozenset({Maker.CLAUDE, Maker.NOVA, Maker.UNKNOWN})
"""Whose prompts are cached by marks; others refuse them."""

TELLING_FAILURE = frozenset({Maker.CLAUDE, Maker.NOVA, Maker.UNKNOWN})
"""Whose tool results may have a status."""


def maker_of(model: str) -> Maker:
    """By the model's id, with or without a region before it, or by its ARN."""
    name = model.lower()
    if "claude" in name:
        return Maker.CLAUDE
    if "amazon.nova" in name:
        return Maker.NOVA
    if _OPENAI.search(name):
        return Maker.GPT_OSS if "gpt-oss" in name else Maker.OPENAI
    return Maker.OTHER if _MAKER.search(name) else Maker.UNKNOWN
