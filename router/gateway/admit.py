"""One reservation over requests, tokens and slots of key, tenant and alias, or a refusal that has consumed nothing."""

from collections.abc import Sequence

from router.domain.errors import RateLimited, StorageUnavailable
from router.domain.limits import LimitRule, LimitScope, Refusal, Resource, held_tokens
from router.domain.ports import Ledger, Limiter, Reservation
from router.domain.requests import ModelRequest

_WHOSE = {
    LimitScope.KEY: "this key",
    LimitScope.TENANT: "this tenant",
    LimitScope.MODEL: "this model",
    LimitScope.ADDRESS: "this address",
}
_WHAT = {
    Resource.REQUESTS: "{limit} requests per minute",
    Resource.TOKENS: "{limit} tokens per minute",
    Resource.PARALLEL: "{limit} requests at a time",
}


class OverLimit(RateLimited):
    """A RateLimited that still knows the refusal, for the answer's headers."""

    def __init__(self, refusal: Refusal) -> None:
        what = _WHAT[refusal.resource].format(limit=refusal.limit)
        super().__init__(
            f"the limit of {_WHOSE[refusal.scope]} is reached: {what}",
            retry_after_s=refusal.retry_after_ms / 1000,
        )
        self.refusal = refusal


def admitted(limiter: Limiter, ledger: Ledger, rules: Sequence[LimitRule], request: ModelRequest) -> Reservation | None:
    """Hold what the request may use; None where only `admit` can, which may wait. Raises OverLimit, or StorageUnavailable
    while nothing can be recorded."""
    if not ledger.accepting():
        raise StorageUnavailable(
            "usage cannot be recorded at the moment; no request is sent that could not be accounted for", hint=ledger.fault
        )
    decision = limiter.decide(rules, held_tokens(len(request.body), request.output_cap, request.fields.n))
    if isinstance(decision, Refusal):
        raise OverLimit(decision)
    return decision


async def admit(limiter: Limiter, rules: Sequence[LimitRule], request: ModelRequest) -> Reservation:
    """Hold what the request may use, as other processes agree. Raises OverLimit."""
    decision = await limiter.acquire(rules, held_tokens(len(request.body), request.output_cap, request.fields.n))
    if isinstance(decision, Refusal):
        raise OverLimit(decision)
    return decision
