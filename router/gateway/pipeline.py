"""The life of one inference request, in order. Leaving the block is settlement: on success, failure and disconnect alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol

from router.domain.errors import GatewayError
from router.domain.identity import Principal
from router.domain.ports import Clock, Ids, Ledger, Limiter, Observer, Tasks
from router.domain.requests import ModelRequest
from router.domain.routes import FallbackReason, HealthView, Plan
from router.gateway.admit import admit
from router.gateway.answer import Answer
from router.gateway.attempt import Reply
from router.gateway.call import Assignment, Call
from router.gateway.generation import Generation
from router.gateway.health import Health
from router.gateway.meter import Meter
from router.gateway.plan import choose_alias, facets_of, find_alias, make_plan
from router.gateway.purses import OverBudget, Purse
from router.gateway.retries import RetryBudget
from router.gateway.settle import Caller, Case, Later, Settler
from router.gateway.treasury import Dossier, Treasury
from router.gateway.turns import Dice

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
        self.settler = Settler(world.ledger, world.observer, world.later)
        treasury.purses.release_ended = self.settler.flush
        self.dice = Dice(health, RetryBudget(world.clock), world.ids)
        self.drains = 0

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
        return Opening(self, generation, principal, request, caller, forwarded=forwarded)


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


class Opening:
    """One request between admission and settlement. `on_admitted` is told when nothing of ours is in its way any more."""

    def __init__(
        self,
        gateway: Gateway,
        generation: Generation,
        principal: Principal,
        request: ModelRequest,
        caller: Caller,
        *,
        forwarded: Mapping[str, str],
    ) -> None:
        self._gateway = gateway
        self._generation = generation
        self._principal = principal
        self._request = request
        self._caller = caller
        self._forwarded = forwarded
        self._case: Case | None = None
        self._call: Call | None = None
        self.on_admitted: Callable[[Case], None] | None = None

    @property
    def case(self) -> Case | None:
        """What was decided, None while the request is not admitted."""
        return self._case

    def purse_for(self, error: GatewayError) -> Purse | None:
        """What to tell beside an error: the purse that refused, else that of the budget nearest to its end, once known."""
        if isinstance(error, OverBudget):
            return error.purse
        nearest = None if self._call is None else self._gateway.treasury.standing(self._call.budgets)
        return nearest if nearest is not None and nearest.is_seen else None

    async def __aenter__(self) -> Answer:
        world, generation, who = self._gateway.world, self._generation, self._principal
        snapshot = generation.snapshot
        started_at, started = world.clock.now_us(), world.clock.monotonic()
        named = choose_alias(snapshot, who, self._request.api, self._request.fields.model, self._caller.tier)
        alias = named[0]
        view = self._gateway.health.view(alias, generation.reach[alias.name])
        facets = facets_of(alias, who, self._request)
        plan = make_plan(snapshot, view, named, facets, world.ids.draw())
        meter = Meter(world.clock)
        assignment = self._assignment(plan, view, started_at, started)
        call = self._call = Call(assignment, meter, self._gateway.dice, self._gateway.treasury)
        await call.prepare()
        try:
            reservation = await admit(world.limiter, world.ledger, who, alias, self._request)
        except BaseException:
            call.abandon()
            raise
        case = self._case = Case(
            id=self._caller.id,
            caller=self._caller,
            principal=who,
            request=self._request,
            plan=plan,
            health=view,
            fingerprint=snapshot.fingerprint,
            started_at=started_at,
            started=started,
            meter=meter,
            reservation=reservation,
        )
        if self.on_admitted is not None:
            self.on_admitted(case)
        try:
            reply = await call.run()
        except BaseException as error:
            self._leave(error)
            raise
        case.status = reply.status
        return _answer(case, reply, self._gateway.treasury.standing(call.budgets) if call.budgets else None)

    def _assignment(self, plan: Plan, view: HealthView, started_at: int, started: float) -> Assignment:
        snapshot, who, caller, alias = self._generation.snapshot, self._principal, self._caller, plan.alias
        total = alias.timeouts.total if alias.timeouts else snapshot.server.timeouts.total
        wanted = caller.timeout_s
        budgets = who.budgets if alias.budget is None else (*who.budgets, alias.budget)
        return Assignment(
            generation=self._generation,
            plan=plan,
            view=view,
            request=self._request,
            forwarded=self._forwarded,
            deadline=started + (total if wanted is None else min(wanted, total)),
            is_hurried=wanted is not None,
            # A request posts to the period in which it was admitted, however long it takes.
            budgets=self._gateway.treasury.purses.of(budgets, started_at) if budgets else (),
            dossier=Dossier(
                caller.id,
                caller.request_id,
                who.tenant_id,
                who.tenant,
                who.key_id,
                who.key,
                plan.requested,
                snapshot.fingerprint,
                who.member,
            ),
            again=partial(self._again, plan.draw, started_at, started) if FallbackReason.BUDGET in alias.fallbacks else None,
        )

    def _again(self, draw: float, started_at: int, started: float, name: str) -> Assignment | None:
        """The assignment as if `name` had been asked for, with the same dice; None if the caller may not use it."""
        snapshot, who = self._generation.snapshot, self._principal
        alias = find_alias(snapshot, name)
        if alias is None or not who.may_use(name):
            return None
        view = self._gateway.health.view(alias, self._generation.reach[alias.name])
        plan = make_plan(snapshot, view, (alias, name), facets_of(alias, who, self._request), draw)
        return self._assignment(plan, view, started_at, started)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        """Settle, now or, for a provider that bills an abandoned stream, when it has been read to its end."""
        case, call, gateway = self._case, self._call, self._gateway
        assert case is not None and call is not None, "left before it was entered"
        if isinstance(error, GatewayError):
            case.status, case.code = gateway.status_of(error), error.code
        if call.bills_on_cancel and gateway.drains < MAX_DRAINS:
            gateway.drains += 1
            gateway.world.tasks.spawn(self._drain(case, call), name="drain")
            return
        if isinstance(error, GatewayError):
            call.leave(error.message)
        else:
            call.leave()
        gateway.settler.settle(case)

    async def _drain(self, case: Case, call: Call) -> None:
        try:
            await call.drain()
        finally:
            self._gateway.drains -= 1
            self._gateway.settler.settle(case)


def _answer(case: Case, reply: Reply, purse: Purse | None) -> Answer:
    meter = case.meter
    return Answer(
        status=reply.status,
        content_type=reply.content_type,
        body=reply.body,
        frames=reply.frames,
        passed=reply.passed,
        provider=reply.attempt.candidate.target.provider,
        upstream_request_id=reply.attempt.upstream_request_id,
        attempts=len(meter.attempts),
        cost=meter.cost if reply.frames is None else None,
        purse=purse,
        case=case,
        dropped=reply.dropped,
    )
