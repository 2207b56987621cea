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
from router.gateway.case import Caller, Case
from router.gateway.plan import OWN
from router.gateway.purses import Purse

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


def presented_key(headers: Incoming) -> str | None:
    """The key as `Authorization: Bearer ...`, else as `x-api-key`."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if (scheme == "Bearer" or scheme.lower() == "bearer") and token:
            return token.strip()
    return headers.get("x-api-key")


def caller_of(headers: Incoming, id_: str, request_id: str) -> Caller:
    """What the caller says about itself. Raises InvalidRequest."""
    timeout, tags = headers.get("x-router-timeout"), headers.get("x-router-tags")
    return Caller(
        id_,
        request_id,
        None if timeout is None else _seconds(timeout),
        headers.get("x-router-tier") or headers.get("x-optyx-tier"),
        _tags(tags) if tags else (),
    )


def _seconds(text: str) -> float:
    """`x-router-timeout`. Raises InvalidRequest."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or seconds <= 0:
        raise InvalidRequest(f"x-router-timeout: expected seconds above 0, found {text[:40]!r}", param="x-router-timeout")
    return seconds


def _tags(text: str) -> tuple[tuple[str, str], ...]:
    """`x-router-tags: team=a,env=prod`. Raises InvalidRequest."""
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


def answer_lines(answer: Answer, *, explain: bool) -> str:
    """What an inference answer carries (contract.md, "Every answer carries"), as header lines, each with its end.

    What is not ours in it has been looked at before: names and ids where they came in, headers of providers here.
    """
    case, content_type = answer.case, answer.content_type
    if content_type != "application/json":
        content_type = _said(content_type)
    more = ""
    if answer.upstream_request_id:
        more = f"X-Router-Upstream-Request-Id: {answer.upstream_request_id}\r\n"
    if answer.cost is not None:
        more += f"X-Cost-USD: {usd_text(answer.cost)}\r\n"
    if answer.dropped:
        names = ", ".join(name for name in answer.dropped if name.isascii() and name.isprintable())
        more += f"X-Router-Dropped: {names}\r\n"
    if answer.via != OWN:
        more += f"X-Router-Fallback: {answer.via}\r\n"
    if answer.passed:
        more += "".join([f"{name}: {_said(value)}\r\n" for name, value in answer.passed.items()])
    if explain:
        more += f"X-Router-Explain: {explained(case)}\r\n"
    return (
        f"X-Request-Id: {case.caller.request_id}\r\nX-Router-Model: {case.permit.requested}\r\n"
        f"X-Router-Provider: {answer.provider}\r\nX-Router-Attempts: {answer.attempts}\r\n"
        f"X-Router-Decision: {case.id}\r\nContent-Type: {content_type}\r\nServer: {SERVER}\r\n{more}"
        f"{limit_lines(case.reservation.allowance)}{'' if answer.purse is None else budget_lines(answer.purse)}"
    )


def _said(value: str) -> str:
    """A provider's value, without what could end its line."""
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)


def headers_in(lines: str) -> dict[str, str]:
    """Header lines by name."""
    return dict(line.split(": ", 1) for line in lines.split("\r\n") if line)


def lines_of(headers: Mapping[str, str]) -> str:
    """Headers as lines, each with its end. Their values hold none: they have been lines, or are ours."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def answer_headers(answer: Answer, *, explain: bool) -> dict[str, str]:
    """`answer_lines` by name."""
    return headers_in(answer_lines(answer, explain=explain))


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Of an answer's headers those that are still true when it is told again: not limits, not budgets."""
    return {n: v for n, v in headers.items() if n.startswith("X-Router-") or n in {"Content-Type", "X-Cost-USD"}}


def replay_headers(kept: KeptAnswer, request_id: str) -> dict[str, str]:
    """What a kept answer carries: its own headers, and the id of the request it is told to now."""
    return {"X-Request-Id": request_id, **kept.headers, "Idempotent-Replayed": "true", "Server": SERVER}


def receipt_headers(case: Case) -> dict[str, str]:
    """What an error answer to an admitted request carries."""
    headers = {
        "X-Router-Model": case.permit.requested,
        "X-Router-Attempts": str(len(case.attempts)),
        "X-Router-Decision": case.id,
    }
    if case.attempts:
        headers["X-Router-Provider"] = case.attempts[-1].provider
    return headers | headers_in(limit_lines(case.reservation.allowance))


def explained(case: Case) -> str:
    """The decision on one line: strategy, draw, targets in order, what was left out and why."""
    plan = case.plan
    order = " ".join(c.target.id for c in plan.candidates)
    left_out = "; ".join(f"{e.target.id} {e.reason}" for e in plan.excluded)
    text = f"strategy={plan.alias.strategy.value}; draw={case.draw:.6f}; order={order}"
    return f"{text}; left-out={left_out}" if left_out else text


def limit_lines(allowance: Allowance) -> str:
    """What is left of the limits, as header lines."""
    lines = ""
    if allowance.limit_requests is not None:
        left, reset_ms = str(allowance.remaining_requests), str(allowance.reset_requests_ms)
        lines = (
            f"x-ratelimit-limit-requests: {allowance.limit_requests}\r\nx-ratelimit-remaining-requests: {left}\r\n"
            f"X-RateLimit-Remaining: {left}\r\nx-ratelimit-reset-requests: {reset_ms}ms\r\n"
            f"X-RateLimit-Reset-Ms: {reset_ms}\r\n"
        )
    if allowance.limit_tokens is None:
        return lines
    return (
        f"{lines}x-ratelimit-limit-tokens: {allowance.limit_tokens}\r\n"
        f"x-ratelimit-remaining-tokens: {allowance.remaining_tokens}\r\n"
        f"x-ratelimit-reset-tokens: {allowance.reset_tokens_ms}ms\r\n"
    )


def budget_lines(purse: Purse) -> str:
    """Where a budget stands: of answers the one nearest to its end, of a 402 the one that refused."""
    spent = purse.spent
    left = NanoUSD(purse.budget.limit - spent)
    reset = f"X-Budget-Reset: {purse.reset_text}\r\n" if purse.reset_text else ""
    warning = "X-Budget-Warning: true\r\n" if spent >= purse.warns_at else ""
    remaining = usd_text(left) if left > 0 else "0.0"
    return f"X-Budget-Limit-USD: {purse.limit_text}\r\nX-Budget-Remaining-USD: {remaining}\r\n{reset}{warning}"


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
