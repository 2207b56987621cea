"""Headers in and out: which travel up, what every answer carries, what callers may say about their request."""

import re
from collections.abc import Mapping
from math import isfinite

from multidict import CIMultiDictProxy

from router.domain.errors import InvalidRequest
from router.domain.idempotency import KeptAnswer
from router.domain.limits import Allowance
from router.domain.usage import NanoUSD, usd_text
from router.gateway.answer import Answer
from router.gateway.instants import instant_text
from router.gateway.plan import OWN
from router.gateway.purses import Purse
from router.gateway.settle import Case
from router.providers.registry import TRAVELS_UP

MAX_TAGS = 16
SERVER = "routerd"
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,64}=[^,\x00-\x1f\x7f]{0,128}")

_CORS_ALLOWED = (
    "authorization, content-type, x-api-key, x-request-id, idempotency-key, openai-beta, anthropic-version, "
    "anthropic-beta, x-router-tier, x-router-tags, x-router-timeout, x-router-explain"
)
_CORS_EXPOSED = (
    "x-request-id, x-router-model, x-router-provider, x-router-attempts, x-router-dropped, x-router-fallback, x-cost-usd, "
    "retry-after, x-budget-limit-usd, x-budget-remaining-usd, x-budget-reset, x-budget-warning, idempotent-replayed"
)

Incoming = CIMultiDictProxy[str]


def forwarded(headers: Incoming) -> dict[str, str]:
    """The caller's headers that a provider may see."""
    return {name: headers[name] for name in TRAVELS_UP if name in headers}


def presented_key(headers: Incoming) -> str | None:
    """The key as `Authorization: Bearer ...`, else as `x-api-key`."""
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
    return headers.get("x-api-key")


def timeout_of(headers: Incoming) -> float | None:
    """`x-router-timeout` in seconds. Raises InvalidRequest."""
    text = headers.get("x-router-timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or seconds <= 0:
        raise InvalidRequest(f"x-router-timeout: expected seconds above 0, found {text[:40]!r}", param="x-router-timeout")
    return seconds


def tier_of(headers: Incoming) -> str | None:
    return headers.get("x-router-tier") or headers.get("x-optyx-tier")


def tags_of(headers: Incoming) -> tuple[tuple[str, str], ...]:
    """`x-router-tags: team=a,env=prod`. Raises InvalidRequest."""
    text = headers.get("x-router-tags")
    if not text:
        return ()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((part for part in parts if not _TAG.fullmatch(part)), None)
    if wrong is not None or len(parts) > MAX_TAGS:
        found = f"{wrong[:80]!r}" if wrong is not None else f"{len(parts)} tags"
        raise InvalidRequest(
            f"x-router-tags: expected at most {MAX_TAGS} of name=value, separated by commas; found {found}",
            param="x-router-tags",
        )
    pairs = [part.partition("=") for part in parts]
    return tuple((name, value) for name, _, value in pairs)


def answer_headers(answer: Answer, *, explain: bool) -> dict[str, str]:
    """What an inference answer carries (contract.md, "Every answer carries")."""
    case = answer.case
    headers = {
        "X-Request-Id": case.caller.request_id,
        "X-Router-Model": case.plan.requested,
        "X-Router-Provider": answer.provider,
        "X-Router-Attempts": str(answer.attempts),
        "X-Router-Decision": case.id,
        "Content-Type": answer.content_type,
        "Server": SERVER,
    }
    if answer.upstream_request_id:
        headers["X-Router-Upstream-Request-Id"] = answer.upstream_request_id
    if answer.cost is not None:
        headers["X-Cost-USD"] = usd_text(answer.cost)
    if answer.dropped:
        headers["X-Router-Dropped"] = ", ".join(name for name in answer.dropped if name.isascii() and name.isprintable())
    via = case.meter.attempts[-1].candidate.via
    if via != OWN:
        headers["X-Router-Fallback"] = via
    headers.update(answer.passed)
    headers.update(limit_headers(case.reservation.allowance))
    if answer.purse is not None:
        headers.update(budget_headers(answer.purse))
    if explain:
        headers["X-Router-Explain"] = explained(case)
    return headers


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Of an answer's headers those that are still true when it is told again: not limits, not budgets."""
    return {n: v for n, v in headers.items() if n.startswith("X-Router-") or n in {"Content-Type", "X-Cost-USD"}}


def replay_headers(kept: KeptAnswer, request_id: str) -> dict[str, str]:
    """What a kept answer carries: its own headers, and the id of the request it is told to now."""
    return {"X-Request-Id": request_id, **kept.headers, "Idempotent-Replayed": "true", "Server": SERVER}


def receipt_headers(case: Case) -> dict[str, str]:
    """What an error answer to an admitted request carries."""
    headers = {
        "X-Router-Model": case.plan.requested,
        "X-Router-Attempts": str(len(case.meter.attempts)),
        "X-Router-Decision": case.id,
    }
    if case.meter.attempts:
        headers["X-Router-Provider"] = case.meter.attempts[-1].candidate.target.provider
    headers.update(limit_headers(case.reservation.allowance))
    return headers


def explained(case: Case) -> str:
    """The decision on one line: strategy, draw, targets in order, what was left out and why."""
    plan = case.plan
    order = " ".join(c.target.id for c in plan.candidates)
    left_out = "; ".join(f"{e.target.id} {e.reason}" for e in plan.excluded)
    text = f"strategy={plan.alias.strategy.value}; draw={plan.draw:.6f}; order={order}"
    return f"{text}; left-out={left_out}" if left_out else text


def limit_headers(allowance: Allowance) -> dict[str, str]:
    headers: dict[str, str] = {}
    if allowance.limit_requests is not None:
        headers["x-ratelimit-limit-requests"] = str(allowance.limit_requests)
        headers["x-ratelimit-remaining-requests"] = headers["X-RateLimit-Remaining"] = str(allowance.remaining_requests)
        headers["x-ratelimit-reset-requests"] = f"{allowance.reset_requests_ms}ms"
        headers["X-RateLimit-Reset-Ms"] = str(allowance.reset_requests_ms)
    if allowance.limit_tokens is not None:
        headers["x-ratelimit-limit-tokens"] = str(allowance.limit_tokens)
        headers["x-ratelimit-remaining-tokens"] = str(allowance.remaining_tokens)
        headers["x-ratelimit-reset-tokens"] = f"{allowance.reset_tokens_ms}ms"
    return headers


def budget_headers(purse: Purse) -> dict[str, str]:
    """Where a budget stands: of answers the one nearest to its end, of a 402 the one that refused."""
    spent, ends = purse.spent, purse.period.ends_at
    headers = {
        "X-Budget-Limit-USD": purse.limit_text,
        "X-Budget-Remaining-USD": usd_text(NanoUSD(max(purse.budget.limit - spent, 0))),
    }
    if ends is not None:
        headers["X-Budget-Reset"] = instant_text(ends)
    if spent >= purse.warns_at:
        headers["X-Budget-Warning"] = "true"
    return headers


def cors_headers(origin: str | None, allowed: tuple[str, ...]) -> Mapping[str, str]:
    """CORS for a listed origin (or `*`); nothing for any other."""
    if origin is None or (origin not in allowed and "*" not in allowed):
        return {}
    return {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": _CORS_ALLOWED,
        "Access-Control-Expose-Headers": _CORS_EXPOSED,
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }
