"""Google's words for what is common: how an answer ended, tiers, kinds of errors, and what its models can do."""

import re
from collections.abc import Mapping

from router.domain.chat import Finish

FINISHES: Mapping[str, Finish] = {
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        Finish.FILTERED,
    ),
    **dict.fromkeys(
        (
            "MALFORMED_FUNCTION_CALL",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "MALFORMED_RESPONSE",
        ),
        Finish.MALFORMED,
    ),
}
_NUMBERED = (
    "",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
)
"""Vertex tells its enumerations by number where it is asked to."""
_MODALITIES = ("", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")

TIERS_ASKED: Mapping[str, str] = {
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
}
"""`service_tier` as callers say it, in the words of the Gemini API; `auto` is its default."""
TIERS_GIVEN: Mapping[str, str] = {"standard": "default", "ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}

KINDS: Mapping[str, str] = {
    "INVALID_ARGUMENT": "invalid_request_error",
    "FAILED_PRECONDITION": "invalid_request_error",
    "OUT_OF_RANGE": "invalid_request_error",
    "UNAUTHENTICATED": "authentication_error",
    "PERMISSION_DENIED": "permission_error",
    "NOT_FOUND": "not_found_error",
    "RESOURCE_EXHAUSTED": "rate_limit_error",
    "UNAVAILABLE": "overloaded_error",
}
"""Of google.rpc.Code; what is not here is `api_error`."""

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")


def reason_word(reason: object) -> str:
    """The word of a finish reason, "" for none."""
    if isinstance(reason, str):
        return reason
    return _NUMBERED[reason] if type(reason) is int and 0 <= reason < len(_NUMBERED) else ""


def modality_word(modality: object) -> str:
    if isinstance(modality, str):
        return modality
    return _MODALITIES[modality] if type(modality) is int and 0 <= modality < len(_MODALITIES) else ""


def finish_of(word: str, *, has_calls: bool) -> Finish:
    """Gemini ends a turn of calls with STOP, as any other."""
    finish = FINISHES.get(word, Finish.UNKNOWN)
    return Finish.TOOLS if has_calls and finish in (Finish.STOP, Finish.UNKNOWN) else finish


def tier_of(tier: object, traffic: object) -> str:
    """The tier of an answer in the words that OpenAI made common; a word that is not known stays as it is."""
    if isinstance(tier, str) and tier:
        return TIERS_GIVEN.get(tier, tier)
    return TIERS_GIVEN.get(traffic, "") if isinstance(traffic, str) else ""


def generation_of(model: str) -> tuple[int, int]:
    """(2, 5) of gemini-2.5-flash. A name without a number (`gemini-flash-latest`) is of the newest, another family's (gemma)
    of none: (0, 0)."""
    found = _GENERATION.search(model)
    if found is not None:
        return int(found[1]), int(found[2] or 0)
    return (99, 0) if "gemini" in model else (0, 0)
