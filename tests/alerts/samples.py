"""One alert of every kind, and settings to vary."""

from typing import Any

from msgspec.structs import replace

from router.config.snapshot import AlertSettings, SmtpSettings
from router.domain.alerts import (
    Alert,
    BudgetExhausted,
    BudgetHolder,
    BudgetThreshold,
    Channel,
    Draft,
    ErrorRate,
    Latency,
    Letter,
    RaisedAlert,
    TargetDown,
    TargetUp,
    TestAlert,
)
from router.domain.budgets import BudgetMode, BudgetScope
from router.domain.usage import NanoUSD
from tests.stores import NOW

USD = 1_000_000_000
HOLDER = BudgetHolder(BudgetScope.TENANT, "t1", "acme", "t1", "acme")
KEY_HOLDER = BudgetHolder(BudgetScope.KEY, "k1", "ci", "t1", "acme")
THRESHOLD = BudgetThreshold(HOLDER, NanoUSD(150 * USD), NanoUSD(120 * USD), 80, NOW + 3_600_000_000)
ALERTS: tuple[Alert, ...] = (
    THRESHOLD,
    BudgetExhausted(KEY_HOLDER, NanoUSD(10 * USD), NanoUSD(10 * USD), None, BudgetMode.SOFT),
    TargetDown("openai/gpt-5", "HTTP 500"),
    TargetUp("openai/gpt-5"),
    ErrorRate("openai/gpt-5", 31.2, 20.0),
    Latency("openai/gpt-5", 41_000, 30_000),
    TestAlert(),
)
LETTER = Letter(
    "0" * 31 + "7", Draft(Channel.EMAIL, "ops@example.com", "Target a/b is down", "Reason: x\n"), "", NOW, 0, NOW
)


def raised(alert: Alert, number: int = 1, at: int = NOW) -> RaisedAlert:
    return RaisedAlert(f"{number:032x}", alert, at)


def letter(**changes: Any) -> Letter:
    return replace(LETTER, **changes)


def smtp(port: int, **changes: Any) -> SmtpSettings:
    return SmtpSettings(**{"host": "127.0.0.1", "port": port, "sender": "routerd <alerts@example.com>", **changes})


def settings(**changes: Any) -> AlertSettings:
    """Every webhook that is told everything is named by the file as well."""
    webhooks = changes.get("webhooks", ())
    return AlertSettings(**{"named": webhooks, **changes})
