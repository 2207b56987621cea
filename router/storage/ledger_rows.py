"""One ledger entry as rows of `requests`, `attempts` and `tags`, and back."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import structs

from router.domain.budgets import Posting
from router.domain.ledger import OUTCOME_NAMES, AttemptEntry, LedgerEntry, Outcome
from router.domain.usage import NanoUSD, Usage
from router.storage.database import Row
from router.storage.insertions import Insertion

MAX_BIGINT = 2**63 - 1
MAX_TEXT = 16_384  # characters; PostgreSQL's indexes take less, but what is indexed is short by its nature
MAX_TAG = 256

_COUNTS = (
    *("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("audio_input_tokens", "audio_output_tokens", "searches"),
)
_SHARED_USAGE = (
    *("cache_write_tokens", "audio_input_tokens", "audio_output_tokens", "searches", "estimated", "suspect", "price_known"),
)
_OWN_USAGE = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "cost_nano")

REQUESTS = Insertion(
    "requests",
    (
        *("tenant_id", "tenant_name", "key_id", "key_name", "api", "alias", "requested_model", "stream", "outcome"),
        *("status", "code", "fingerprint", "health", "member", *_SHARED_USAGE),
    ),
    (
        *("id", "request_id", "started_at", "duration_us", "first_byte_us", "end_user", "metadata", "draw", "facets"),
        *_OWN_USAGE,
    ),
)
ATTEMPTS = Insertion(
    "attempts",
    ("alias", "provider", "target", "upstream_model", "credential", "outcome", "status", "reason", *_SHARED_USAGE),
    (
        *("request", "attempt", "started_at", "duration_us", "first_byte_us", "held_nano", "upstream_request_id"),
        *_OWN_USAGE,
    ),
)
TAGS = Insertion("tags", ("name", "value"), ("request",))

_Rows = dict[tuple[Any, ...], list[tuple[Any, ...]]]


def request_rows(entries: Iterable[LedgerEntry]) -> _Rows:
    """For REQUESTS."""
    rows: _Rows = defaultdict(list)
    for entry in entries:
        usage = entry.usage
        shared = (
            entry.tenant_id,
            entry.tenant,
            entry.key_id,
            entry.key,
            entry.api,
            entry.alias,
            entry.requested_model,
            entry.stream,
            OUTCOME_NAMES[entry.outcome],
            entry.status,
            entry.code,
            entry.fingerprint,
            entry.health,
            entry.member,
            usage.cache_write_tokens,
            usage.audio_input_tokens,
            usage.audio_output_tokens,
            usage.searches,
            usage.estimated,
            usage.suspect,
            entry.price_known,
        )
        own = (
            entry.id,
            entry.request_id,
            entry.started_at,
            entry.duration_us,
            entry.first_byte_us,
            entry.user,
            entry.metadata,
            entry.draw,
            entry.facets,
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.reasoning_tokens,
            entry.cost,
        )
        rows[shared].append(own)
    return rows


def attempt_rows(attempts: Mapping[tuple[str, int], AttemptEntry]) -> _Rows:
    """For ATTEMPTS, of attempts by the id of their request and their number."""
    rows: _Rows = defaultdict(list)
    for (request, number), attempt in attempts.items():
        usage = attempt.usage
        shared = (
            attempt.alias,
            attempt.provider,
            attempt.target,
            attempt.upstream_model,
            attempt.credential,
            OUTCOME_NAMES[attempt.outcome],
            attempt.status,
            attempt.reason,
            usage.cache_write_tokens,
            usage.audio_input_tokens,
            usage.audio_output_tokens,
            usage.searches,
            usage.estimated,
            usage.suspect,
            attempt.price_known,
        )
        own = (
            request,
            number,
            attempt.started_at,
            attempt.duration_us,
            attempt.first_byte_us,
            attempt.held,
            attempt.upstream_request_id,
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.reasoning_tokens,
            attempt.cost,
        )
        rows[shared].append(own)
    return rows


def tag_rows(entries: Iterable[LedgerEntry]) -> _Rows:
    """For TAGS."""
    rows: _Rows = defaultdict(list)
    for entry in entries:
        for tag in entry.tags:
            rows[tag].append((entry.id,))
    return rows


def entry_of(row: Row, attempts: Sequence[Row], tags: Sequence[Row]) -> LedgerEntry:
    return LedgerEntry(
        id=row["id"],
        request_id=row["request_id"],
        tenant_id=row["tenant_id"],
        tenant=row["tenant_name"],
        key_id=row["key_id"],
        key=row["key_name"],
        api=row["api"],
        alias=row["alias"],
        requested_model=row["requested_model"],
        stream=bool(row["stream"]),
        outcome=Outcome(row["outcome"]),
        status=row["status"],
        code=row["code"],
        started_at=row["started_at"],
        duration_us=row["duration_us"],
        first_byte_us=row["first_byte_us"],
        usage=_usage_of(row),
        cost=NanoUSD(row["cost_nano"]),
        price_known=bool(row["price_known"]),
        attempts=tuple(_attempt_of(attempt) for attempt in attempts),
        user=row["end_user"],
        tags=tuple((tag["name"], tag["value"]) for tag in tags),
        metadata=row["metadata"],
        fingerprint=row["fingerprint"],
        draw=row["draw"],
        facets=row["facets"],
        health=row["health"],
        member=row["member"],
    )


def _attempt_of(row: Row) -> AttemptEntry:
    return AttemptEntry(
        attempt=row["attempt"],
        alias=row["alias"],
        provider=row["provider"],
        target=row["target"],
        upstream_model=row["upstream_model"],
        credential=row["credential"],
        outcome=Outcome(row["outcome"]),
        started_at=row["started_at"],
        duration_us=row["duration_us"],
        status=row["status"],
        first_byte_us=row["first_byte_us"],
        usage=_usage_of(row),
        cost=NanoUSD(row["cost_nano"]),
        price_known=bool(row["price_known"]),
        upstream_request_id=row["upstream_request_id"],
        reason=row["reason"],
        held=NanoUSD(row["held_nano"]),
    )


def _usage_of(row: Row) -> Usage:
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_input_tokens=row["cached_input_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        audio_input_tokens=row["audio_input_tokens"],
        audio_output_tokens=row["audio_output_tokens"],
        searches=row["searches"],
        estimated=bool(row["estimated"]),
        suspect=bool(row["suspect"]),
    )


def storable(entry: LedgerEntry) -> LedgerEntry:
    """`entry` with every value brought to what both engines can store; `suspect` where a number had to change."""
    attempts = tuple(
        structs.replace(attempt, **_fitted(attempt) | {"postings": _distinct(attempt.postings)})
        for attempt in entry.attempts
    )
    tags = dict.fromkeys((_text(name, MAX_TAG), _text(value, MAX_TAG)) for name, value in entry.tags)
    return structs.replace(entry, **_fitted(entry) | {"attempts": attempts, "tags": tuple(tags)})


def _fitted(entry: LedgerEntry | AttemptEntry) -> dict[str, Any]:
    """The fields of `entry` that had to change, with their new values."""
    changes: dict[str, Any] = {}
    for column in structs.fields(entry):
        value = getattr(entry, column.name)
        fitting = _text(value, MAX_TEXT) if type(value) is str else _number(value) if type(value) is int else value
        if fitting != value:
            changes[column.name] = fitting
    counts: dict[str, Any] = {name: _number(getattr(entry.usage, name)) for name in _COUNTS}
    if "cost" in changes or any(counts[name] != getattr(entry.usage, name) for name in _COUNTS):
        changes["usage"] = structs.replace(entry.usage, suspect=True, **counts)
    return changes


def _distinct(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    """A budget takes an attempt's cost once."""
    texts = [structs.replace(p, budget=_text(p.budget, MAX_TEXT), period=_text(p.period, MAX_TEXT)) for p in postings]
    return tuple({posting.budget: posting for posting in texts}.values())


def _number(value: int) -> int:
    return min(max(value, 0), MAX_BIGINT)


def _text(value: str, limit: int) -> str:
    """Without NUL, which PostgreSQL refuses, and lone surrogates, which are no text."""
    return value[:limit].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
