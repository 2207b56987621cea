"""The compiled configuration: frozen, indexed, secrets resolved, fingerprinted; fetched once per request."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from router.domain.alerts import Webhook
from router.domain.budgets import DEFAULT_TERMS, BudgetTerms
from router.domain.limits import Limits
from router.domain.routes import Alias, HealthMode, ProviderSpec, Timeouts
from router.domain.usage import NanoUSD

Network = IPv4Network | IPv6Network


class UnknownPrice(StrEnum):
    """What happens to a request whose target has no price: refused, let through with a warning, or taken as free."""

    REJECT = "reject"
    WARN = "warn"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the listening side needs; sizes in bytes, times in seconds. Fields marked (start) need a restart to change."""

    host: str = "127.0.0.1"  # (start)
    port: int = 8080  # (start)
    trusted_proxies: tuple[Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    public_models: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    body_limit: int = 20 * 2**20
    write_stall_s: float = 60.0
    keep_alive_s: float = 75.0  # (start)
    drain_s: float = 30.0
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """`alert_error_ppm` and `alert_p95_us` are the bounds past which a target is told about; None: it is not."""

    mode: HealthMode = HealthMode.MODELS
    interval_s: float = 60.0
    cooldown_s: float = 30.0
    alert_error_ppm: int | None = None
    alert_p95_us: int | None = None


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """`tls`: `starttls` and `tls` never fall back to a plain connection; `off` is one. `username` "" does not log in."""

    host: str
    port: int
    sender: str
    username: str = ""
    password: str = field(default="", repr=False)
    tls: str = "starttls"


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Who is told everything, and how mail leaves. `named` is every webhook of the file, those of tenants included."""

    is_enabled: bool = True
    emails: tuple[str, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    cooldown_s: float = 3600.0
    named: tuple[Webhook, ...] = ()
    smtp: SmtpSettings | None = None


@dataclass(frozen=True, slots=True)
class RateDefaults:
    """Limits for keys and tenants that have none of their own, and for client addresses. None is no limit."""

    key: Limits = Limits()
    tenant: Limits = Limits()
    per_address_per_minute: int | None = None
    address_exempt: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What budgets without terms of their own get. `default_limit` None: a tenant without a budget has none.

    `denies_on_db_loss`: without the database a hard budget refuses at once instead of serving from what is leased.
    """

    default_limit: NanoUSD | None = None
    terms: BudgetTerms = DEFAULT_TERMS
    denies_on_db_loss: bool = False


@dataclass(frozen=True, slots=True)
class ResponseRetention:
    """How long responses are kept for their callers; 0 is never. `is_ours` False: their state is the provider's business."""

    kept_us: int = 0
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One configuration in force.

    `fingerprint` is the hex SHA-256 of `masked_yaml`, the effective configuration with each secret replaced by a keyed
    digest, so that two snapshots are equal exactly when their fingerprints are. `aliases` holds the exact names,
    `wildcards` those that end in `*`, longest prefix first. `force_failover` names providers or aliases whose targets fail
    without being called.
    """

    fingerprint: str
    masked_yaml: str
    server: ServerSettings
    providers: Mapping[str, ProviderSpec]
    aliases: Mapping[str, Alias]
    wildcards: tuple[Alias, ...]
    tiers: Mapping[str, str]
    defaults: Mapping[str, str]
    health: HealthSettings
    rates: RateDefaults
    budgets: BudgetSettings = BudgetSettings()
    force_failover: frozenset[str] = frozenset()
    has_metrics: bool = True
    metrics_token: str = field(default="", repr=False)
    unknown_price: UnknownPrice = UnknownPrice.WARN
    warnings: tuple[str, ...] = ()
    alerts: AlertSettings = AlertSettings()
    responses: ResponseRetention = ResponseRetention()

    def secrets(self) -> Iterator[str]:
        """What no log line may show, beyond what looks like a secret anyway."""
        for provider in self.providers.values():
            yield from (credential.key for credential in provider.credentials)
            yield from (value for _, value in provider.headers)
            if password := urlsplit(provider.proxy).password:
                yield password
        for webhook in self.alerts.named:
            yield webhook.url
            if webhook.secret:
                yield webhook.secret
        if self.alerts.smtp is not None and self.alerts.smtp.password:
            yield self.alerts.smtp.password
        if self.metrics_token:
            yield self.metrics_token
