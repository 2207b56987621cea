"""The compiled configuration: frozen, indexed, secrets resolved, fingerprinted; fetched once per request."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from router.domain.limits import Limits
from router.domain.routes import Alias, HealthMode, ProviderSpec, Timeouts

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
    mode: HealthMode = HealthMode.MODELS
    interval_s: float = 60.0
    cooldown_s: float = 30.0


@dataclass(frozen=True, slots=True)
class RateDefaults:
    """Limits for keys and tenants that have none of their own, and for client addresses. None is no limit."""

    key: Limits = Limits()
    tenant: Limits = Limits()
    per_address_per_minute: int | None = None
    address_exempt: tuple[Network, ...] = ()


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
    force_failover: frozenset[str] = frozenset()
    has_metrics: bool = True
    metrics_token: str = field(default="", repr=False)
    unknown_price: UnknownPrice = UnknownPrice.WARN
    warnings: tuple[str, ...] = ()

    def secrets(self) -> Iterator[str]:
        """What no log line may show, beyond what looks like a secret anyway."""
        for provider in self.providers.values():
            yield from (credential.key for credential in provider.credentials)
            yield from (value for _, value in provider.headers)
        if self.metrics_token:
            yield self.metrics_token
