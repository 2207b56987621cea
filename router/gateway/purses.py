"""Money this process has set aside, one purse for each budget and period: reserving and settling without the database.

A purse holds what was leased and not yet spent. `held` of it belongs to requests under way, the rest is free. The limit is
tested only by the database, when a lease is taken; here nothing can be overshot because nothing is given out twice.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import msgspec

from router.domain.alerts import Alert, BudgetExhausted, BudgetHolder, BudgetThreshold
from router.domain.budgets import Budget, BudgetMode, Lease, Period, Posting, Standing
from router.domain.errors import BudgetExceeded, StorageUnavailable
from router.domain.ledger import LedgerEntry
from router.domain.ports import BudgetStore, Clock, LedgerStore, Tasks
from router.domain.usage import NanoUSD, usd_text
from router.gateway.bounds import Bound
from router.gateway.instants import instant_text

Notify = Callable[[Alert], None]

LEASE_S = 3600.0
LAPSED = 0.0
"""A purse is only good until then when its limit was lowered: what is free goes back, and the new limit is asked."""

REFUSED_WAIT_S = 0.3
_REFUSED_STEP_S = 0.05
IDLE_S = 300.0
FORGOTTEN_AFTER_US = 86_400_000_000
"""How long after its period a purse is kept: longer than any request that was admitted in it."""


class OverBudget(BudgetExceeded):
    """A BudgetExceeded that still knows the purse, for the answer's headers."""

    def __init__(self, message: str, purse: "Purse") -> None:
        super().__init__(message)
        self.purse = purse


