"""The whole file exactly as the operator writes it, with its defaults. Never read on the request path."""

from typing import Annotated, Literal

from pydantic import Field

from router.config.fields import (
    CookieName,
    DatabaseUrl,
    Duration,
    Email,
    FractionPpm,
    HttpUrl,
    Listen,
    ListOf,
    Name,
    NetworkText,
    OffWord,
    Origin,
    Positive,
    RedisUrl,
    RetentionDays,
    Schedule,
    Secret,
    Section,
    Share,
    Timer,
    Timezone,
    Usd,
    Words,
)
from router.config.schema_bootstrap import BootstrapConfig, BudgetMode, DefaultsConfig, WebhookConfig
from router.config.schema_catalog import AliasConfig, ProviderConfig
from router.domain.routes import HealthMode


class TlsConfig(Section):
    cert: str = ""
    key: str = ""


class ServerTimeouts(Section):
    connect: Timer = 5.0
    first_byte: Timer = 120.0
    idle: Timer = 300.0
    total: Timer = 900.0
    write_stall: Timer = 60.0
    keep_alive: Timer = 75.0


class ServerConfig(Section):
    listen: Listen = "127.0.0.1:8080"
    secret: Secret = ""
    public_url: HttpUrl = ""
    trusted_proxies: Annotated[tuple[NetworkText, ...], ListOf] = ()
    cors_origins: Annotated[tuple[Origin, ...], ListOf] = ()
    public_models: bool = False
    tls: TlsConfig = TlsConfig()
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    body_limit_mb: Annotated[int, Field(ge=1, le=1024)] = 20
    timeouts: ServerTimeouts = ServerTimeouts()
    drain: Duration = 30.0


class DatabaseConfig(Section):
    url: DatabaseUrl = "sqlite:///data/router.db"
    run_migrations: bool = True
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10


class RedisConfig(Section):
    url: RedisUrl = ""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 20


class JournalConfig(Section):
    path: str = "data/journal"
    max_mb: Positive = 256
    durability: Literal["process", "power"] = "process"


class ObservabilityConfig(Section):
    metrics: bool = True
    metrics_token: Secret = ""
    log_format: Literal["json", "text"] = "json"
    otlp_endpoint: HttpUrl = ""
    sample: Share = 0.1


class HealthConfig(Section):
    interval: Timer = 60.0
    mode: Annotated[HealthMode, OffWord] = HealthMode.MODELS
    cooldown: Duration = 30.0
    alert_error_rate: FractionPpm | None = None
    alert_p95: Timer | None = None


class RateLimitsConfig(Section):
    """Limits of keys and tenants that have none of their own; an absent key is no limit."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    parallel_requests_key: Positive | None = None
    parallel_requests_tenant: Positive | None = None
    per_address_per_minute: Positive | None = None
    address_exempt: Annotated[tuple[NetworkText, ...], ListOf] = ()


class AlertsConfig(Section):
    enabled: bool = True
    emails: Annotated[tuple[Email, ...], ListOf] = ()
    webhooks: tuple[WebhookConfig, ...] = Field(default=(), repr=False)
    cooldown: Duration = 3600.0


class BudgetsConfig(Section):
    """No section, or no `default_usd`: no budget but those named elsewhere."""

    default_usd: Usd | None = None
    mode: BudgetMode = "hard"
    refresh_schedule: Schedule = "calendar_month"
    warning_threshold: FractionPpm = 800_000
    timezone: Timezone = "UTC"
    on_db_loss: Literal["lease", "deny"] = "lease"
    alerts: AlertsConfig = AlertsConfig()


class SmtpConfig(Section):
    host: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    username: str = ""
    password: Secret = ""
    sender: Annotated[str, Field(alias="from")] = ""
    tls: Annotated[Literal["starttls", "tls", "off"], OffWord] = "starttls"


class PricingConfig(Section):
    unknown: Literal["reject", "warn", "free"] = "warn"


class SessionConfig(Section):
    jwt_secret: Secret = ""
    access_token_ttl: Timer = 900.0
    refresh_token_ttl: Timer = 86400.0
    cookie_name: CookieName = "router_session"


class LocalLoginConfig(Section):
    enabled: bool = True


class OidcConfig(Section):
    enabled: bool = False
    issuer: HttpUrl = ""
    client_id: str = ""
    client_secret: Secret = ""
    redirect_url: HttpUrl = ""
    scopes: Words = ("openid", "email", "profile")
    allowed_domains: Words = ()
    roles_claim: str = "roles"
    allowed_roles: Words = ()
    admin_roles: Words = ()
    http_timeout: Timer = 5.0


class AdminConfig(Section):
    listen: Listen = ""
    session: SessionConfig = SessionConfig()
    local: LocalLoginConfig = LocalLoginConfig()
    oidc: OidcConfig = OidcConfig()
    signup: Annotated[Literal["off", "invite", "domains", "open"], OffWord] = "off"


class AuthConfig(Section):
    mode: Literal["keys", "passthrough"] = "keys"


class EncryptionConfig(Section):
    master_key: Secret = ""


class RetentionConfig(Section):
    log: Literal["metadata", "preview", "full"] = "metadata"
    metadata_days: Positive = 30
    responses_days: RetentionDays = 30
    zero_retention: bool = False


class RouterConfig(Section):
    """The root. `include` has been followed by the time this exists."""

    include: Words = ()
    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    redis: RedisConfig = RedisConfig()
    journal: JournalConfig = JournalConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    health: HealthConfig = HealthConfig()
    rate_limits: RateLimitsConfig = RateLimitsConfig()
    budgets: BudgetsConfig | None = None
    smtp: SmtpConfig = SmtpConfig()
    pricing: PricingConfig = PricingConfig()
    providers: dict[Name, ProviderConfig] = Field(default={})
    model_catalog: tuple[AliasConfig, ...] = ()
    tiers: dict[str, Name] = Field(default={})
    defaults: DefaultsConfig = DefaultsConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    admin: AdminConfig = AdminConfig()
    auth: AuthConfig = AuthConfig()
    encryption: EncryptionConfig = EncryptionConfig()
    retention: RetentionConfig = RetentionConfig()
