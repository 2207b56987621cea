"""What follows for one model from who asks: worked out at a key's first request for it, and kept beside its principal."""

import msgspec

from router.domain.budgets import Budget, Posting
from router.domain.identity import Principal
from router.domain.limits import LimitRule, LimitScope
from router.domain.requests import Api
from router.domain.routes import Alias, FallbackReason
from router.gateway.generation import Generation
from router.gateway.plan import Survey, choose_alias, survey
from router.gateway.purses import Funds, Purses

MAX_PERMITS = 1024
"""Of one key; a wildcard has more names than anybody should remember."""


class Permit:
    """One key's use of one name through one API, under one generation.

    `rules` and `funds` are the key's, its tenant's and the alias's; `total_s` is how long a request may take, in seconds.
    `terms` are those of attempts made under it, by alias, target, model and credential, and the postings they name.
    """

    __slots__ = (
        "alias",
        "budgets",
        "generation",
        "hands_over",
        "is_cautious",
        "requested",
        "rules",
        "survey",
        "terms",
        "total_s",
        "_funds",
    )

    def __init__(self, generation: Generation, principal: Principal, named: tuple[Alias, str], api: Api) -> None:
        snapshot, alias = generation.snapshot, named[0]
        self.generation = generation
        self.alias = alias
        self.survey: Survey = survey(snapshot, named, api)
        self.requested = self.survey.requested
        self.rules = _rules(principal, alias)
        self.budgets: tuple[Budget, ...] = principal.budgets if alias.budget is None else (*principal.budgets, alias.budget)
        self.total_s = alias.timeouts.total if alias.timeouts else snapshot.server.timeouts.total
        self.hands_over = FallbackReason.BUDGET in alias.fallbacks
        """Whether another alias is asked where a budget has no room."""
        self.is_cautious = snapshot.budgets.denies_on_db_loss
        self.terms: dict[tuple[str, str, str, str], tuple[tuple[Posting, ...], msgspec.Raw]] = {}
        self._funds: Funds | None = None

    def funds(self, purses: Purses, at_us: int) -> Funds | None:
        """What a request admitted at `at_us` counts against, however long it takes; None where no budget applies."""
        found = self._funds
        if found is not None and found.since <= at_us < found.until:
            return found
        if self.budgets:
            self._funds = purses.of(self.budgets, at_us)
        return self._funds


def permit_for(generation: Generation, principal: Principal, api: Api, model: str | None, tier: str | None) -> Permit:
    """The key's permit for what a request names. Raises what `choose_alias` raises."""
    name = (api, model, tier)
    permit: Permit | None = principal.permits.get(name)
    if permit is None or permit.generation is not generation:
        named = choose_alias(generation.snapshot, principal, api, model, tier)
        permit = Permit(generation, principal, named, api)
        if len(principal.permits) >= MAX_PERMITS:
            principal.permits.clear()
        principal.permits[name] = permit
    return permit


def _rules(principal: Principal, alias: Alias) -> tuple[LimitRule, ...]:
    if alias.limits.is_empty:
        return principal.rules
    return (*principal.rules, LimitRule(LimitScope.MODEL, alias.name, alias.limits))
