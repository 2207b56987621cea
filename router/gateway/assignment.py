"""What one call works on, and what all calls share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from router.domain.identity import Principal
from router.domain.ledger import AttemptTerms, OpenedAttempt, encoded_terms
from router.domain.ports import Ids
from router.domain.requests import API_NAMES, ModelRequest
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
        caller, request = self.caller, self.request
        # In the order of its fields: their names would cost more than all the rest.
        return OpenedAttempt(
            caller.id,
            attempt.number,
            attempt.started_at,
            caller.request_id,
            request.stream,
            attempt.held,
            max(1, len(request.body) // 4),
            self._terms(attempt),
        )

    def _terms(self, attempt: Attempt) -> Raw:
        candidate, known = attempt.candidate, self.permit.terms
        name = (candidate.alias.name, candidate.target.id, candidate.upstream_model, attempt.credential)
        found = known.get(name)
        # Funds bring the same tuple until their period ends.
        if found is None or found[0] is not attempt.postings:
            found = known[name] = (attempt.postings, encoded_terms(self._stated(attempt)))
        return found[1]

    def _stated(self, attempt: Attempt) -> AttemptTerms:
        candidate, who = attempt.candidate, self.principal
        target, price = candidate.target, candidate.target.price
        return AttemptTerms(
            tenant_id=who.tenant_id,
            tenant=who.tenant,
            key_id=who.key_id,
            key=who.key,
            member=who.member,
            api=API_NAMES[self.request.api],
            alias=candidate.alias.name,
            requested_model=self.plan.requested,
            provider=target.provider,
            target=target.id,
            upstream_model=candidate.upstream_model,
            credential=attempt.credential,
            fingerprint=self.permit.generation.snapshot.fingerprint,
            price_input=price.input if price is not None else 0,
            price_output=price.output if price is not None else 0,
            price_known=price is not None,
            postings=attempt.postings,
        )
