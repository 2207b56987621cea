"""The budgets' rows: money is set aside here, and nowhere else is a limit tested.

An answer can be lost on its way (a connection breaks while it commits). So a lease counts what was taken and returned in
total, this process remembers both counts as they should be, and the next call on the same lease makes up the difference.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from router.domain.budgets import Budget, Lease, Period, Standing, lease_amount
from router.domain.ledger import LedgerEntry
from router.domain.ports import Clock, Ids
from router.domain.usage import NanoUSD
from router.storage.abandoned import abandoned_entry
from router.storage.channels import WANTED
from router.storage.database import Database, Row, Transaction, despite_conflicts, to_the_end
from router.storage.postings import write_entries

MAX_ACCOUNTS = 10_000

_LOCK = {
    "sqlite": "SELECT wanted FROM budget_periods WHERE budget = $1 AND period = $2",
    "postgres": "SELECT wanted FROM budget_periods WHERE budget = $1 AND period = $2 FOR UPDATE",
}
_MAKE = "INSERT INTO budget_periods (budget, period) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_STANDING = """
    SELECT CAST(COALESCE(SUM(posted_nano), 0) AS BIGINT) AS posted, CAST(COALESCE(SUM(leased_nano), 0) AS BIGINT) AS leased
    FROM budget_periods WHERE budget = $1 AND period >= $2 AND period <= $3"""
_TAKE = """
    UPDATE budget_periods SET leased_nano = leased_nano + $3
    WHERE budget = $1 AND period = $2 AND posted_nano + leased_nano + $3 <= $4"""
_TAKE_OF_WINDOW = """
    UPDATE budget_periods SET leased_nano = leased_nano + $3
    WHERE budget = $1 AND period = $2 AND $3 <= $4 - (
        SELECT CAST(COALESCE(SUM(w.posted_nano + w.leased_nano), 0) AS BIGINT) FROM budget_periods w
        WHERE w.budget = $1 AND w.period >= $5 AND w.period <= $6)"""
_LEASE = """
    SELECT remaining_nano, taken_nano, returned_nano FROM leases
    WHERE instance = $1 AND budget = $2 AND period = $3"""
_ADD_TO_LEASE = """
    INSERT INTO leases (instance, budget, period, remaining_nano, taken_nano, taken_at, renewed_at)
    VALUES ($1, $2, $3, $4, $4, $5, $5)
    ON CONFLICT (instance, budget, period) DO UPDATE SET remaining_nano = leases.remaining_nano + excluded.remaining_nano,
        taken_nano = leases.taken_nano + excluded.taken_nano, renewed_at = excluded.renewed_at"""
_WANT = """
    UPDATE budget_periods SET wanted = wanted + 1
    WHERE budget = $1 AND period >= $2 AND period <= $3 AND leased_nano > COALESCE((
        SELECT l.remaining_nano FROM leases l
        WHERE l.instance = $4 AND l.budget = budget_periods.budget AND l.period = budget_periods.period), 0)"""
# The others hear of it when the refusal is committed. The process that asks is named: it is nothing for itself to answer.
_WANT_ALOUD = f"""
    WITH asked AS ({_WANT} RETURNING budget, period)
    SELECT pg_notify('{WANTED}', json_build_array(CAST($4 AS TEXT), budget, period)::text) FROM asked"""
_WANTED = """
    SELECT l.budget, l.period, p.wanted FROM leases l
    JOIN budget_periods p ON p.budget = l.budget AND p.period = l.period
    WHERE l.instance = $1 AND l.remaining_nano > 0 AND p.wanted > 0 ORDER BY l.budget, l.period"""
_LESS_LEASED = "UPDATE budget_periods SET leased_nano = leased_nano - $3 WHERE budget = $1 AND period = $2"
_RETURN = """
    UPDATE leases SET remaining_nano = remaining_nano - $4, returned_nano = returned_nano + $5
    WHERE instance = $1 AND budget = $2 AND period = $3"""
_RENEW = """
    UPDATE leases SET renewed_at = $4 WHERE instance = $1 AND budget = $2 AND period = $3 AND $5 >= (
        SELECT CAST(COALESCE(SUM(w.posted_nano + w.leased_nano), 0) AS BIGINT) FROM budget_periods w
        WHERE w.budget = $2 AND w.period >= $6 AND w.period <= $7)"""


_OF_INSTANCE = "SELECT 1 FROM leases l WHERE l.instance = $1 AND l.budget = p.budget AND l.period = p.period"
_LOCK_ALL_OF = {
    "sqlite": f"SELECT p.budget, p.period FROM budget_periods p WHERE EXISTS ({_OF_INSTANCE})",
    "postgres": f"""
        SELECT p.budget, p.period FROM budget_periods p WHERE EXISTS ({_OF_INSTANCE})
        ORDER BY p.budget, p.period FOR UPDATE""",
}
_LEASES_OF = "SELECT budget, period, remaining_nano FROM leases WHERE instance = $1 ORDER BY budget, period"
_END_LEASE = "DELETE FROM leases WHERE instance = $1 AND budget = $2 AND period = $3"
_END_INSTANCE = "DELETE FROM instances WHERE id = $1"

_Name = tuple[str, str]  # budget, period


@dataclass(slots=True)
class _Account:
    """What a lease of this process should say once every statement of ours has arrived, and the `wanted` already seen."""

    taken: int
    returned: int
    wanted: int


class BudgetRows:
    """Implements domain.ports.BudgetStore for the process `instance`; every method raises StorageUnavailable."""

    def __init__(self, db: Database, instance: str, clock: Clock) -> None:
        self._db = db
        self._instance = instance
        self._clock = clock
        self._accounts: dict[_Name, _Account] = {}
        self._taking: Counter[_Name] = Counter()
        self._owing: set[_Name] = set()

    async def take(self, budget: Budget, period: Period, need: int, processes: int) -> Lease | Standing:
        """See BudgetStore. The limit is tested by one conditional UPDATE, behind the lock that orders all who take.

        Run it in a task of its own, and book the answer there: when it is cancelled it goes on to its end all the same, but
        its answer is lost, and what was taken lies idle until the next take of this budget and period hands it out too.
        """
        row = budget.id, period.key
        self._taking[row] += 1
        try:
            answer = await to_the_end(despite_conflicts(lambda: self._take(budget, period, need, processes)))
        finally:
            self._taking[row] -= 1
            if not self._taking[row]:
                del self._taking[row]
        if isinstance(answer, Lease) and (account := self._accounts.get(row)) is not None:
            account.taken += answer.amount
        return answer

    async def give_back(self, budget: str, period: str, amount: int) -> None:
        """Return what this process took and did not use, at most what the lease has left.

        Take it out of the purse before the call, and never put it back: when this raises, it may have been given back all
        the same. What did not arrive is repeated by the next `give_back` or `wanted`.
        """
        row = budget, period
        self._owing.add(row)
        if (account := self._accounts.get(row)) is not None:
            account.returned += amount
        returned = await despite_conflicts(lambda: self._return(row, amount))
        account = self._accounts.get(row)
        if account is None or account.returned == returned:
            self._owing.discard(row)

    async def wanted(self) -> Sequence[_Name]:
        """Rows for which another process was refused since the last call, and of which this one holds a lease."""
        for row in tuple(self._owing):
            await self.give_back(*row, 0)
        asked = []
        for found in await self._db.all(_WANTED, self._instance):
            row = found["budget"], found["period"]
            account = self._accounts.get(row)
            if account is None or account.wanted < found["wanted"]:
                asked.append(row)
            if account is not None:
                account.wanted = found["wanted"]
        return asked

    async def standing(self, budget: Budget, period: Period) -> Standing:
        return _standing_of(await self._db.one(_STANDING, budget.id, *_window(period)))

    async def renew(self, budget: Budget, period: Period) -> bool:
        """See BudgetStore. `renewed_at` is for the operator's eyes: expiry returns nothing."""
        row, now = (self._instance, budget.id, period.key), self._clock.now_us()
        return bool(await self._db.run(_RENEW, *row, now, budget.limit, *_window(period)))

    async def settle_instance(self, instance: str) -> NanoUSD:
        """Return what remains of its leases, and forget it; how much that was.

        Only when all its journal held has been posted, and it takes no more: for a process at its own end, or for the one
        that has adopted its journal.
        """
        returned = await despite_conflicts(lambda: self._settle(instance))
        if instance == self._instance:
            self._accounts.clear()
            self._owing.clear()
        return returned

    async def abandon(self, instance: str, ids: Ids) -> list[LedgerEntry]:
        """Post what remains of its leases in full, as `recovered`, and forget it: its journal is lost. What was posted.

        A request counts in several budgets and each has a lease of its own, so the ledger then shows more than was spent.
        """
        return await despite_conflicts(lambda: self._abandon(instance, ids))

    async def _take(self, budget: Budget, period: Period, need: int, processes: int) -> Lease | Standing:
        row, window = (budget.id, period.key), _window(period)
        async with self._db.tx() as tx:
            if period.window_from:
                await self._lock(tx, (budget.id, _header(period)))
            wanted = await self._lock(tx, row)
            account, lost = await self._account(tx, row, wanted)
            standing = _standing_of(await tx.one(_STANDING, budget.id, *window))
            if lost and lost >= need:
                return Lease(NanoUSD(lost), standing)
            amount = lease_amount(need - lost, budget.limit - standing.posted - standing.leased, processes)
            of_window = window if period.window_from else ()
            update = _TAKE_OF_WINDOW if of_window else _TAKE
            if amount > budget.limit or not await tx.run(update, *row, amount, budget.limit, *of_window):
                asked = await self._want(tx, budget.id, *window)
                # Our own asking is nothing for us to answer.
                account.wanted += 0 if period.window_from else asked
                return standing
            await tx.run(_ADD_TO_LEASE, self._instance, *row, amount, self._clock.now_us())
        return Lease(NanoUSD(lost + amount), Standing(standing.posted, NanoUSD(standing.leased + amount)))

    async def _want(self, tx: Transaction, budget: str, first: str, last: str) -> int:
        """Ask those who hold a lease of these periods for what they can spare; how many rows that were."""
        if self._db.engine == "postgres":
            return len(await tx.all(_WANT_ALOUD, budget, first, last, self._instance))
        return await tx.run(_WANT, budget, first, last, self._instance)

    async def _lock(self, tx: Transaction, row: _Name) -> int:
        """Lock the row, made if it is missing; its `wanted`."""
        found = await tx.one(_LOCK[self._db.engine], *row)
        if found is None:
            await tx.run(_MAKE, *row)
            found = await tx.one(_LOCK[self._db.engine], *row)
            assert found is not None
        return int(found["wanted"])

    async def _account(self, tx: Transaction, row: _Name, wanted: int) -> tuple[_Account, int]:
        """The account of a locked row, and what earlier takes left in its lease without our learning of it.

        While another take of the row is under way, there is no telling whether its answer is lost.
        """
        lease = await tx.one(_LEASE, self._instance, *row)
        taken, returned = (0, 0) if lease is None else (lease["taken_nano"], lease["returned_nano"])
        account = self._valid(row, lease)
        if account is None:
            self._forget_the_oldest()
            account = self._accounts[row] = _Account(taken, returned, wanted)
        return account, taken - account.taken if self._taking[row] == 1 else 0

    def _valid(self, row: _Name, lease: Row | None) -> _Account | None:
        """Our account, unless its lease is gone: ended by somebody else, it owes nothing to the one that is made anew."""
        account = self._accounts.get(row)
        if account is not None and lease is None and (account.taken or account.returned):
            del self._accounts[row]
            return None
        return account

    def _forget_the_oldest(self) -> None:
        """An account that is made anew starts from what its lease says: answers lost before stay lost, nothing else."""
        if len(self._accounts) >= MAX_ACCOUNTS:
            idle = next((row for row in self._accounts if not self._taking[row] and row not in self._owing), None)
            if idle is not None:
                del self._accounts[idle]

    async def _return(self, row: _Name, amount: int) -> int:
        """Bring the lease to what its account says; the account's `returned` that has arrived."""
        async with self._db.tx() as tx:
            await self._lock(tx, row)
            lease = await tx.one(_LEASE, self._instance, *row)
            account = self._valid(row, lease)
            if lease is None:
                return 0
            owed = amount if account is None else account.returned - lease["returned_nano"]
            given = min(owed, lease["remaining_nano"])
            await tx.run(_LESS_LEASED, *row, given)
            await tx.run(_RETURN, self._instance, *row, given, owed)
            return int(lease["returned_nano"]) + owed

    async def _settle(self, instance: str) -> NanoUSD:
        async with self._db.tx() as tx:
            leases = await self._locked_leases(tx, instance)
            await tx.many(_LESS_LEASED, [(*row, remaining) for row, remaining in leases.items()])
            await self._end(tx, instance, leases)
        return NanoUSD(sum(leases.values()))

    async def _abandon(self, instance: str, ids: Ids) -> list[LedgerEntry]:
        now = self._clock.now_us()
        async with self._db.tx() as tx:
            leases = await self._locked_leases(tx, instance)
            entries = [
                await abandoned_entry(tx, row, NanoUSD(remaining), named=ids.new(), instance=instance, at=now)
                for row, remaining in leases.items()
                if remaining
            ]
            await write_entries(tx, self._db.engine, entries, instance)
            await self._end(tx, instance, leases)
        return entries

    async def _locked_leases(self, tx: Transaction, instance: str) -> dict[_Name, int]:
        """What remains of each, behind the locks of their rows."""
        locked = {(row["budget"], row["period"]) for row in await tx.all(_LOCK_ALL_OF[self._db.engine], instance)}
        leases = {(row["budget"], row["period"]): row["remaining_nano"] for row in await tx.all(_LEASES_OF, instance)}
        return {row: remaining for row, remaining in leases.items() if row in locked}

    async def _end(self, tx: Transaction, instance: str, leases: Iterable[_Name]) -> None:
        await tx.many(_END_LEASE, [(instance, *row) for row in leases])
        await tx.run(_END_INSTANCE, instance)


def _header(period: Period) -> str:
    return period.window_from.partition(" ")[0]


def _window(period: Period) -> tuple[str, str]:
    """The oldest and newest rows that count together with this one.

    Days after it count too: about midnight another process may be in the next day already, whose window this day is part of.
    """
    return (period.window_from, f"{_header(period)} 9999-12-31") if period.window_from else (period.key, period.key)


def _standing_of(row: Row | None) -> Standing:
    assert row is not None, "a sum has a row"
    return Standing(NanoUSD(row["posted"]), NanoUSD(row["leased"]))
