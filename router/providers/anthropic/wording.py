"""Anthropic's words for what is common: how an answer ended, tiers, kinds of errors."""

from router.domain.chat import Finish

FINISHES = {
    "end_turn": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "stop_sequence": Finish.STOP_SEQUENCE,
    "tool_use": Finish.TOOLS,
    "compaction": Finish.PAUSED,
    "pause_turn": Finish.PAUSED,
    "refusal": Finish.REFUSED,
    "model_context_window_exceeded": Finish.CONTEXT,
}
STOP_REASONS = {finish: word for word, finish in FINISHES.items()} | {
    Finish.FILTERED: "refusal",
    Finish.MALFORMED: "end_turn",
    Finish.UNKNOWN: "end_turn",
}
TIERS_ASKED = {"auto": "auto", "standard_only": "default"}
"""`service_tier` of a request, in the words that OpenAI made common."""
TIERS_GIVEN = {"standard": "default"}
"""`service_tier` of an answer; `priority` and `batch` are the same everywhere."""

STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
ERROR_TYPES = {status: kind for kind, status in STATUSES.items()}


def finish_of(reason: str | None) -> Finish:
    return FINISHES.get(reason or "", Finish.UNKNOWN)


def stop_reason_of(finish: Finish, said: str) -> str:
    """`said` is kept where it is one of Anthropic's own words for the same."""
    return said if FINISHES.get(said) is finish else STOP_REASONS[finish]


def told(words: dict[str, str], common: str) -> str | None:
    """Anthropic's word for a common one, None where there is none."""
    return next((word for word, meaning in words.items() if meaning == common), None)
