"""Many replicas at one small budget on PostgreSQL: whoever comes first, together they never hold more than it has."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from router.domain.budgets import Budget, BudgetScope, Lease, Posting, period_at
from router.domain.usage import NanoUSD
from router.storage.audit import audit
from router.storage.budgets import BudgetRows
from router.storage.database import Database
from router.storage.migrate import migrate
from router.storage.postgres import PostgresDatabase
from router.storage.usage import UsageTables
from tests.contracts.processes import StillClock
from tests.contracts.test_budgets_posting import charged
from tests.stores import NOW

DAY_US = 86_400_000_000
BUDGET = Budget(BudgetScope.TENANT, "t1", NanoUSD(1_000))


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[list[Database]]:
    """Two pools on one database."""
    opened: list[Database] = [await PostgresDatabase.open(postgres_url, pool_size=8) for _ in range(2)]
    await migrate(opened[0], NOW)
    yield opened
    for db in opened:
        await db.close()


@pytest.mark.parametrize("schedule", ["calendar_month", "rolling_7d"])
async def test_two_hundred_takes_at_a_budget_for_ten_get_ten(replicas: list[Database], schedule: str) -> None:
    """In a rolling window every second take is of the next day, another row: only the header orders them."""
    stores = [BudgetRows(db, name, StillClock()) for db, name in zip(replicas, "ab", strict=True)]
    periods = [period_at(schedule, "UTC", NOW), period_at(schedule, "UTC", NOW + (DAY_US if "rolling" in schedule else 0))]

    async def take(number: int) -> int:
        answer = await stores[number % 2].take(BUDGET, periods[number // 2 % 2], 100, 2)
        return answer.amount if isinstance(answer, Lease) else 0

    taken = await asyncio.gather(*(take(number) for number in range(200)))
    assert Counter(taken) == {100: 10, 0: 190}
    last = await stores[0].standing(BUDGET, periods[1])
    assert (last.posted, last.leased) == (0, 1_000)


async def test_taking_spending_and_returning_at_once_neither_deadlocks_nor_overshoots(replicas: list[Database]) -> None:
    budgets = [Budget(BudgetScope.KEY, f"k{number}", NanoUSD(400)) for number in range(4)]
    month = period_at("calendar_month", "UTC", NOW)

    async def live(number: int) -> None:
        """Holds 20 in every budget, spends 15 of it, returns the rest."""
        db, name = replicas[number % 2], f"process-{number}"
        store = BudgetRows(db, name, StillClock())
        order = budgets if number % 4 < 2 else budgets[::-1]
        for turn in range(5):
            held = [await store.take(budget, month, 20, 1_000) for budget in order]
            if all(isinstance(lease, Lease) for lease in held):
                postings = [Posting(budget.id, month.key, is_leased=True) for budget in order]
                await UsageTables(db, name).write_requests([charged(10 * number + turn, 15, *postings, held=20)])
                spent = 15
            else:
                spent = 0
            for budget, lease in zip(order, held, strict=True):
                if isinstance(lease, Lease):
                    await store.give_back(budget.id, month.key, lease.amount - spent)

    await asyncio.gather(*(live(number) for number in range(12)))
    standings = [await BudgetRows(replicas[0], "x", StillClock()).standing(budget, month) for budget in budgets]
    assert len({standing.posted for standing in standings}) == 1
    assert all(standing.leased == 0 and 300 < standing.posted <= 400 for standing in standings)
    assert (await audit(replicas[0], NOW)).holds
