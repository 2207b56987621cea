"""Aliases that a hard budget could apply to and that could then not be asked as they stand: no price, no output cap."""

from collections.abc import Iterator

from router.config.document import Table, items_of, node_at
from router.config.prices import look_up
from router.config.problems import Findings
from router.config.provider_types import PROVIDER_TYPES
from router.config.schema import BudgetsConfig, RouterConfig
from router.config.schema_catalog import AliasConfig, TargetConfig
from router.domain.identity import EVERY_MODEL, ModelSet
from router.domain.requests import Kind


def warn_of_budgets(config: RouterConfig, tree: Table, findings: Findings) -> None:
    """One line for each alias and lack. Without a hard budget in the file there is nothing to say."""
    affected = _under_hard_budgets(config)
    nodes = items_of(tree.entries.get("model_catalog"))
    for index, (alias, node) in enumerate(zip(config.model_catalog, nodes, strict=True)):
        if alias.alias not in affected:
            continue
        key, named = f"model_catalog[{index}]", node_at(node, "alias")
        mark = node.mark if named is None else named.mark
        unpriced = [_name_of(alias, target) for target in alias.targets if _is_unpriced(alias, target, config)]
        if unpriced:
            names = ", ".join(unpriced)
            findings.warn(mark, key, f"no price is known of {names}: under a hard budget that is 400 price_unknown")
        if alias.type is Kind.CHAT and alias.max_output_tokens is None and alias.max_request_usd is None:
            findings.warn(mark, key, "no max_output_tokens: under a hard budget every caller must send an output cap")


def _name_of(alias: AliasConfig, target: TargetConfig) -> str:
    own = "*" if alias.alias.endswith("*") else alias.alias
    return f"{target.provider}/{target.deployment or target.model or own}"


def _is_unpriced(alias: AliasConfig, target: TargetConfig, config: RouterConfig) -> bool:
    """Of a wildcard's target the table may know the model once it is named."""
    if config.pricing.unknown != "warn" or target.price is not None or alias.price is not None:
        return False
    kind = config.providers[target.provider].type
    if alias.alias.endswith("*") and not target.model:
        return not PROVIDER_TYPES[kind].prices
    return look_up(kind, target.model or alias.alias) is None


def _under_hard_budgets(config: RouterConfig) -> set[str]:
    """Those that a budget is for, or whose callers have one, and what these fall back to."""
    spenders = list(_spenders(config))
    found = [alias.alias for alias in config.model_catalog if any(_may_use(s, alias.alias) for s in spenders)]
    if (config.budgets or BudgetsConfig()).mode == "hard":
        found += [alias.alias for alias in config.model_catalog if alias.budget_usd is not None]
    fallbacks = {alias.alias: _fallbacks(alias) for alias in config.model_catalog}
    reached: set[str] = set()
    while found:
        name = found.pop()
        if name not in reached:
            reached.add(name)
            found += fallbacks.get(name, ())
    return reached


def _fallbacks(alias: AliasConfig) -> list[str]:
    ways = alias.fallbacks
    return [*ways.default, *ways.on_rate_limited, *ways.on_budget]


def _spenders(config: RouterConfig) -> Iterator[tuple[ModelSet, ModelSet]]:
    """What each holder of a hard budget may use: its tenant's models, and its own. Tenants may come later."""
    base, section = config.budgets or BudgetsConfig(), config.bootstrap
    tenants = {tenant.name: ModelSet.of(tenant.models) for tenant in section.tenants}
    for row in section.tenant_budgets:
        if (row.mode or base.mode) == "hard":
            yield tenants[row.tenant], EVERY_MODEL
    if base.mode != "hard":
        return
    if base.default_usd is not None:
        yield EVERY_MODEL, EVERY_MODEL
    for key in section.api_keys:
        if key.budget_usd is not None:
            yield tenants[key.tenant], ModelSet.of(key.models) if key.models else EVERY_MODEL
    for member in section.memberships:
        if member.budget_usd is not None:
            yield tenants[member.tenant], EVERY_MODEL


def _may_use(spender: tuple[ModelSet, ModelSet], alias: str) -> bool:
    return all(_reaches(models, alias) for models in spender)


def _reaches(models: ModelSet, alias: str) -> bool:
    """Whether `models` holds the alias, or one of the names that a wildcard alias answers."""
    if not alias.endswith("*"):
        return alias in models
    prefix = alias[:-1]
    return prefix.startswith(models.prefixes) or any(name.startswith(prefix) for name in (*models.exact, *models.prefixes))
