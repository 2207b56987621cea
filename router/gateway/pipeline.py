"""The life of one inference request, in order. Leaving the block is settlement: on success, failure and disconnect alike."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol

import msgspec

from router.domain.errors import CutOff, GatewayError
from router.domain.identity import Principal
from router.domain.ledger import AttemptEntry
from router.domain.ports import Clock, Ids, Ledger, Limiter, Observer, Tasks
from router.domain.requests import ModelRequest
from router.gateway.admit import admit, admitted
from router.gateway.answer import Answer
from router.gateway.attempt import Attempt
from router.gateway.call import Call
from router.gateway.case import Caller, Case
from router.gateway.generation import Generation
from router.gateway.health import Health
from router.gateway.means import Means
from router.gateway.permit import Permit, permit_for
from router.gateway.plan import affinity_key, find_alias, first_of
from router.gateway.purses import OverBudget, Purse
from router.gateway.retries import RetryBudget
from router.gateway.settle import Later, Settler
from router.gateway.treasury import Treasury

MAX_DRAINS = 64


@dataclass(frozen=True, slots=True)
class World:
    """The ports the gateway works with; one set for the whole process."""

    clock: Clock
    ids: Ids
    limiter: Limiter
    ledger: Ledger
    observer: Observer
    tasks: Tasks
    later: Later


class Gateway:
    """Opens requests. Holds what is learnt between them (health, retry budgets) and nothing of any one of them."""

    def __init__(self, world: World, health: Health, treasury: Treasury, status_of: Callable[[GatewayError], int]) -> None:
        """`status_of`: the edge's table, so that the ledger can say what the caller was answered."""
        self.world = world
        self.health = health
        self.treasury = treasury
        self.status_of = status_of
        self.settler = Settler(world.clock, world.ledger, world.observer, world.later)
        treasury.purses.release_ended = self.settler.flush
        self.means = Means(world.clock, world.ids, health, RetryBudget(world.clock), treasury)
        self.drains = 0
        self.is_cutting = False
        """Whether requests that are cancelled are so because the daemon's drain time is over."""

    def open(
        self,
        generation: Generation,
        principal: Principal,
        request: ModelRequest,
        caller: Caller,
        *,
        forwarded: Mapping[str, str],
    ) -> "Opening":
        """`async with gateway.open(...) as answer:` yields the Answer or raises a GatewayError; leaving settles."""
        return Opening(self, generation, principal, request, caller, forwarded)


class Opened(Protocol):
    """A request as its handler sees it: `async with` yields the Answer or raises a GatewayError; leaving ends it."""

    @property
    def case(self) -> Case | None: ...

    def purse_for(self, error: GatewayError) -> Purse | None: ...

    async def __aenter__(self) -> Answer: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Open(Protocol):
    """What opens a request: Gateway.open, and whatever stands before it."""

    def __call__(
        self,
        generation: Generation,
        principal: Principal,
        request: ModelRequest,
        caller: Caller,
        *,
        forwarded: Mapping[str, str],
    ) -> Opened: ...


class Opening(msgspec.Struct, eq=False):
    """One request between admission and settlement. `on_admitted` is told when nothing of ours is in its way any more."""

    _gateway: Gateway
    _generation: Generation
    _principal: Principal
    _request: ModelRequest
    _caller: Caller
    _forwarded: Mapping[str, str]
    case: Case | None = None
    """What was decided, None while the request is not admitted."""
    _call: Call | None = None
    on_admitted: Callable[[Case], None] | None = None

    def purse_for(self, error: GatewayError) -> Purse | None:
        """What to tell beside an error: the purse that refused, else that of the budget nearest to its end, once known."""
        if isinstance(error, OverBudget):
            return error.purse
        funds = None if self._call is None else self._call.do.funds
        nearest = None if funds is None else funds.nearest
        return nearest if nearest is not None and nearest.is_seen else None

    async def __aenter__(self) -> Answer:
        gateway, who, caller, request = self._gateway, self._principal, self._caller, self._request
        world = gateway.world
        clock = world.clock
        started_at, started = clock.now_us(), clock.monotonic()
        permit = permit_for(self._generation, who, request.api, request.fields.model, caller.tier)
        case = self._case_under(permit, world.ids.draw(), started_at, started, [])
        again = partial(self._again, case) if permit.hands_over else None
        call = self._call = Call(case, case, gateway.means, again)
        if (waiting := call.prepare()) is not None:
            await waiting
            started = clock.monotonic()
        try:
            reservation = admitted(world.limiter, world.ledger, permit.rules, request)
            if reservation is None:
                reservation = await admit(world.limiter, permit.rules, request)
                started = clock.monotonic()
        except BaseException:
            call.abandon()
            raise
        case.reservation = reservation
        self.case = case
        if self.on_admitted is not None:
            self.on_admitted(case)
        try:
            answer = await call.run(started)
        except asyncio.CancelledError as cancelled:
            error = CutOff() if gateway.is_cutting else cancelled
            self._leave(error)
            raise error from None
        except BaseException as error:
            self._leave(error)
            raise
        case.status = answer.status
        return answer

    def _case_under(
        self, permit: Permit, draw: float, started_at: int, started: float, attempts: list[AttemptEntry]
    ) -> Case:
        gateway, who, caller, request, alias = self._gateway, self._principal, self._caller, self._request, permit.alias
        view = gateway.health.view(alias, self._generation.reach[alias.name])
        affinity = affinity_key(alias, who, request)
        wanted, total = caller.timeout_s, permit.total_s
        # In the order of its fields: their names would cost more than all the rest.
        return Case(
            caller.id,
            caller,
            who,
            request,
            self._forwarded,
            permit,
            view,
            affinity,
            draw,
            first_of(permit.survey, view, affinity, draw),
            started_at,
            started,
            started + (total if wanted is None or wanted > total else wanted),
            permit.funds(gateway.treasury.purses, started_at),
            attempts,
        )

    def _again(self, case: Case, name: str) -> Case | None:
        """The case as if `name` had been asked for, with the same dice; None if the caller may not use it."""
        generation, who = self._generation, self._principal
        if not who.may_use(name) or find_alias(generation.snapshot, name) is None:
            return None
        permit = permit_for(generation, who, self._request.api, name, None)
        return self._case_under(permit, case.draw, case.started_at, case.started, case.attempts)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        """Settle, now or, for a provider that bills an abandoned stream, when it has been read to its end."""
        case, call, gateway = self.case, self._call, self._gateway
        assert case is not None and call is not None, "left before it was entered"
        if isinstance(error, GatewayError):
            case.status, case.code = gateway.status_of(error), error.code
        attempt = call.attempt
        if attempt is None or attempt.is_over:
            gateway.settler.settle(case)
        elif attempt.bills_on_cancel and gateway.drains < MAX_DRAINS:
            gateway.drains += 1
            gateway.world.tasks.spawn(self._drain(case, attempt), name="drain")
        else:
            try:
                attempt.leave(error.message if isinstance(error, GatewayError) else "the caller left")
            finally:
                gateway.settler.settle(case)

    async def _drain(self, case: Case, attempt: Attempt) -> None:
        try:
            await attempt.drain()
        finally:
            self._gateway.drains -= 1
            self._gateway.settler.settle(case)
