"""The `bootstrap` section exactly as written: what exists in the database because the file says so."""

from typing import Annotated, Literal

from pydantic import Field

from router.config.fields import (
    Duration,
    Email,
    FractionPpm,
    Instant,
    KeyPrefix,
    ListOf,
    Name,
    Schedule,
    Secret,
    Section,
    Timezone,
    Usd,
    WebhookSecret,
    WebhookUrl,
    Words,
)
from router.config.schema_catalog import LimitsConfig
from router.domain.identity import Scope, TenantStatus

BudgetMode = Literal["hard", "soft"]


class DefaultsConfig(Section):
    """The alias that answers a kind of request when the caller names none."""

    chat: Name | None = None
    embeddings: Name | None = None
    images: Name | None = None
    speech: Name | None = None
    transcription: Name | None = None
    moderation: Name | None = None
    rerank: Name | None = None


class WebhookConfig(Section):
    url: WebhookUrl
    format: Literal["standard", "slack", "teams", "discord"] = "standard"
    secret: WebhookSecret = ""


class TenantConfig(Section):
    name: Name
    status: TenantStatus = TenantStatus.ACTIVE
    models: Words = ("*",)
    defaults: DefaultsConfig = DefaultsConfig()
    tiers: dict[str, Name] = Field(default={})


class AdminUserConfig(Section):
    email: Email
    name: str = ""
    password: Secret = ""


class KeyConfig(Section):
    tenant: Name
    name: Name
    prefix: KeyPrefix
    secret: Annotated[Secret, Field(min_length=8, max_length=200)]
    scopes: Annotated[tuple[Scope, ...], ListOf] = ()
    models: Words = ()
    expires: Instant | None = None
    budget_usd: Usd | None = None
    member: Email | None = None
    rate_limit: LimitsConfig = LimitsConfig()


class MembershipConfig(Section):
    tenant: Name
    email: Email
    role: Literal["owner", "admin", "viewer", "user"]
    budget_usd: Usd | None = None


class TenantLimitsConfig(Section):
    tenant: Name
    limits: LimitsConfig


class TenantBudgetConfig(Section):
    """Keys that are absent come from the `budgets` section, or its defaults."""

    tenant: Name
    budget_usd: Usd
    mode: BudgetMode | None = None
    warning_threshold: FractionPpm | None = None
    refresh_schedule: Schedule | None = None
    timezone: Timezone | None = None
    alert_emails: Annotated[tuple[Email, ...], ListOf] = ()
    alert_webhooks: tuple[WebhookConfig, ...] = Field(default=(), repr=False)
    alert_cooldown: Duration | None = None


class BootstrapConfig(Section):
    tenants: tuple[TenantConfig, ...] = ()
    admin_users: tuple[AdminUserConfig, ...] = ()
    api_keys: tuple[KeyConfig, ...] = ()
    memberships: tuple[MembershipConfig, ...] = ()
    tenant_limits: tuple[TenantLimitsConfig, ...] = ()
    tenant_budgets: tuple[TenantBudgetConfig, ...] = ()
