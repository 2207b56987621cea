"""What one call works on, and what all calls share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from router.domain.identity import Principal
from router.domain.ledger import OpenedAttempt
from router.domain.ports import Ids
from router.domain.requests import ModelRequest
from router.domain.routes import HealthView, Plan
from router.gateway.health import Health
from router.gateway.meter import Attempt
from router.gateway.permit import Permit
from router.gateway.purses import Funds
from router.gateway.retries import RetryBudget
from router.gateway.settle import Caller
from router.gateway.treasury import Treasury


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are made with; one set for the whole process."""

    health: Health
    retries: RetryBudget
    ids: Ids
    treasury: Treasury


class Assignment(msgspec.Struct, frozen=True):
    """What one call works on: frozen, so that every attempt starts from the same. `deadline` is monotonic seconds.

    `is_hurried`: the caller itself shortened it, so running out of it is nobody's illness. `again` makes the assignment anew
    for another alias, None if the caller may not use it; it is there if `on_budget` names any.
    """

    permit: Permit
    plan: Plan
    view: HealthView
    principal: Principal
    caller: Caller
    request: ModelRequest
    forwarded: Mapping[str, str]
    deadline: float
    is_hurried: bool
    funds: Funds | None
    again: "Callable[[str], Assignment | None] | None" = None

    def opening(self, attempt: Attempt) -> OpenedAttempt:
        """The line to write before `attempt` is sent."""
        candidate, caller, who, request = attempt.candidate, self.caller, self.principal, self.request
        price = candidate.target.price
        # In the order of its fields: their names would cost more than all the rest.
        return OpenedAttempt(
            caller.id,
            attempt.number,
            attempt.started_at,
            caller.request_id,
            who.tenant_id,
            who.tenant,
            who.key_id,
            who.key,
            request.api.value,
            candidate.alias.name,
            self.plan.requested,
            request.stream,
            candidate.target.provider,
            candidate.target.id,
            candidate.upstream_model,
            attempt.credential,
            self.permit.generation.snapshot.fingerprint,
            attempt.held,
            max(1, len(request.body) // 4),
            price.input if price is not None else 0,
            price.output if price is not None else 0,
            price is not None,
            attempt.postings,
            who.member,
        )
