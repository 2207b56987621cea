"""Providers and the model catalog exactly as written in the file."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from router.config.fields import (
    ApiVersion,
    AwsRegion,
    Count,
    Duration,
    GoogleLocation,
    GoogleProject,
    Headers,
    HttpUrl,
    ListOf,
    Name,
    Positive,
    PricePerMillion,
    ProxyUrl,
    RequestNumbers,
    RoleArn,
    Secret,
    Section,
    Share,
    Timer,
    Usd,
    Words,
)
from router.domain.requests import Api, Kind
from router.domain.routes import Affinity, Strategy

FaultKind = Literal[
    "none",
    "rate_limited",
    "error",
    "html_error",
    "refuse_stream_options",
    "timeout",
    "slow_headers",
    "empty",
    "wrong_content_type",
    "reset",
    "silence",
    "cut_stream",
    "end_early",
    "error_event",
    "bad_frames",
    "not_an_object",
    "huge_event",
    "no_done",
    "crlf",
    "cr",
    "bom",
    "comments",
    "no_space",
    "usage_null",
    "usage_absent",
    "usage_zero",
    "usage_absurd",
    "usage_negative",
    "usage_twice",
    "usage_cumulative",
    "ignore_cap",
]


class TimeoutsConfig(Section):
    """Timers of one provider or alias; a key that is absent comes from the level above."""

    connect: Timer | None = None
    first_byte: Timer | None = None
    idle: Timer | None = None
    total: Timer | None = None


class WeightedKey(Section):
    key: Secret
    weight: Positive = 1


class FaultConfig(Section):
    """A fault the simulated provider shows: by chance (`rate`), for the n-th requests (`requests`, from 1), or always."""

    kind: FaultKind
    rate: Share | None = None
    requests: Annotated[tuple[RequestNumbers, ...], ListOf] | None = None
    models: Words | None = None
    probes: bool | None = None
    after_events: Count | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    code: str | None = None
    retry_after: str | None = None
    delay: Duration | None = None
    bytes: Annotated[int, Field(ge=1, le=2**31)] | None = None
    output_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class SimulateConfig(Section):
    """How the simulated provider answers; what is absent is its own choice."""

    latency: Duration | None = None
    jitter: Duration | None = None
    first_token: Duration | None = None
    tokens_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    output_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    models: Words | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    faults: tuple[FaultConfig, ...] | None = None


class ProviderConfig(Section):
    """Which of these keys a type takes is in `provider_types`."""

    type: Name
    api_key: Secret = ""
    api_keys: tuple[WeightedKey, ...] = Field(default=(), repr=False)
    base_url: HttpUrl = ""
    endpoint: HttpUrl = ""
    api_version: ApiVersion = ""
    auth: Literal["", "x-api-key", "bearer"] = ""
    region: AwsRegion = ""
    access_key_id: Secret = ""
    secret_access_key: Secret = ""
    session_token: Secret = ""
    profile: str = ""
    default_credentials: bool = False
    role_arn: RoleArn = ""
    external_id: Secret = ""
    project: GoogleProject = ""
    location: GoogleLocation = ""
    credentials_file: str = ""
    credentials: Secret = ""
    apis: Annotated[tuple[Api, ...], ListOf] | None = None
    headers: Headers = Field(default={}, repr=False)
    ca_file: str = ""
    proxy: ProxyUrl = ""
    stream_usage: bool | None = None
    bills_on_cancel: bool = False
    max_batch: Positive | None = None
    drop_unsupported: Words = ()
    timeouts: TimeoutsConfig = TimeoutsConfig()
    simulate: SimulateConfig = SimulateConfig()


class PriceConfig(Section):
    """USD per million units, here already in nano-USD. An explicit 0 is a price."""

    input: PricePerMillion | None = None
    output: PricePerMillion | None = None
    cached_input: PricePerMillion | None = None
    cache_write: PricePerMillion | None = None
    reasoning: PricePerMillion | None = None
    audio_input: PricePerMillion | None = None
    audio_output: PricePerMillion | None = None
    image: PricePerMillion | None = None
    second: PricePerMillion | None = None
    character: PricePerMillion | None = None
    search: PricePerMillion | None = None
    cache_write_1h: PricePerMillion | None = None


class TargetConfig(Section):
    """`model` absent: the alias's own name. `price` overrides the alias's."""

    provider: Name
    model: str = ""
    deployment: str = ""
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    price: PriceConfig | None = None


class FallbacksConfig(Section):
    default: Words = ()
    on_context_window: Words = ()
    on_content_policy: Words = ()
    on_rate_limited: Words = ()
    on_budget: Words = ()


class LimitsConfig(Section):
    """Requests and tokens per minute, requests in flight; an absent key is no limit."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    parallel_requests: Positive | None = None


def _fallbacks(value: Any) -> Any:
    """A plain list (or one name) means `default`."""
    return {"default": value} if isinstance(value, list | str) else value


class AliasConfig(Section):
    alias: Name
    type: Kind = Kind.CHAT
    strategy: Strategy = Strategy.WEIGHTED
    affinity: Affinity = Affinity.NONE
    targets: Annotated[tuple[TargetConfig, ...], Field(min_length=1)]
    fallbacks: Annotated[FallbacksConfig, BeforeValidator(_fallbacks)] = FallbacksConfig()
    timeouts: TimeoutsConfig = TimeoutsConfig()
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    rate_limit: LimitsConfig = LimitsConfig()
    max_request_usd: Usd | None = None
    budget_usd: Usd | None = None
    context_window: Positive | None = None
    max_output_tokens: Positive | None = None
    modalities: Words = ()
    price: PriceConfig | None = None
