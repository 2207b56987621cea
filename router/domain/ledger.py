"""The durable fact of one request: one row for it, one for each attempt that reached (or tried to reach) a provider."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from router.domain.usage import NOTHING, NanoUSD, Usage


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
    FORCED = "forced"  # ROUTER_FORCE_FAILOVER: never sent
    NO_TARGET = "no_target"
    INTERNAL = "internal"


class AttemptEntry(msgspec.Struct, frozen=True, gc=False):
    """One attempt. Times are wall-clock microseconds since the epoch (`started_at`) and microseconds (durations).

    `first_byte_us` None: no byte came. `price_known` False: `cost` is 0 because no price is known, not because it is free.
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


class LedgerEntry(msgspec.Struct, frozen=True, gc=False):
    """One finished request with its attempts. `id` is ours and unique; `request_id` may be the caller's and repeat.

    `status` is what the caller was answered (499: it left first). `draw`, `fingerprint`, `facets` and `health` are what
    `explain` and `replay` need to make the same plan again: `facets` is `api stream bytes affinity-key`, `health` the
    target ids that were ejected, `?` half-open, `!` the last one standing.
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
