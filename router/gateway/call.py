"""Targets in order until one answers; nothing is retried once a frame, or a byte of a JSON answer, has come."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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
from router.domain.ledger import AttemptEntry, Outcome
from router.domain.routes import FallbackReason, Plan
from router.domain.upstream import UpstreamCall
from router.gateway.answer import Answer
from router.gateway.attempt import Attempt, Refused
from router.gateway.case import Case
from router.gateway.means import Means
from router.gateway.plan import DOES_NOT_SPEAK, NO_PRICE
from router.gateway.purses import Hold
from router.gateway.turns import Failed, Turn, Turns, turn_at
from router.gateway.window import Windows, may_exceed

_TOO_MANY = 429


class Call(msgspec.Struct, eq=False):
    """The attempts of one request: `prepare`, then `run` returns the answer.

    `do` is what is worked on: the case, or the same as if another alias had been asked for, once its budget has led there.
    `again` makes that case, None if the caller may not use the alias; it is there if `on_budget` names any.
    """

    _case: Case
    do: Case
    _means: Means
    _again: Callable[[str], Case | None] | None = None
    _turns: Turns | None = None
    _windows: Windows | None = None
    _turn: Turn | None = None
    _hold: Hold | None = None
    attempt: Attempt | None = None
    """The last one that was begun."""

    def prepare(self) -> Awaitable[None] | None:
        """Choose the first target and set its money aside; nothing is sent. What is returned, if anything, must be awaited:
        a lease is to be taken, or tokens are to be counted. Raises what refuses the request.

        Money comes before the rate limits, so that a request refused by either has consumed nothing of the other.
        """
        do, permit = self.do, self.do.permit
        if do.first is None:
            raise _nobody(do.plan)
        turn = self._turn = turn_at(do.first, permit.generation, self._means)
        if may_exceed(do.request, turn.candidate):
            return self._prepare_slowly(turn)
        if do.funds is not None:
            treasury = self._means.treasury
            if permit.is_cautious:
                treasury.require_database(do.funds)
            self._hold = treasury.at_hand(do.funds, turn.candidate, do.request)
            if self._hold is None:
                return self._prepare_slowly(turn)
        return None

    async def _prepare_slowly(self, turn: Turn) -> None:
        self._turn, self._hold = await self._covered(await self._fitting(turn))

    def _rest(self) -> Turns:
        """The turns after the first one; hardly ever asked for."""
        if self._turns is None:
            self._turns = Turns(self.do.permit.generation, self.do.plan, self.do.health, self._means)
        return self._turns

    def abandon(self) -> None:
        """The request will not be made after all: give back what `prepare` set aside."""
        if self._hold is not None:
            self._hold.cancel()

    async def run(self, now: float) -> Answer:
        """Ask targets until one answers. Raises the GatewayError of the last word when none does."""
        turn, hold, clock = self._turn, self._hold, self._means.clock
        assert turn is not None, "not prepared"
        self._means.retries.request(self.do.permit.alias.name, now)
        failed: Failed | None = None
        unsaid: UnsupportedFeature | None = None
        while True:
            try:
                self.attempt, call = self._begin(turn, hold, now)
                return await self.attempt.send(call)
            except UnsupportedFeature as refused:
                # Nothing was sent: a target that can be told the request may still answer it.
                unsaid = unsaid or refused
                coming = self._rest().past()
            except Failed as error:
                failed, unsaid = error, None
                coming = self._rest().after(turn, error, self.do.deadline - clock.monotonic())
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
            now = clock.monotonic()

    def _given_up(self, failed: Failed | None, unsaid: GatewayError | None) -> Answer:
        """Nobody is left to ask: the refusal of the request itself is its answer. Raises what else was the last word."""
        if isinstance(failed, Refused):
            return failed.answer
        if failed is None:
            assert unsaid is not None, "given up for no reason"
            raise unsaid
        raise last_word(self._case.attempts, failed) from None

    def _let_go(self) -> None:
        """The attempt that is over is written down, and what it held is free."""
        case = self._case
        self._means.treasury.journal.ended(case.id, case.attempts[-1])
        if case.hold is not None:
            case.hold.release()

    async def _fitting(self, turn: Turn) -> Turn:
        """The turn, or the next whose target is not certain to find the request too long. Raises ContextLengthExceeded."""
        first: ContextLengthExceeded | None = None
        windows = self._windows = self._windows or Windows(self._case.request, self._means.treasury.tokens)
        while (excess := await windows.excess(turn.candidate)) is not None:
            first = first or excess
            coming = self._rest().past(FallbackReason.CONTEXT_WINDOW)
            if coming is None:
                raise first
            turn = coming
        return turn

    async def _covered(self, turn: Turn) -> tuple[Turn, Hold | None]:
        """The turn with its money set aside, else the first of `on_budget` that has it. Raises what refuses the turn."""
        do, treasury = self.do, self._means.treasury
        if do.funds is None:
            return turn, None
        if do.permit.is_cautious:
            treasury.require_database(do.funds)
        try:
            return turn, await treasury.secure(do.funds, turn.candidate, do.request)
        except BudgetExceeded:
            instead = await self._instead(self._again) if self._again is not None else None
            if instead is None:
                raise
            return instead

    async def _instead(self, again: Callable[[str], Case | None]) -> tuple[Turn, Hold | None] | None:
        """The request as if it had asked for an alias of `on_budget`: under that one's budget, not under that of its own."""
        do, turns, earlier = self.do, self._rest(), self._again
        for name in do.permit.alias.fallbacks[FallbackReason.BUDGET]:
            other = again(name)
            if other is None:
                continue
            self.do, self._again = other, again if other.permit.hands_over else None
            self._turns = Turns(other.permit.generation, other.plan, other.health, self._means, made=turns.calls)
            if other.first is not None:
                with suppress(BudgetExceeded, InvalidRequest):
                    return await self._covered(turn_at(other.first, other.permit.generation, self._means))
        self.do, self._turns, self._again = do, turns, earlier
        return None

    def _begin(self, turn: Turn, hold: Hold | None, now: float) -> tuple[Attempt, UpstreamCall]:
        """The attempt, and what it is to send. Raises Failed where failing is rehearsed, and where the target cannot be told
        the request UnsupportedFeature or InvalidRequest; nothing is held then."""
        case, do, candidate, credential = self._case, self.do, turn.candidate, turn.credential
        generation, target = do.permit.generation, candidate.target
        number, started_at = len(case.attempts) + 1, case.started_at + int((now - case.started) * 1e6)
        forced = generation.snapshot.force_failover
        if forced and (target.provider in forced or candidate.alias.name in forced):
            case.attempts.append(_rehearsed(number, turn, started_at))
            if hold is not None:
                hold.cancel()
            raise Failed(Outcome.FORCED, "forced")
        provider = generation.providers[target.provider]
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
        case.hold = hold
        was_trial = self._means.health.started(target.id)
        attempt = Attempt(
            case,
            do,
            self._means,
            provider,
            candidate,
            credential,
            hold,
            translation,
            number,
            started_at,
            now,
            was_trial,
        )
        return attempt, call


