"""Aliases that a hard budget could apply to are told where they lack a price or an output cap; all others are let be."""

from pathlib import Path

import pytest

from tests.config.samples import loaded

PROVIDERS = """\
providers:
  sim: {type: simulated}
  table: {type: openai, api_key: k}
"""
CATALOG = """\
model_catalog:
  - {alias: bare, targets: [{provider: sim, model: m}, {provider: sim, model: n}, {provider: table, model: gpt-5}]}
  - {alias: whole, targets: [{provider: sim, model: m}], price: {input: 1, output: 1}, max_output_tokens: 10}
  - {alias: vectors, type: embeddings, targets: [{provider: sim, model: v}]}
  - {alias: "any/*", targets: [{provider: table}, {provider: sim}], max_output_tokens: 10}
  - {alias: fixed, targets: [{provider: sim, model: f, price: {input: 0, output: 0}}], max_request_usd: 1, fallbacks: vague}
  - {alias: vague, targets: [{provider: table, model: gpt-5}]}
"""
BARE = {"sim/m, sim/n", "bare: cap"}
FIXED = {"vague: cap"}
ALL = BARE | FIXED | {"sim/v", "sim/*"}


def told(folder: Path, text: str) -> set[str]:
    """Of each warning what it names: the targets without a price, or the alias without a cap."""
    lines = (PROVIDERS + CATALOG).splitlines()
    found = set()
    for warning in loaded(folder, PROVIDERS + CATALOG + text).warnings:
        place, _, said = warning.removeprefix("router.yaml:").partition(": ")
        if "price_unknown" in said:
            found.add(said.partition("known of ")[2].partition(":")[0])
        elif "output cap" in said:
            alias = lines[int(place.split(":")[0]) - 1].partition("alias: ")[2].partition(",")[0]
            assert said.startswith("model_catalog[")
            found.add(f"{alias}: cap")
    return found


def bootstrap(*rows: str, models: str = "['*']") -> str:
    key = "{tenant: t, name: k, prefix: k, secret: 01234567890123456789, models: [bare], budget_usd: %s}"
    lines = [f"  tenants: [{{name: t, models: {models}}}]", *rows]
    return "bootstrap:\n" + "\n".join(line.replace("KEY", key) for line in lines) + "\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("budgets: {mode: hard}\n", set()),
        ("budgets: {default_usd: 10}\n", ALL),
        ("budgets: {default_usd: 10, mode: soft}\n", set()),
        ("budgets: {default_usd: 10}\npricing: {unknown: free}\n", {"bare: cap", "vague: cap"}),
        ("budgets: {default_usd: 10}\npricing: {unknown: reject}\n", {"bare: cap", "vague: cap"}),
        (bootstrap("  api_keys: [KEY]") % "null", set()),
        (bootstrap("  api_keys: [KEY]") % "5", BARE),
        (bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1}]", models="[fixed]"), FIXED),
        (bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1, mode: soft}]"), set()),
        (bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1}]", models="['any/m']"), {"sim/*"}),
        (bootstrap("  memberships: [{tenant: t, email: a@b.c, role: user, budget_usd: 1}]", models="[fixed]"), FIXED),
        ("budgets: {mode: soft}\n" + bootstrap("  tenant_budgets: [{tenant: t, budget_usd: 1, mode: hard}]"), ALL),
    ],
)
def test_what_lacks_a_price_or_a_cap_under_a_hard_budget_is_named_once(tmp_path: Path, text: str, names: set[str]) -> None:
    assert told(tmp_path, text) == names


def test_an_alias_s_own_budget_is_for_it_and_for_what_it_falls_back_to(tmp_path: Path) -> None:
    own = CATALOG.replace("max_request_usd: 1,", "max_request_usd: 1, budget_usd: 9,")
    warnings = loaded(tmp_path, PROVIDERS + own).warnings
    assert [warning for warning in warnings if "output cap" in warning] == [
        "router.yaml:10:13: model_catalog[5]: no max_output_tokens: under a hard budget every caller must send an output cap"
    ]
    assert not [warning for warning in warnings if "price_unknown" in warning]
