"""The durable fact of one request: one row for it, one for each attempt that reached (or tried to reach) a provider.

The structs stand as arrays in journals that a later release may read: new fields go to the end and have a default.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import structs

from router.domain.budgets import Posting
from router.domain.usage import NOTHING, NanoUSD, Usage

MAX_INT = 2**63 - 1

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Outcome(StrEnum):
    """How a request or an attempt ended."""

    OK = "ok"
    REFUSED_UPSTREAM = "refused_upstream"  # the provider's own 4xx about the request, passed on
    RATE_LIMITED = "rate_limited"
    CREDENTIAL = "credential"  # the provider refused our key: 401, 402, 403
    SERVER_ERROR = "server_error"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    RESET = "reset"
    INVALID_RESPONSE = "invalid_response"
    TRUNCATED = "truncated"
    CANCELLED = "cancelled"  # the caller left
    OVERRUN = "overrun"  # the provider ignored its cap; the stream was cut when it had passed what was held
    FORCED = "forced"  # ROUTER_FORCE_FAILOVER: never sent
    RECOVERED = "recovered"  # found unfinished in a journal after its process had died; charged by what it held
    NO_TARGET = "no_target"
    INTERNAL = "internal"


OUTCOME_NAMES = {outcome: outcome.value for outcome in Outcome}
"""Their plain texts, at a tenth of what `value` costs."""


class AttemptEntry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One attempt. Times are wall-clock microseconds since the epoch (`started_at`) and microseconds (durations).

    `first_byte_us` None: no byte came. `price_known` False: `cost` is 0 because no price is known, not because it is free.
    `held` is what was set aside for the attempt (a `cost` above it is an overrun); `postings` are the budgets it counts
    against.
    """

    attempt: int
    alias: str
    provider: str
    target: str
    upstream_model: str
    credential: str
    outcome: Outcome
    started_at: int
    duration_us: int
    status: int | None = None
    first_byte_us: int | None = None
    usage: Usage = NOTHING
    cost: NanoUSD = NanoUSD(0)
    price_known: bool = True
    upstream_request_id: str = ""
    reason: str = ""
    held: NanoUSD = NanoUSD(0)
    postings: tuple[Posting, ...] = ()


class AttemptTerms(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What stays the same from one attempt of a key at a target to the next: whose they are, where they go, what they cost.

    Prices are nano-USD per million; `postings` the budgets that are charged.
    """

    tenant_id: str
    tenant: str
    key_id: str
    key: str
    member: str
    api: str
    alias: str
    requested_model: str
    provider: str
    target: str
    upstream_model: str
    credential: str
    fingerprint: str
    price_input: int
    price_output: int
    price_known: bool
    postings: tuple[Posting, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode_terms = msgspec.json.Decoder(AttemptTerms).decode


def encoded_terms(terms: AttemptTerms) -> msgspec.Raw:
    """As they stand in a journal: encoded once, written with each attempt."""
    try:
        return msgspec.Raw(_encode(terms))
    except (UnicodeEncodeError, OverflowError):
        return msgspec.Raw(_encode(mended(terms)))


class OpenedAttempt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What must be on disk before an attempt is sent: enough to charge and attribute it if nothing else is ever heard.

    `held` is what it is charged if it was a JSON call; a stream is charged its last checkpoint and one interval more, by
    the prices of its `terms` (an encoded AttemptTerms) for `input_tokens` and the tokens seen.
    """

    request: str
    attempt: int
    at: int
    request_id: str
    stream: bool
    held: NanoUSD
    input_tokens: int
    encoded_terms: msgspec.Raw

    @property
    def terms(self) -> AttemptTerms:
        return _decode_terms(self.encoded_terms)


class LedgerEntry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One finished request with its attempts. `id` is ours and unique; `request_id` may be the caller's and repeat.

    `status` is what the caller was answered (499: it left first). `draw`, `fingerprint`, `facets` and `health` are what
    `explain` and `replay` need to make the same plan again: `facets` is `api stream bytes affinity-key`, `health` the
    target ids that were ejected, `?` half-open, `!` the last one standing. `member` is the e-mail address of the member
    whose key it was, "" if it was nobody's.
    """

    id: str
    request_id: str
    tenant_id: str
    tenant: str
    key_id: str
    key: str
    api: str
    alias: str
    requested_model: str
    stream: bool
    outcome: Outcome
    status: int
    code: str
    started_at: int
    duration_us: int
    first_byte_us: int | None
    usage: Usage
    cost: NanoUSD
    price_known: bool
    attempts: tuple[AttemptEntry, ...]
    user: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    metadata: str = ""
    fingerprint: str = ""
    draw: float = 0.0
    facets: str = ""
    health: str = ""
    member: str = ""


@dataclass(frozen=True, slots=True)
class AdoptionReport:
    """What came of one look for journals of dead processes.

    `instances` are done and gone; `left` could not be finished (the database was away) and are tried again. `requests` were
    written to the database, those it had already included; `recovered` of them had no end. `damaged` lines were unreadable.
    """

    instances: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    requests: int = 0
    recovered: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which requests to sum: half-open wall-clock microseconds; empty strings match everything."""

    since: int
    until: int
    tenant: str = ""
    key: str = ""
    alias: str = ""


class UsageGroup(StrEnum):
    TENANT = "tenant"
    KEY = "key"
    ALIAS = "alias"
    TAG = "tag"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """Sums over one group. `tag` groups are `name=value`; `day` groups are `YYYY-MM-DD` in UTC."""

    group: str
    requests: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: NanoUSD
    unpriced: int
    searches: int = 0


def mended(struct: _Struct) -> _Struct:
    """The same, as JSON can hold it: lone surrogates, which are no text, are replaced, numbers beyond 64 bits clamped."""
    return structs.replace(struct, **{f.name: _mended_value(getattr(struct, f.name)) for f in structs.fields(struct)})


def _mended_value(value: object) -> object:
    if type(value) is str:
        return value.encode("utf-8", "replace").decode()
    return min(max(value, 0), MAX_INT) if type(value) is int else value
