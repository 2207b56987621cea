"""Why a provider refused, in the few words that routing knows: one table over every provider's codes and texts. Pure.

A body is read in whatever shape it has: OpenAI's envelope and what others made of it, Anthropic's, Google's, Amazon's with
its header, FastAPI's `detail`. Codes are asked before texts, texts before the status.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec

from router.providers.codec import ToldError
from router.providers.waits import asked_wait_s

MOST_TEXT = 4000
_MOST_DEPTH = 3


class Cause(Enum):
    """What a refusal is about; the value is how reasons tell it."""

    RATE_LIMITED = "rate limited"
    QUOTA = "quota exhausted"
    OVERLOADED = "overloaded"
    AUTH = "credential refused"
    BAD_REQUEST = "bad request"
    NOT_FOUND = "not found"
    CONTEXT_WINDOW = "context window exceeded"
    CONTENT_POLICY = "content policy"
    SERVER = "server error"


_CODES: Mapping[str, Cause] = {
    # OpenAI, Azure and those who answer in their envelope: `code` or `type`
    "rate_limit_exceeded": Cause.RATE_LIMITED,
    "rate_limit_error": Cause.RATE_LIMITED,
    "too_many_requests": Cause.RATE_LIMITED,
    "insufficient_quota": Cause.QUOTA,
    "billing_hard_limit_reached": Cause.QUOTA,
    "context_length_exceeded": Cause.CONTEXT_WINDOW,
    "too_many_prompt_tokens": Cause.CONTEXT_WINDOW,
    "content_policy_violation": Cause.CONTENT_POLICY,
    "content_filter": Cause.CONTENT_POLICY,
    "responsibleaipolicyviolation": Cause.CONTENT_POLICY,
    "invalid_api_key": Cause.AUTH,
    "invalid_authentication": Cause.AUTH,
    "account_deactivated": Cause.AUTH,
    "model_not_found": Cause.NOT_FOUND,
    "deploymentnotfound": Cause.NOT_FOUND,
    "server_error": Cause.SERVER,
    "engine_overloaded": Cause.OVERLOADED,
    "slow_down": Cause.OVERLOADED,
    "service_unavailable": Cause.OVERLOADED,
    # Anthropic: `type`
    "authentication_error": Cause.AUTH,
    "permission_error": Cause.AUTH,
    "billing_error": Cause.QUOTA,
    "not_found_error": Cause.NOT_FOUND,
    "request_too_large": Cause.BAD_REQUEST,
    "overloaded_error": Cause.OVERLOADED,
    "timeout_error": Cause.SERVER,
    # Google: `status`, and `reason` of an ErrorInfo
    "resource_exhausted": Cause.RATE_LIMITED,
    "unavailable": Cause.OVERLOADED,
    "unauthenticated": Cause.AUTH,
    "permission_denied": Cause.AUTH,
    "api_key_invalid": Cause.AUTH,
    "credentials_missing": Cause.AUTH,
    "not_found": Cause.NOT_FOUND,
    "deadline_exceeded": Cause.SERVER,
    "internal": Cause.SERVER,
    # Amazon: the name of the exception, in a header or an event
    "throttlingexception": Cause.RATE_LIMITED,
    "toomanyrequestsexception": Cause.RATE_LIMITED,
    "servicequotaexceededexception": Cause.QUOTA,
    "modelnotreadyexception": Cause.OVERLOADED,
    "serviceunavailableexception": Cause.OVERLOADED,
    "accessdeniedexception": Cause.AUTH,
    "expiredtokenexception": Cause.AUTH,
    "unrecognizedclientexception": Cause.AUTH,
    "invalidsignatureexception": Cause.AUTH,
    "incompletesignatureexception": Cause.AUTH,
    "missingauthenticationtokenexception": Cause.AUTH,
    "resourcenotfoundexception": Cause.NOT_FOUND,
    "internalserverexception": Cause.SERVER,
    "modelerrorexception": Cause.SERVER,
    "modelstreamerrorexception": Cause.SERVER,
    "modeltimeoutexception": Cause.SERVER,
    # Cohere: `error_type`
    "too_many_tokens": Cause.CONTEXT_WINDOW,
    # Text Generation Inference: `error_type`
    "overloaded": Cause.OVERLOADED,
}
"""In lower case. Words that only say that something was wrong (`invalid_request_error`) are not here: texts tell more."""

_TOO_LONG = (
    r"maximum context length|max(?:imum)? context|context[ _-](?:length|window|size|limit)|prompt (?:is )?too long"
    r"|too many (?:input |prompt |total )?tokens|input is too long|total length of all messages is too long"
    r"|input token count.{0,40}exceeds the maximum|exceeds? the available context|inputs?.? tokens? \+ .?max_new_tokens"
)
_POLICY = (
    r"content management policy|content[ _-]filter(?:ing polic|ed)|content polic|usage polic|safety system"
    r"|responsible ai practices|flagged (?:as|for|by)|blocked by .{0,40}(?:guardrail|safety|content filter)"
)
_TEXTS: tuple[tuple[re.Pattern[str], Cause], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        # Of what rests a key or a target only the beginning of a message counts: behind it a provider may quote its caller.
        (r"\A(?:your )?(?:credit balance is too low|insufficient (?:balance|credits|funds|quota))", Cause.QUOTA),
        (r"\A(?:incorrect api key|invalid (?:api key|x-api-key)|api key not valid)", Cause.AUTH),
        (r"\Athe security token included in the request", Cause.AUTH),
        (_TOO_LONG, Cause.CONTEXT_WINDOW),
        (_POLICY, Cause.CONTENT_POLICY),
    )
)
"""Asked only where a provider blames the request (400, 413, 422): elsewhere the status knows better."""

_STATUSES: Mapping[int, Cause] = {
    401: Cause.AUTH,
    402: Cause.QUOTA,
    403: Cause.AUTH,
    404: Cause.NOT_FOUND,
    429: Cause.RATE_LIMITED,
    503: Cause.OVERLOADED,
    529: Cause.OVERLOADED,
}
_BLAMING = frozenset({400, 413, 422})
COMMON_CODES: Mapping[Cause, str] = {
    Cause.CONTEXT_WINDOW: "context_length_exceeded",
    Cause.CONTENT_POLICY: "content_policy_violation",
    Cause.QUOTA: "insufficient_quota",
}
"""OpenAI's words, for refusals that bring no code of their own."""

