"""One reservation over requests, tokens and slots of key, tenant and alias, or a refusal that has consumed nothing."""

from router.domain.errors import RateLimited, StorageUnavailable
from router.domain.identity import Principal
from router.domain.limits import LimitRule, LimitScope, Refusal, Resource, held_tokens
from router.domain.ports import Ledger, Limiter, Reservation
from router.domain.requests import ModelRequest
from router.domain.routes import Alias

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


async def admit(limiter: Limiter, ledger: Ledger, principal: Principal, alias: Alias, request: ModelRequest) -> Reservation:
    """Hold what the request may use. Raises OverLimit, or StorageUnavailable while nothing can be recorded."""
    if not ledger.accepting():
        raise StorageUnavailable(
            "usage cannot be recorded at the moment; no request is sent that could not be accounted for", hint=ledger.fault
        )
    rules = principal.rules
    if not alias.limits.is_empty:
        rules = (*rules, LimitRule(LimitScope.MODEL, alias.name, alias.limits))
    choices = request.fields.n or 1
    cap = request.output_cap
    held = held_tokens(len(request.body), None if cap is None else cap * choices)
    decision = await limiter.acquire(rules, held)
    if isinstance(decision, Refusal):
        raise OverLimit(decision)
    return decision
