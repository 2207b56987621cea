"""What must be true before an attempt is sent: the money for it is set aside, and a line on disk says so."""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from router.config.tokenizers import tokenizer_of
from router.domain.errors import PriceUnknown, StorageUnavailable
from router.domain.ledger import AttemptTerms, OpenedAttempt, encoded_terms
from router.domain.ports import Journal, TokenCounter
from router.domain.requests import API_NAMES, ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import NanoUSD
from router.gateway.bounds import Bound, bound_of
from router.gateway.meter import Attempt
from router.gateway.purses import Hold, OverBudget, Purse, Purses
from router.gateway.reach import Reach
from router.gateway.texts import texts_of

Budgets = Sequence[Purse]
"""What a request counts against, each in the period in which it was admitted."""

_is_hard = attrgetter("is_hard")
_MAX_TERMS = 1024
_UNBOUNDED = Bound(NanoUSD(0), None, None)


class Secured(msgspec.Struct, frozen=True):
    """Money set aside for one attempt, and the bound it was set aside for."""

    hold: Hold
    bound: Bound


class Treasury:
    """Holds money for attempts. `journal` is where the attempts that are sent are written down, `reach` of the database.

    `tokens` counts a request that has no room by its bytes; without it the bytes decide.
    """

    def __init__(self, purses: Purses, journal: Journal, reach: Reach, tokens: TokenCounter | None = None) -> None:
        self.purses = purses
        self.journal = journal
        self._reach = reach
        self.tokens = tokens

    async def secure(self, budgets: Budgets, candidate: Candidate, request: ModelRequest) -> Secured | None:
        """Hold what an attempt at `candidate` can cost in every budget; None where no budget applies.

        Raises BudgetExceeded, PriceUnknown, UnsupportedFeature or InvalidRequest (what cannot be bounded under a hard
        budget), StorageUnavailable.
        """
        if not budgets:
            return None
        bound = _UNBOUNDED
        if any(map(_is_hard, budgets)):
            price = candidate.target.price
            if price is None:
                raise PriceUnknown(
                    f"{candidate.target.id} has no known price, and a hard budget cannot be kept without one", param="model"
                )
            bound = bound_of(request, candidate, price)
        try:
            return Secured(await self.purses.hold(budgets, bound.amount), bound)
        except OverBudget as refused:
            closer = await self._counted(candidate, request, refused.purse)
            if closer is None or closer.amount >= bound.amount:
                refused.purse.tell_refused()
                raise
        try:
            return Secured(await self.purses.hold(budgets, closer.amount), closer)
        except OverBudget as refused:
            refused.purse.tell_refused()
            raise

    async def _counted(self, candidate: Candidate, request: ModelRequest, purse: Purse) -> Bound | None:
        """The bound by the request's tokens instead of its bytes; None where nobody can count them for certain, or where
        no count could find room in `purse`."""
        price, alias = candidate.target.price, candidate.alias
        tokenizer = tokenizer_of(candidate.target.provider_type, candidate.upstream_model)
        if self.tokens is None or price is None or not tokenizer or alias.max_request is not None:
            return None
        texts = texts_of(request)
        if texts is None or purse.spent + bound_of(request, candidate, price, texts.least).amount > purse.budget.limit:
            return None
        count = await self.tokens.count(tokenizer, texts.parts)
        return None if count is None else bound_of(request, candidate, price, texts.rest + count)

    def require_database(self, budgets: Budgets) -> None:
        """Raises StorageUnavailable while the database is out of reach, if one of `budgets` is hard."""
        if self._reach.is_lost and any(map(_is_hard, budgets)):
            raise StorageUnavailable(
                "the database cannot be reached, and a hard budget is not spent without it",
                hint="budgets.on_db_loss is deny",
            )

    def standing(self, budgets: Budgets) -> Purse | None:
        """The purse of the budget that is nearest to its end, None where no budget applies."""
        if len(budgets) == 1:
            return budgets[0]
        return min(budgets, key=lambda p: (p.budget.limit - p.spent) / max(p.budget.limit, 1), default=None)


class Dossier(msgspec.Struct, frozen=True):
    """Who an attempt is made for: what its line in the journal names. `id` is the request's in the ledger."""

    id: str
    request_id: str
    tenant_id: str
    tenant: str
    key_id: str
    key: str
    requested: str
    fingerprint: str
    member: str = ""

    def opening(self, request: ModelRequest, attempt: Attempt) -> OpenedAttempt:
        """The line to write before `attempt` is sent."""
        candidate = attempt.candidate
        target, price = candidate.target, candidate.target.price
        # Both in the order of their fields: their names would cost more than all the rest.
        terms = _terms(
            self.tenant_id,
            self.tenant,
            self.key_id,
            self.key,
            self.member,
            API_NAMES[request.api],
            candidate.alias.name,
            self.requested,
            target.provider,
            target.id,
            candidate.upstream_model,
            attempt.credential,
            self.fingerprint,
            price.input if price is not None else 0,
            price.output if price is not None else 0,
            price is not None,
            attempt.postings,
        )
        tokens = max(1, len(request.body) // 4)
        return OpenedAttempt(
            self.id, attempt.number, attempt.started_at, self.request_id, request.stream, attempt.held, tokens, terms
        )


@lru_cache(_MAX_TERMS)
def _terms(*fields: Any) -> msgspec.Raw:
    return encoded_terms(AttemptTerms(*fields))