_PER_DAY = re.compile(r"per_?(?:day|month)", re.IGNORECASE)


class Refusal(msgspec.Struct, frozen=True):
    """`status` is what the provider answered or, of an error inside a 200, what it means by it. `wait_s`: when the provider
    asks to come back, None where it does not say."""

    cause: Cause
    status: int
    wait_s: float | None = None


def refusal_of(status: int, headers: Mapping[str, str], body: bytes, now_us: int) -> Refusal:
    """Never raises. `headers` in lower case; `body` may be cut, or something else than JSON."""
    told = decoded(body)
    words = [headers.get("x-amzn-errortype", "").partition(":")[0], *words_in(told, 0)]
    cause = cause_of(status, words, message_of(told, body))
    if cause is Cause.RATE_LIMITED and _is_spent(body):
        cause = Cause.QUOTA
    return Refusal(cause, status, asked_wait_s(headers, told, now_us) if cause in _WAITING else None)


_WAITING = frozenset({Cause.RATE_LIMITED, Cause.QUOTA, Cause.OVERLOADED, Cause.AUTH, Cause.SERVER})


def decoded(body: bytes) -> Any:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return told[0] if isinstance(told, list) and told else told


def words_in(told: Any, depth: int) -> Iterator[str]:
    """Codes and types in the order of how much they say: the innermost first."""
    if not isinstance(told, dict) or depth > _MOST_DEPTH:
        return
    for name in ("innererror", "inner_error", "error", "details"):
        inner = told.get(name)
        for item in inner if isinstance(inner, list) else (inner,):
            yield from words_in(item, depth + 1)
    for name in ("code", "reason", "status", "error_type", "type", "__type"):
        value = told.get(name)
        if isinstance(value, str):
            yield value.rpartition("#")[2]
        elif type(value) is int:
            yield str(value)


def message_of(told: Any, body: bytes) -> str:
    if isinstance(told, dict):
        inner = told.get("error")
        found = inner if isinstance(inner, dict) else told
        text = next((v for n in ("message", "error", "detail") if isinstance(v := found.get(n), str)), "")
    else:
        text = body[:MOST_TEXT].decode(errors="replace")
    return text[:MOST_TEXT].strip()


def cause_of(status: int, words: list[str], message: str) -> Cause:
    found = next((cause for word in words if (cause := _CODES.get(word.lower())) is not None), None)
    if found is not None and _is_believed(found, status):
        return found
    if status in _BLAMING or (status == 403 and "flagged" in message):
        found = next((cause for pattern, cause in _TEXTS if pattern.search(message)), None)
        if found is not None:
            return found
    if status in _STATUSES:
        return _STATUSES[status]
    return Cause.SERVER if status >= 500 or status in (408, 409, 424, 425) or status < 400 else Cause.BAD_REQUEST


def _is_believed(cause: Cause, status: int) -> bool:
    """A word cannot make a fault of the provider's the caller's; and a request that is too large for a limit of tokens a
    minute (Groq's 413) must not rest the key."""
    if cause in (Cause.CONTEXT_WINDOW, Cause.CONTENT_POLICY):
        return status in _BLAMING or status == 403
    if cause in (Cause.RATE_LIMITED, Cause.QUOTA, Cause.AUTH):
        return status not in (413, 422)
    if cause is Cause.OVERLOADED:
        return status not in (401, 402, 403)
    return status not in _STATUSES or status == 404


def _is_spent(body: bytes) -> bool:
    """Whether Google's limit is one that the next minutes do not bring back: `quotaId` tells it."""
    at = body.find(b'"quotaId"')
    return at >= 0 and _PER_DAY.search(body[at : at + 200].decode(errors="replace")) is not None


# -- for the caller -------------------------------------------------------------------------------------------------


def coded(told: ToldError, cause: Cause) -> ToldError:
    """With OpenAI's word for what it is about, where the provider gave no code."""
    code = COMMON_CODES.get(cause)
    return told if told.code or code is None else msgspec.structs.replace(told, code=code)