@dataclass(slots=True)
class Purse:
    """`leased` is taken and unspent, `held` the part of it that requests under way may spend. `standing` is the database's
    row as last seen, if `is_seen`; `spent_since` what this process has settled after it. `good_until` is on a clock that
    counts sleep; `refused` is what the database last refused, at `refused_at` of the loop's time."""

    budget: Budget
    period: Period
    notify: Notify
    leased: int = 0
    held: int = 0
    standing: Standing = field(default_factory=lambda: Standing(NanoUSD(0), NanoUSD(0)))
    spent_since: int = 0
    unflushed: int = 0
    good_until: float = 0.0
    used_at: float = 0.0
    is_seen: bool = False
    is_warned: bool = False
    refused_at: float = 0.0
    refused: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_hard: bool = field(init=False)
    posting: Posting = field(init=False)
    """Where what is spent from it is posted."""
    limit_text: str = field(init=False)
    reset_text: str = field(init=False)
    """When its period ends, as callers read it; "" where it does not."""
    warns_at: int = field(init=False)
    """Nano-USD spent at which its holder is warned."""

    def __post_init__(self) -> None:
        self.obey(self.budget)

    def obey(self, budget: Budget) -> None:
        """Go by the budget as it is written now."""
        self.budget = budget
        self.is_hard = budget.terms.mode is BudgetMode.HARD
        self.posting = Posting(budget.id, self.period.key, self.is_hard)
        self.limit_text = usd_text(budget.limit)
        ends = self.period.ends_at
        self.reset_text = "" if ends is None else instant_text(ends)
        self.warns_at = -(-budget.limit * budget.terms.warning_ppm // 1_000_000)

    @property
    def free(self) -> int:
        return self.leased - self.held

    @property
    def spent(self) -> NanoUSD:
        """Spent in this period as far as this process knows: posted, and its own that is not posted yet."""
        return NanoUSD(self.standing.posted + self.spent_since)

    def warn(self) -> None:
        """Its spending is past the warning threshold: say so, once."""
        if not self.is_warned:
            self.is_warned = True
            limit, spent = self.budget.limit, self.spent
            percent = spent * 100 // limit if limit else 100
            self.notify(BudgetThreshold(self._holder(), limit, spent, percent, self.period.ends_at))

    def refusal(self, amount: int) -> OverBudget:
        """402: which budget, its limit, what is spent, when it resets."""
        budget = self.budget
        resets = f"it resets at {self.reset_text}" if self.reset_text else "it does not reset"
        return OverBudget(
            f"the {budget.terms.schedule} budget of this {budget.scope.value} has no room for a request that may cost "
            f"{usd_text(NanoUSD(amount))} USD: limit {usd_text(budget.limit)} USD, "
            f"spent {usd_text(self.spent)} USD; {resets}",
            self,
        )

    def tell_refused(self) -> None:
        """Whoever wants alerts is told when it is all but used up; that one large request found no room is no news."""
        budget = self.budget
        if (budget.limit - self.spent) * 20 < budget.limit:
            self.notify(BudgetExhausted(self._holder(), budget.limit, self.spent, self.period.ends_at, budget.terms.mode))

    def _holder(self) -> BudgetHolder:
        budget = self.budget
        return BudgetHolder(budget.scope, budget.subject, budget.name, budget.tenant_id, budget.tenant)

    def saw(self, standing: Standing) -> None:
        self.standing, self.is_seen = standing, True
        self.spent_since = self.unflushed


class Funds:
    """What one request counts against: a purse for each budget, in the period in which it was admitted. `postings` is where
    its cost is posted. Made once for many requests: `serves` says for which."""

    __slots__ = ("hard", "postings", "purses", "since", "soft", "until")

    def __init__(self, purses: Sequence[Purse], since: int, until: float) -> None:
        self.purses = tuple(purses)
        self.since = since
        self.until = until
        self.hard = tuple([p for p in purses if p.is_hard])
        self.soft = tuple([p for p in purses if not p.is_hard])
        self.postings = tuple([p.posting for p in self.hard + self.soft])

    @property
    def nearest(self) -> Purse | None:
        """The purse of the budget that is nearest to its end, None where no budget applies."""
        nearest, least = None, 0.0
        for purse in self.purses:
            limit = purse.budget.limit
            left = (limit - purse.standing.posted - purse.spent_since) / (limit or 1)
            if nearest is None or left < least:
                nearest, least = purse, left
        return nearest


class Hold(msgspec.Struct, eq=False, gc=False):
    """What one attempt has set aside in every budget it counts against: settled when it has ended, released when the journal
    has its end. Until then the death of the process would charge it by what it held, and nobody else may have that."""

    funds: Funds
    bound: Bound
    cost: NanoUSD | None = None
    is_released: bool = False

    def settle(self, cost: NanoUSD) -> None:
        """Count what it has cost in each of its purses; the first time counts."""
        if self.cost is not None:
            return
        self.cost = cost
        for purse in self.funds.purses:
            purse.unflushed += cost
            spent = purse.spent_since = purse.spent_since + cost
            if purse.standing.posted + spent >= purse.warns_at:
                purse.warn()

    def release(self) -> None:
        """Replace what was held by what it has cost. A cost above the hold is spent in full; it cannot be undone."""
        if self.is_released or self.cost is None:
            return
        self.is_released = True
        amount, cost = self.bound.amount, self.cost
        for purse in self.funds.hard:
            purse.held -= amount
            purse.leased = purse.leased - cost if purse.leased > cost else 0

    def cancel(self) -> None:
        """Nothing was sent, and nothing is in the journal."""
        self.settle(NanoUSD(0))
        self.release()


class Purses:
    """All purses of this process.

    `boottime` is seconds on a clock that goes on while the machine sleeps: what a lease's age is measured by, from before
    its query. `processes` is how many live processes share the budgets. `release_ended` is called when money is lacking:
    what has ended and waits to be recorded may hold some.
    """

    def __init__(
        self,
        store: BudgetStore,
        clock: Clock,
        tasks: Tasks,
        *,
        boottime: Callable[[], float],
        processes: Callable[[], int],
        notify: Notify,
    ) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._boottime = boottime
        self._processes = processes
        self._notify = notify
        self._purses: dict[tuple[str, str], Purse] = {}
        self.release_ended: Callable[[], None] = _nothing

    def of(self, budgets: Sequence[Budget], at_us: int) -> Funds:
        """The purse of each, for what is admitted at `at_us` and until the first of their periods is over."""
        purses = [self.purse(budget, budget.period_at(at_us)) for budget in budgets]
        ends = [purse.period.ends_at for purse in purses if purse.period.ends_at is not None]
        return Funds(purses, at_us, min(ends, default=inf))

    def take(self, funds: Funds, bound: Bound) -> Hold | None:
        """Set the bound aside in every hard budget; None, and nothing is, where a lease must be taken first. Soft budgets
        are only noted."""
        now, amount = self._boottime(), bound.amount
        for purse in funds.hard:
            if purse.leased - purse.held < amount or purse.good_until <= now:
                return None
        for purse in funds.hard:
            purse.held += amount
            purse.used_at = now
        return Hold(funds, bound)

    async def hold(self, funds: Funds, bound: Bound) -> Hold:
        """`take`, with the leases that it needs. Raises BudgetExceeded, StorageUnavailable; then nothing is set aside."""
        while (hold := self.take(funds, bound)) is None:
            self.release_ended()
            now, amount = self._boottime(), bound.amount
            for purse in funds.hard:
                if purse.free < amount or purse.good_until <= now:
                    await self._fill(purse, amount)
        return hold

    def holds(self, budget: str, period: str) -> bool:
        """Whether anything is free that could be given back."""
        return (purse := self._purses.get((budget, period))) is not None and purse.free > 0

    def purse(self, budget: Budget, period: Period) -> Purse:
        """The purse of a budget, empty if nothing was ever taken."""
        name = (budget.id, period.key)
        purse = self._purses.get(name)
        if purse is None:
            purse = self._purses[name] = Purse(budget, period, self._notify, used_at=self._boottime())
        elif purse.budget is not budget:
            if budget.limit < purse.budget.limit:
                purse.good_until = LAPSED
            purse.obey(budget)
        return purse

    def flushed(self, budget: str, period: str, cost: int) -> None:
        """So much of what was settled here has been posted in the database."""
        purse = self._purses.get((budget, period))
        if purse is not None:
            purse.unflushed -= cost

    async def refresh(self, *, is_alone: bool) -> None:
        """See where the budgets stand that are known here: other processes spend too. Raises StorageUnavailable.

        `is_alone`: there is none, so it is enough to have seen each once: a soft budget takes no lease that would tell.
        """
        for purse in [p for p in self._purses.values() if not (is_alone and p.is_seen)]:
            unflushed = purse.unflushed
            standing = await self._store.standing(purse.budget, purse.period)
            purse.saw(standing)
            purse.spent_since = max(purse.unflushed, unflushed)

    async def tidy(self) -> None:
        """Give back what has long been idle or belongs to a period that is over. Raises StorageUnavailable."""
        now, now_us = self._boottime(), self._clock.now_us()
        for name, purse in list(self._purses.items()):
            over_us = 0 if purse.period.ends_at is None else now_us - purse.period.ends_at
            if over_us > 0 or now - purse.used_at > IDLE_S:
                await self._give_back(purse)
            if over_us > FORGOTTEN_AFTER_US and not purse.leased and not purse.unflushed:
                del self._purses[name]

    async def renew(self) -> None:
        """Renew the leases that hold something and are past half of their life. Raises StorageUnavailable.

        One that its budget does not admit any more, or whose row is gone, has lapsed: what is free goes back, and the
        database is asked before anything more is reserved.
        """
        for purse in list(self._purses.values()):
            now = self._boottime()
            if not purse.leased or purse.good_until <= now or purse.good_until - now > LEASE_S / 2:
                continue
            is_admitted = await self._store.renew(purse.budget, purse.period)
            if purse.good_until != LAPSED:
                purse.good_until = now + LEASE_S if is_admitted else LAPSED

    async def give_to_others(self) -> None:
        """Give back what is free of every budget that somebody else was refused for. Raises StorageUnavailable."""
        for name in await self._store.wanted():
            if (purse := self._purses.get(name)) is not None:
                await self._give_back(purse)

    async def close(self) -> None:
        """Give back everything that is free: this process ends. Raises StorageUnavailable."""
        for purse in self._purses.values():
            await self._give_back(purse)

    async def _fill(self, purse: Purse, amount: int) -> None:
        """Take a lease so that `amount` is free, one taker at a time. Raises BudgetExceeded after the wait for others.

        Who waited for its turn behind a refusal is refused with it: one wait a purse, however many ask.
        """
        time = asyncio.get_running_loop().time
        asked_at = time()
        async with purse.turn:
            while True:
                now = self._boottime()
                if purse.free >= amount and purse.good_until > now:
                    return
                if purse.good_until == LAPSED:
                    await self._give_back(purse)
                if asked_at <= purse.refused_at and amount >= purse.refused:
                    raise purse.refusal(amount)
                answer = await self._take(purse, max(amount - purse.free, 0), now)
                if isinstance(answer, Lease):
                    continue
                if answer.leased <= purse.leased or time() - asked_at >= REFUSED_WAIT_S:
                    purse.refused_at, purse.refused = time(), amount
                    raise purse.refusal(amount)
                await asyncio.sleep(_REFUSED_STEP_S)

    async def _take(self, purse: Purse, need: int, asked_at: float) -> Lease | Standing:
        """The caller may be cancelled meanwhile; what the database gave must be booked all the same."""
        answered: asyncio.Future[Lease | Standing] = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._take_and_book(purse, need, asked_at, answered), name="budget lease")
        return await asyncio.shield(answered)

    async def _take_and_book(
        self, purse: Purse, need: int, asked_at: float, answered: "asyncio.Future[Lease | Standing]"
    ) -> None:
        budget = purse.budget
        try:
            answer = await self._store.take(budget, purse.period, need, self._processes())
        except BaseException as error:
            if not answered.done():
                answered.set_exception(error if isinstance(error, Exception) else StorageUnavailable("routerd is stopping"))
                answered.exception()
            if isinstance(error, StorageUnavailable):
                return
            raise
        if isinstance(answer, Lease):
            purse.leased += answer.amount
            # A limit that was lowered meanwhile was not the one the database tested.
            purse.good_until = LAPSED if purse.budget.limit < budget.limit else asked_at + LEASE_S
            purse.saw(answer.standing)
        else:
            purse.saw(answer)
        if not answered.done():
            answered.set_result(answer)

    async def _give_back(self, purse: Purse) -> None:
        """Out of the purse first and never back: when the call fails, the money may have been returned all the same."""
        free = purse.free
        if free > 0:
            purse.leased -= free
            await self._store.give_back(purse.budget.id, purse.period.key, free)


def _nothing() -> None:
    """Nobody waits."""


class PostedLedger:
    """Implements domain.ports.LedgerStore around another: what it has written counts as posted in the purses."""

    def __init__(self, store: LedgerStore, purses: Purses) -> None:
        self._store = store
        self._purses = purses

    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        await self._store.write_requests(entries)
        posted: dict[Posting, int] = {}
        for entry in entries:
            for attempt in entry.attempts:
                for posting in attempt.postings:
                    posted[posting] = posted.get(posting, 0) + attempt.cost
        for posting, cost in posted.items():
            self._purses.flushed(posting.budget, posting.period, cost)
