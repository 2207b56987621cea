"""The alert sections of the file as the values the daemon works with."""

from collections.abc import Iterable
from email.utils import parseaddr

from router.config.schema import BudgetsConfig, RouterConfig, SmtpConfig
from router.config.schema_bootstrap import WebhookConfig
from router.config.snapshot import AlertSettings, SmtpSettings
from router.domain.alerts import Channel, Recipients, Webhook


def alert_settings(config: RouterConfig) -> AlertSettings:
    alerts = (config.budgets or BudgetsConfig()).alerts
    tenants = [hook for row in config.bootstrap.tenant_budgets for hook in row.alert_webhooks]
    return AlertSettings(
        is_enabled=alerts.enabled,
        emails=alerts.emails,
        webhooks=_webhooks(alerts.webhooks),
        cooldown_s=alerts.cooldown,
        named=_webhooks([*alerts.webhooks, *tenants]),
        smtp=_smtp(config.smtp),
    )


def tenant_recipients(config: RouterConfig, tenant: str) -> Recipients:
    """Whom the file names for a tenant's own budgets; nobody, where it names no such tenant."""
    for row in config.bootstrap.tenant_budgets:
        if row.tenant == tenant:
            return Recipients(row.alert_emails, _webhooks(row.alert_webhooks))
    return Recipients()


def sender_of(address: str, username: str) -> str:
    """Whom mail comes from: `smtp.from`, else a `smtp.username` that is an address; "" is nobody."""
    for text in (address, username):
        _, found = parseaddr(text)
        if "@" in found.strip("@") and text.isprintable():
            return text
    return ""


def _webhooks(hooks: Iterable[WebhookConfig]) -> tuple[Webhook, ...]:
    return tuple(Webhook(hook.url, Channel(hook.format), hook.secret) for hook in hooks)


def _smtp(config: SmtpConfig) -> SmtpSettings | None:
    if not config.host:
        return None
    return SmtpSettings(
        host=config.host,
        port=config.port,
        sender=sender_of(config.sender, config.username),
        username=config.username,
        password=config.password,
        tls=config.tls,
    )