def _rehearsed(number: int, turn: Turn, at: int) -> AttemptEntry:
    """An attempt that is not made, at `at` (wall-clock microseconds)."""
    candidate, label = turn.candidate, turn.credential.label if turn.credential is not None else ""
    alias, target = candidate.alias.name, candidate.target
    return AttemptEntry(
        number,
        alias,
        target.provider,
        target.id,
        candidate.upstream_model,
        label,
        Outcome.FORCED,
        started_at=at,
        duration_us=0,
        reason="forced",
    )


def _nobody(plan: Plan) -> GatewayError:
    """Why a plan has nobody to ask: the request's fault where a target would never serve it, else the moment's."""
    reasons = {e.reason for e in plan.excluded}
    told = "; ".join(f"{e.target.id}: {e.reason}" for e in plan.excluded)
    if reasons and all(DOES_NOT_SPEAK in reason for reason in reasons):
        return UnsupportedFeature(f"no target of {plan.alias.name!r} can serve this route: {told}", param="model")
    if reasons == {NO_PRICE}:
        return PriceUnknown(f"{plan.alias.name!r} has no known price, and pricing.unknown is reject", param="model")
    return NoHealthyTarget(f"no target of {plan.alias.name!r} can be asked: {told}")


def last_word(attempts: Sequence[AttemptEntry], failed: Failed) -> GatewayError:
    """What the caller is told when every attempt failed, and how each of them did."""
    notes = [AttemptNote(a.provider, a.status, a.reason, a.duration_us // 1000) for a in attempts]
    told = "; ".join(f"{n.provider}: {n.reason}" for n in notes)
    message = f"no target answered after {len(notes)} attempt{'s' if len(notes) != 1 else ''}: {told}"
    if all(a.outcome is Outcome.RATE_LIMITED or a.status == _TOO_MANY for a in attempts):
        return UpstreamRateLimited(message, retry_after_s=failed.retry_after or 1.0, attempts=notes)
    if failed.outcome is Outcome.TIMEOUT:
        return UpstreamTimeout(message, attempts=notes)
    return UpstreamError(message, attempts=notes)
