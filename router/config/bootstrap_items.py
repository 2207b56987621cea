"""The bootstrap section as the plain values storage applies."""

from router.config.schema import BudgetsConfig, RouterConfig
from router.config.schema_bootstrap import KeyConfig, TenantBudgetConfig, TenantConfig
from router.config.schema_catalog import LimitsConfig
from router.domain.bootstrap import (
    BootstrapItem,
    KeyItem,
    MembershipItem,
    TenantBudgetItem,
    TenantItem,
    TenantLimitsItem,
    UserItem,
)
from router.domain.limits import Limits


def bootstrap_items(config: RouterConfig) -> list[BootstrapItem]:
    """Every item of the section, those that others refer to first."""
    section = config.bootstrap
    budgets = config.budgets or BudgetsConfig()
    items: list[BootstrapItem] = [_tenant(tenant) for tenant in section.tenants]
    items += [UserItem(user.email, user.name, user.password) for user in section.admin_users]
    items += [_key(key) for key in section.api_keys]
    items += [MembershipItem(m.tenant, m.email, m.role, m.budget_usd) for m in section.memberships]
    items += [TenantLimitsItem(row.tenant, _limits(row.limits)) for row in section.tenant_limits]
    items += [_budget(row, budgets) for row in section.tenant_budgets]
    return items


def _tenant(config: TenantConfig) -> TenantItem:
    return TenantItem(
        name=config.name,
        status=config.status,
        models=config.models,
        defaults=config.defaults.model_dump(exclude_none=True, exclude={"locked"}),
        tiers=dict(config.tiers),
    )


def _key(config: KeyConfig) -> KeyItem:
    return KeyItem(
        tenant=config.tenant,
        name=config.name,
        prefix=config.prefix,
        secret=config.secret,
        scopes=tuple(scope.value for scope in config.scopes),
        models=config.models,
        expires_at=config.expires,
        limits=_limits(config.rate_limit),
        budget=config.budget_usd,
        member=config.member or "",
    )


def _budget(config: TenantBudgetConfig, base: BudgetsConfig) -> TenantBudgetItem:
    """What the row leaves open comes from the `budgets` section, or from its defaults."""
    threshold, cooldown = config.warning_threshold, config.alert_cooldown
    return TenantBudgetItem(
        tenant=config.tenant,
        budget=config.budget_usd,
        mode=config.mode or base.mode,
        schedule=config.refresh_schedule or base.refresh_schedule,
        timezone=config.timezone or base.timezone,
        warning_ppm=base.warning_threshold if threshold is None else threshold,
        alert_emails=config.alert_emails,
        alert_webhooks=tuple((hook.url, hook.format) for hook in config.alert_webhooks),
        alert_cooldown_s=base.alerts.cooldown if cooldown is None else cooldown,
    )


def _limits(config: LimitsConfig) -> Limits:
    return Limits(config.requests_per_minute, config.tokens_per_minute, config.parallel_requests)
