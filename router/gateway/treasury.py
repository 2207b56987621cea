"""What must be true before an attempt is sent: the money for it is set aside, and a line on disk says so."""

from router.config.tokenizers import tokenizer_of
from router.domain.errors import StorageUnavailable
from router.domain.ports import Journal, TokenCounter
from router.domain.requests import ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import NanoUSD
from router.gateway.bounds import Bound, bound_of
from router.gateway.purses import Funds, Hold, OverBudget, Purse, Purses
from router.gateway.reach import Reach
from router.gateway.texts import texts_of

_UNBOUNDED = Bound(NanoUSD(0), None, None)
"""Of soft budgets nothing is set aside."""


class Treasury:
    """Holds money for attempts. `journal` is where the attempts that are sent are written down, `reach` of the database.

    `tokens` counts a request that has no room by its bytes; without it the bytes decide.
    """

    def __init__(self, purses: Purses, journal: Journal, reach: Reach, tokens: TokenCounter | None = None) -> None:
        self.purses = purses
        self.journal = journal
        self._reach = reach
        self.tokens = tokens

    def at_hand(self, funds: Funds, candidate: Candidate, request: ModelRequest) -> Hold | None:
        """Hold what an attempt at `candidate` can cost in every budget; None where only `secure` can, which may wait.

        Raises PriceUnknown, UnsupportedFeature or InvalidRequest: what cannot be bounded under a hard budget.
        """
        return self.purses.take(funds, bound_of(request, candidate) if funds.hard else _UNBOUNDED)

    async def secure(self, funds: Funds, candidate: Candidate, request: ModelRequest) -> Hold:
        """`at_hand`, waiting for a lease where one is needed. Raises BudgetExceeded and StorageUnavailable too."""
        bound = bound_of(request, candidate) if funds.hard else _UNBOUNDED
        try:
            return await self.purses.hold(funds, bound)
        except OverBudget as refused:
            closer = await self._counted(candidate, request, refused.purse)
            if closer is None or closer.amount >= bound.amount:
                refused.purse.tell_refused()
                raise
        try:
            return await self.purses.hold(funds, closer)
        except OverBudget as refused:
            refused.purse.tell_refused()
            raise

    async def _counted(self, candidate: Candidate, request: ModelRequest, purse: Purse) -> Bound | None:
        """The bound by the request's tokens instead of its bytes; None where nobody can count them for certain, or where
        no count could find room in `purse`."""
        alias = candidate.alias
        tokenizer = tokenizer_of(candidate.target.provider_type, candidate.upstream_model)
        if self.tokens is None or not tokenizer or alias.max_request is not None:
            return None
        texts = texts_of(request)
        if texts is None or purse.spent + bound_of(request, candidate, texts.least).amount > purse.budget.limit:
            return None
        count = await self.tokens.count(tokenizer, texts.parts)
        return None if count is None else bound_of(request, candidate, texts.rest + count)

    def require_database(self, funds: Funds) -> None:
        """Raises StorageUnavailable while the database is out of reach, if one of the budgets is hard."""
        if self._reach.is_lost and funds.hard:
            raise StorageUnavailable(
                "the database cannot be reached, and a hard budget is not spent without it",
                hint="budgets.on_db_loss is deny",
            )
