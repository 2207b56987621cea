"""One request, from what it was decided on to what has become of it."""

from collections.abc import Mapping

import msgspec

from router.domain.identity import Principal
from router.domain.ledger import AttemptEntry, Outcome
from router.domain.limits import UNLIMITED, Allowance
from router.domain.ports import Reservation
from router.domain.requests import ModelRequest
from router.domain.routes import Candidate, HealthView, Plan
from router.domain.usage import NanoUSD, Usage, usage_sum
from router.gateway.permit import Permit
from router.gateway.plan import plan_of
from router.gateway.purses import Funds, Hold

CALLER_LEFT = 499


class Caller(msgspec.Struct, frozen=True, gc=False):
    """What the caller said about itself in headers; kept in the ledger, never a metric label.

    `id` is ours and unique; `request_id` is the caller's own where it sent one, else the same.
    """

    id: str
    request_id: str
    timeout_s: float | None = None
    tier: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class _Unreserved:
    """What a request holds of its limits before it is admitted: nothing."""

    allowance: Allowance = UNLIMITED

    def settle(self, tokens: int) -> None:
        """There is nothing to give back."""


_UNRESERVED = _Unreserved()


class Case(msgspec.Struct, eq=False, gc=False):
    """One request: what it was decided on, and what has become of it. `deadline` is monotonic seconds.

    `first` is whom to ask first, None if there is nobody. `attempts` are those that have ended, `hold` the money of the last
    one. `funds` is what they count against, None where no budget applies. `status` is what the caller was answered, 499
    while it was answered nothing.

    Nothing that it holds may lead back to it: the garbage collector does not look into it.
    """

    id: str
    caller: Caller
    principal: Principal
    request: ModelRequest
    forwarded: Mapping[str, str]
    permit: Permit
    health: HealthView
    affinity: str
    draw: float
    first: Candidate | None
    started_at: int
    started: float
    deadline: float
    funds: Funds | None
    attempts: list[AttemptEntry]
    reservation: Reservation = _UNRESERVED
    hold: Hold | None = None
    status: int = CALLER_LEFT
    code: str = ""
    duration_us: int = 0

    @property
    def plan(self) -> Plan:
        """Made anew from what it is determined by, each time it is asked for: mostly `first` answers, and nobody asks."""
        return plan_of(self.permit.survey, self.health, self.affinity, self.draw)

    @property
    def outcome(self) -> Outcome:
        return self.attempts[-1].outcome if self.attempts else Outcome.NO_TARGET

    @property
    def cost(self) -> NanoUSD:
        attempts = self.attempts
        return attempts[0].cost if len(attempts) == 1 else NanoUSD(sum(a.cost for a in attempts))

    @property
    def usage(self) -> Usage:
        """The sum over all attempts; `estimated` and `suspect` if any was."""
        attempts = self.attempts
        return attempts[0].usage if len(attempts) == 1 else usage_sum([a.usage for a in attempts])
