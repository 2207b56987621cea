"""What must be true before an attempt is sent: the money for it is set aside, and a line on disk says so."""

from collections.abc import Sequence

import msgspec

from router.domain.budgets import Budget, BudgetMode, Period
from router.domain.errors import PriceUnknown
from router.domain.ledger import OpenedAttempt
from router.domain.ports import Journal
from router.domain.requests import ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import NanoUSD
from router.gateway.bounds import Bound, bound_of
from router.gateway.meter import Attempt
from router.gateway.purses import Hold, Purse, Purses

Budgets = Sequence[tuple[Budget, Period]]
_UNBOUNDED = Bound(NanoUSD(0), None, None)


class Secured(msgspec.Struct, frozen=True):
    """Money set aside for one attempt, and the bound it was set aside for."""

    hold: Hold
    bound: Bound


class Treasury:
    """Holds money for attempts. `journal` is where the attempts that are sent are written down."""

    def __init__(self, purses: Purses, journal: Journal) -> None:
        self.purses = purses
        self.journal = journal

    async def secure(self, budgets: Budgets, candidate: Candidate, request: ModelRequest) -> Secured | None:
        """Hold what an attempt at `candidate` can cost in every budget; None where no budget applies.

        Raises BudgetExceeded, PriceUnknown, UnsupportedFeature or InvalidRequest (what cannot be bounded under a hard
        budget), StorageUnavailable.
        """
        if not budgets:
            return None
        bound = _UNBOUNDED
        if any(budget.terms.mode is BudgetMode.HARD for budget, _ in budgets):
            price = candidate.target.price
            if price is None:
                raise PriceUnknown(
                    f"{candidate.target.id} has no known price, and a hard budget cannot be kept without one", param="model"
                )
            bound = bound_of(request, candidate, price)
        return Secured(await self.purses.hold(budgets, bound.amount), bound)

    def standing(self, budgets: Budgets) -> Purse | None:
        """The purse of the budget that is nearest to its end, None where no budget applies."""
        purses = [self.purses.purse(budget, period) for budget, period in budgets]
        return min(purses, key=lambda p: (p.budget.limit - p.spent) / max(p.budget.limit, 1), default=None)


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

    def opening(self, request: ModelRequest, attempt: Attempt) -> OpenedAttempt:
        """The line to write before `attempt` is sent."""
        candidate = attempt.candidate
        price = candidate.target.price
        return OpenedAttempt(
            request=self.id,
            attempt=attempt.number,
            at=attempt.started_at,
            request_id=self.request_id,
            tenant_id=self.tenant_id,
            tenant=self.tenant,
            key_id=self.key_id,
            key=self.key,
            api=request.api.value,
            alias=candidate.alias.name,
            requested_model=self.requested,
            stream=request.stream,
            provider=candidate.target.provider,
            target=candidate.target.id,
            upstream_model=candidate.upstream_model,
            credential=attempt.credential,
            fingerprint=self.fingerprint,
            held=attempt.held,
            input_tokens=max(1, len(request.body) // 4),
            price_input=price.input if price is not None else 0,
            price_output=price.output if price is not None else 0,
            price_known=price is not None,
            postings=attempt.postings,
        )
