"""The line of one finished request: field names that dashboards are built on, in the order eyes look for them."""

import msgspec

from router.domain.ledger import AttemptEntry, LedgerEntry, Outcome
from router.domain.usage import usd_text
from router.telemetry.redaction import shorten


class Try(msgspec.Struct, gc=False):
    """One attempt of a request that took several. `status` None: no head of an answer was received."""

    target: str
    outcome: str
    status: int | None
    duration_ms: float
    reason: str


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """Fields without a default are in every line. `decision` is our id; `cost_usd` is decimal text."""

    time: str
    level: str
    event: str
    request_id: str
    decision: str
    tenant: str
    key: str
    api: str
    alias: str
    provider: str
    target: str
    model: str
    status: int
    outcome: str
    duration_ms: float
    input_tokens: int
    output_tokens: int
    cost_usd: str
    attempts: int
    code: str = ""
    first_byte_ms: float | None = None
    stream: bool = False
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    searches: int = 0
    usage_estimated: bool = False
    usage_suspect: bool = False
    price_unknown: bool = False
    tries: tuple[Try, ...] = ()


def request_line(entry: LedgerEntry, time: str, level: str) -> RequestLine:
    """The line of `entry`; provider, target and model are those of its last attempt, "" if there was none."""
    attempts, usage = entry.attempts, entry.usage
    last = attempts[-1] if attempts else None
    line = RequestLine(
        time,
        level,
        "request_finished",
        shorten(entry.request_id),
        entry.id,
        entry.tenant,
        entry.key,
        entry.api,
        entry.alias,
        "" if last is None else last.provider,
        "" if last is None else last.target,
        "" if last is None else shorten(last.upstream_model),
        entry.status,
        entry.outcome,
        entry.duration_us / 1000,
        usage.input_tokens,
        usage.output_tokens,
        usd_text(entry.cost) if entry.cost else "0.0",
        len(attempts),
        entry.code,
        None if entry.first_byte_us is None else entry.first_byte_us / 1000,
        entry.stream,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.searches,
        usage.estimated,
        usage.suspect,
        not entry.price_known,
    )
    if len(attempts) > 1 or (last is not None and last.outcome is not Outcome.OK):
        line.tries = tuple([_try(a) for a in attempts])
    return line


def _try(attempt: AttemptEntry) -> Try:
    return Try(attempt.target, attempt.outcome, attempt.status, attempt.duration_us / 1000, shorten(attempt.reason))
