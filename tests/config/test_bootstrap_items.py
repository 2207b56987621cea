"""The bootstrap section as plain values: units are settled here, defaults come from the budgets section."""

from pathlib import Path

from router.config.bootstrap_items import bootstrap_items
from router.domain.bootstrap import (
    KeyItem,
    MembershipItem,
    TenantBudgetItem,
    TenantItem,
    TenantLimitsItem,
    UserItem,
)
from router.domain.identity import TenantStatus
from router.domain.limits import Limits
from router.domain.usage import NanoUSD
from tests.config.samples import DEMO, ONE_ALIAS, SECRETS, WHOLE, loaded


def test_the_documented_section_becomes_one_item_each(tmp_path: Path) -> None:
    assert bootstrap_items(loaded(tmp_path, WHOLE, SECRETS).config) == [
        TenantItem("demo", TenantStatus.ACTIVE, ("*",), {"chat": "gpt-5-mini"}),
        UserItem("admin@example.com", "Admin", "canary-password"),
        KeyItem("demo", "demo", "demo", "my-secret", (), ("*",), None, Limits(60, 60_000, 5), None),
        MembershipItem("demo", "admin@example.com", "owner"),
        TenantLimitsItem("demo", Limits(120, 120_000, 20)),
        TenantBudgetItem(
            "demo", NanoUSD(150 * 10**9), "hard", "weekly", "UTC", 750_000, ("finance@example.com",), (), 5400.0
        ),
    ]


def test_secrets_are_not_in_what_an_item_shows(tmp_path: Path) -> None:
    shown = repr(bootstrap_items(loaded(tmp_path, WHOLE, SECRETS).config))
    assert "canary" not in shown
    assert "my-secret" not in shown


def test_units_are_microseconds_nano_usd_and_the_budgets_sections_defaults(tmp_path: Path) -> None:
    text = DEMO + ONE_ALIAS + "budgets: {mode: soft, timezone: Europe/Berlin, warning_threshold: 0.5}\n"
    text += "bootstrap:\n  tenants: [{name: t}]\n  tenant_budgets: [{tenant: t, budget_usd: 0.1}]\n"
    text += "  api_keys: [{tenant: t, name: n, prefix: p, secret: 12345678, expires: 2027-01-31T12:00:00+01:00,"
    text += " budget_usd: 1}]\n"
    _, key, budget = bootstrap_items(loaded(tmp_path, text).config)
    assert isinstance(key, KeyItem)
    assert (key.expires_at, key.budget, key.limits) == (1801393200 * 10**6, 10**9, Limits())
    assert isinstance(budget, TenantBudgetItem)
    assert (budget.budget, budget.mode, budget.timezone, budget.warning_ppm) == (10**8, "soft", "Europe/Berlin", 500_000)
