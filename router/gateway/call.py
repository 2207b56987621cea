"""Targets in order until one answers; nothing is retried once a frame, or a byte of a JSON answer, has come."""

import asyncio
from collections.abc import Mapping

import msgspec

from router.domain.errors import (
    AttemptNote,
    GatewayError,
    NoHealthyTarget,
    PriceUnknown,
    UnsupportedFeature,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
)
from router.domain.ledger import Outcome
from router.domain.requests import ModelRequest
from router.domain.routes import HealthView, Plan
from router.domain.upstream import TransportFailure
from router.gateway.attempt import OpenAttempt, Reply
from router.gateway.generation import Generation
from router.gateway.meter import Attempt, Meter
from router.gateway.plan import DOES_NOT_SPEAK, NO_PRICE
from router.gateway.turns import Dice, Failed, Turn, Turns

DRAIN_S = 30.0


class Assignment(msgspec.Struct, frozen=True):
    """What one call works on: frozen, so that every attempt starts from the same. `deadline` is monotonic seconds.

    `is_hurried`: the caller itself shortened it, so running out of it is nobody's illness.
    """

    generation: Generation
    plan: Plan
    view: HealthView
    request: ModelRequest
    forwarded: Mapping[str, str]
    deadline: float
    is_hurried: bool = False


class Call:
    """The attempts of one request. `run` returns the reply; `leave` ends what is still open."""

    def __init__(self, assignment: Assignment, meter: Meter, dice: Dice) -> None:
        self._do = assignment
        self._meter = meter
        self._dice = dice
        self._open: OpenAttempt | None = None

    async def run(self) -> Reply:
        """Ask targets until one answers. Raises the GatewayError of the last word when none does."""
        do = self._do
        self._dice.budget.request(do.plan.alias.name)
        turns = Turns(do.generation, do.plan, do.view, self._dice)
        turn = turns.first()
        if turn is None:
            raise _nobody(do.plan)
        while True:
            if turn.wait_s:
                await asyncio.sleep(turn.wait_s)
            try:
                return await self._take(turn)
            except Failed as failed:
                coming = turns.after(turn, failed, self._left_s())
                if coming is None:
                    raise last_word(self._meter.attempts, failed) from None
                turn = coming

    def leave(self, reason: str = "the caller left") -> None:
        """Meter an attempt that did not end and let go of its connection. Never raises, never waits."""
        if self._open is not None:
            self._open.leave(reason)

    @property
    def bills_on_cancel(self) -> bool:
        return self._open is not None and self._open.bills_on_cancel

    async def drain(self) -> None:
        """Read an abandoned stream to its end, bounded, then leave."""
        try:
            async with asyncio.timeout(DRAIN_S):
                if self._open is not None:
                    await self._open.drain()
        except (TransportFailure, TimeoutError):
            return
        finally:
            self.leave()

    async def _take(self, turn: Turn) -> Reply:
        do, candidate, credential = self._do, turn.candidate, turn.credential
        label = credential.label if credential is not None else ""
        forced = do.generation.snapshot.force_failover
        if forced and (candidate.target.provider in forced or candidate.alias.name in forced):
            self._meter.end(self._meter.begin(candidate, label), Outcome.FORCED, "forced")
            raise Failed(Outcome.FORCED, "forced")
        provider = do.generation.providers[candidate.target.provider]
        timeouts = candidate.alias.timeouts or provider.spec.timeouts
        call = provider.prepare(
            do.request.api,
            candidate,
            do.request,
            credential,
            forwarded=do.forwarded,
            timeouts=timeouts,
            total_s=min(self._left_s(), timeouts.total),
        )
        self._open = OpenAttempt(
            do.request,
            candidate,
            provider,
            meter=self._meter,
            health=self._dice.health,
            credential=label,
            is_hurried=do.is_hurried,
        )
        return await self._open.send(call, credential)

    def _left_s(self) -> float:
        return self._do.deadline - self._meter.clock.monotonic()


def _nobody(plan: Plan) -> GatewayError:
    """Why a plan has nobody to ask: the request's fault where a target would never serve it, else the moment's."""
    reasons = {e.reason for e in plan.excluded}
    told = "; ".join(f"{e.target.id}: {e.reason}" for e in plan.excluded)
    if reasons and all(DOES_NOT_SPEAK in reason for reason in reasons):
        return UnsupportedFeature(f"no target of {plan.alias.name!r} can serve this route: {told}", param="model")
    if reasons == {NO_PRICE}:
        return PriceUnknown(f"{plan.alias.name!r} has no known price, and pricing.unknown is reject", param="model")
    return NoHealthyTarget(f"no target of {plan.alias.name!r} can be asked: {told}")


def last_word(attempts: list[Attempt], failed: Failed) -> GatewayError:
    """What the caller is told when every attempt failed, and how each of them did."""
    notes = [AttemptNote(a.candidate.target.provider, a.status, a.reason, a.duration_us // 1000) for a in attempts]
    told = "; ".join(f"{n.provider}: {n.reason}" for n in notes)
    message = f"no target answered after {len(notes)} attempt{'s' if len(notes) != 1 else ''}: {told}"
    if all(a.outcome is Outcome.RATE_LIMITED for a in attempts):
        return UpstreamRateLimited(message, retry_after_s=failed.retry_after or 1.0, attempts=notes)
    if failed.outcome is Outcome.TIMEOUT:
        return UpstreamTimeout(message, attempts=notes)
    return UpstreamError(message, attempts=notes)
