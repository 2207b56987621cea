"""Targets in order until one answers; nothing is retried once a frame, or a byte of a JSON answer, has come."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import msgspec

from router.domain.errors import (
    AttemptNote,
    BudgetExceeded,
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    NoHealthyTarget,
    PriceUnknown,
    UnsupportedFeature,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
)
from router.domain.ledger import Outcome
from router.domain.routes import FallbackReason, Plan
from router.domain.upstream import TransportFailure, UpstreamCall
from router.gateway.assignment import Assignment, Means
from router.gateway.attempt import OpenAttempt, Refused, Reply
from router.gateway.meter import Attempt, Meter
from router.gateway.plan import DOES_NOT_SPEAK, NO_PRICE
from router.gateway.purses import Funds, Hold
from router.gateway.turns import Failed, Turn, Turns, first_turn
from router.gateway.window import Windows, may_exceed

DRAIN_S = 30.0
_TOO_MANY = 429


class Call(msgspec.Struct, eq=False):
    """The attempts of one request: `prepare`, then `run` returns the reply; `leave` ends what is still open."""

    _do: Assignment
    _meter: Meter
    _means: Means
    _turns: Turns | None = None
    _windows: Windows | None = None
    _turn: Turn | None = None
    _hold: Hold | None = None
    _open: OpenAttempt | None = None

    def prepare(self) -> Awaitable[None] | None:
        """Choose the first target and set its money aside; nothing is sent. What is returned, if anything, must be awaited:
        a lease is to be taken, or tokens are to be counted. Raises what refuses the request.

        Money comes before the rate limits, so that a request refused by either has consumed nothing of the other.
        """
        do = self._do
        turn = self._turn = first_turn(do.permit.generation, do.plan, self._means)
        if turn is None:
            raise _nobody(do.plan)
        if may_exceed(do.request, turn.candidate):
            return self._prepare_slowly(turn)
        if do.funds is not None:
            if do.permit.is_cautious:
                self._means.treasury.require_database(do.funds)
            self._hold = self._means.treasury.at_hand(do.funds, turn.candidate, do.request)
            if self._hold is None:
                return self._prepare_slowly(turn)
        return None

    async def _prepare_slowly(self, turn: Turn) -> None:
        self._turn, self._hold = await self._covered(await self._fitting(turn))

    def _rest(self) -> Turns:
        """The turns after the first one; hardly ever asked for."""
        if self._turns is None:
            self._turns = Turns(self._do.permit.generation, self._do.plan, self._do.view, self._means)
        return self._turns

    def abandon(self) -> None:
        """The request will not be made after all: give back what `prepare` set aside."""
        if self._hold is not None:
            self._hold.cancel()

    async def run(self) -> Reply:
        """Ask targets until one answers. Raises the GatewayError of the last word when none does."""
        turn, hold = self._turn, self._hold
        assert turn is not None, "not prepared"
        self._means.retries.request(self._do.plan.alias.name)
        failed: Failed | None = None
        unsaid: UnsupportedFeature | None = None
        while True:
            try:
                self._open, call = self._begin(turn, hold)
                return await self._open.send(call, turn.credential)
            except UnsupportedFeature as refused:
                # Nothing was sent: a target that can be told the request may still answer it.
                unsaid = unsaid or refused
                coming = self._rest().past()
            except Failed as error:
                failed, unsaid = error, None
                coming = self._rest().after(turn, error, self._left_s())
            if coming is None:
                return self._given_up(failed, unsaid)
            if unsaid is None:
                self._let_go()
            if coming.wait_s:
                await asyncio.sleep(coming.wait_s)
            try:
                turn, hold = await self._covered(await self._fitting(coming))
            except ContextLengthExceeded as error:
                return self._given_up(failed, unsaid or error)

    def _given_up(self, failed: Failed | None, unsaid: GatewayError | None) -> Reply:
        """Nobody is left to ask: the refusal of the request itself is its answer. Raises what else was the last word."""
        if isinstance(failed, Refused):
            return failed.reply
        if failed is None:
            assert unsaid is not None, "given up for no reason"
            raise unsaid
        raise last_word(self._meter.attempts, failed) from None

    def _let_go(self) -> None:
        """The attempt that is over is written down, and what it held is free."""
        over = self._meter.attempts[-1]
        self._means.treasury.journal.ended(self._do.caller.id, over.entry())
        if over.release is not None:
            over.release()

    async def _fitting(self, turn: Turn) -> Turn:
        """The turn, or the next whose target is not certain to find the request too long. Raises ContextLengthExceeded."""
        first: ContextLengthExceeded | None = None
        windows = self._windows = self._windows or Windows(self._do.request, self._means.treasury.tokens)
        while (excess := await windows.excess(turn.candidate)) is not None:
            first = first or excess
            coming = self._rest().past(FallbackReason.CONTEXT_WINDOW)
            if coming is None:
                raise first
            turn = coming
        return turn

    async def _covered(self, turn: Turn) -> tuple[Turn, Hold | None]:
        """The turn with its money set aside, else the first of `on_budget` that has it. Raises what refuses the turn."""
        do, treasury = self._do, self._means.treasury
        if do.funds is None:
            return turn, None
        if do.permit.is_cautious:
            treasury.require_database(do.funds)
        try:
            return turn, await treasury.secure(do.funds, turn.candidate, do.request)
        except BudgetExceeded:
            instead = await self._instead() if do.again is not None else None
            if instead is None:
                raise
            return instead

    async def _instead(self) -> tuple[Turn, Hold | None] | None:
        """The request as if it had asked for an alias of `on_budget`: under that one's budget, not under that of its own."""
        do, turns = self._do, self._rest()
        assert do.again is not None, "no alias to ask instead"
        for name in do.plan.alias.fallbacks[FallbackReason.BUDGET]:
            other = do.again(name)
            if other is None:
                continue
            self._do = other
            self._turns = Turns(other.permit.generation, other.plan, other.view, self._means, made=turns.calls)
            turn = first_turn(other.permit.generation, other.plan, self._means)
            if turn is not None:
                with suppress(BudgetExceeded, InvalidRequest):
                    return await self._covered(turn)
        self._do, self._turns = do, turns
        return None

    @property
    def funds(self) -> Funds | None:
        """What the attempts count against now."""
        return self._do.funds

    @property
    def is_over(self) -> bool:
        """Whether no attempt is under way."""
        return self._open is None or self._open.is_over

    def leave(self, reason: str) -> None:
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
            self.leave("the caller left")

    def _begin(self, turn: Turn, hold: Hold | None) -> tuple[OpenAttempt, UpstreamCall]:
        """The attempt, and what it is to send. Raises Failed where failing is rehearsed, and where the target cannot be told
        the request UnsupportedFeature or InvalidRequest; nothing is held then."""
        do, candidate, credential = self._do, turn.candidate, turn.credential
        generation, now = do.permit.generation, self._meter.clock.monotonic()
        label = credential.label if credential is not None else ""
        forced = generation.snapshot.force_failover
        if forced and (candidate.target.provider in forced or candidate.alias.name in forced):
            self._meter.end(self._meter.begin(candidate, label, now), Outcome.FORCED, "forced")
            if hold is not None:
                hold.cancel()
            raise Failed(Outcome.FORCED, "forced")
        provider = generation.providers[candidate.target.provider]
        timeouts = candidate.alias.timeouts or provider.spec.timeouts
        try:
            call, translation = provider.prepare(
                candidate,
                do.request,
                credential,
                forwarded=do.forwarded,
                timeouts=timeouts,
                total_s=min(do.deadline - now, timeouts.total),
                cap=hold.bound.cap if hold is not None else None,
            )
        except BaseException:
            if hold is not None:
                hold.cancel()
            raise
        bench = (self._means, do, self._meter)
        attempt = OpenAttempt(bench, candidate, provider, label, hold=hold, translation=translation, started=now)
        return attempt, call

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
    if all(a.outcome is Outcome.RATE_LIMITED or a.status == _TOO_MANY for a in attempts):
        return UpstreamRateLimited(message, retry_after_s=failed.retry_after or 1.0, attempts=notes)
    if failed.outcome is Outcome.TIMEOUT:
        return UpstreamTimeout(message, attempts=notes)
    return UpstreamError(message, attempts=notes)
