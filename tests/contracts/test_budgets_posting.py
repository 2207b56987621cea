"""Costs reach the budgets exactly once, through the leases that covered them, whoever brings them and how often."""

import asyncio

import pytest
from msgspec import structs

from router.domain.budgets import Budget, BudgetScope, Posting, Standing
from router.domain.ledger import LedgerEntry, Outcome
from router.domain.usage import NanoUSD
from router.storage.audit import audit
from router.storage.budgets import BudgetRows
from router.storage.database import Database
from router.storage.keys import Keys
from router.storage.tenants import Tenants
from router.storage.usage import UsageTables
from tests.contracts.test_budgets import MONTH, TENANT, leased, remaining, rows
from tests.stores import ATTEMPT, NOW, CountingIds, entry, key
from tests.stores import TENANT as ACME

KEY = Budget(BudgetScope.KEY, "k1", NanoUSD(1_000))
HARD = Posting(TENANT.id, MONTH.key, is_leased=True)
SOFT = Posting(KEY.id, MONTH.key, is_leased=False)


def charged(number: int, cost: int, *postings: Posting, held: int = 0) -> LedgerEntry:
    """A request of one attempt that counts against `postings`."""
    money = NanoUSD(cost)
    attempt = structs.replace(ATTEMPT, cost=money, held=NanoUSD(held), postings=postings or (HARD,))
    return entry(number, cost=money, attempts=(attempt,))


async def posted(db: Database, budget: Budget = TENANT) -> Standing:
    return await BudgetRows(db, "", None).standing(budget, MONTH)  # type: ignore[arg-type]  # a question needs no clock


def standing(posted_nano: int, leased_nano: int) -> Standing:
    return Standing(NanoUSD(posted_nano), NanoUSD(leased_nano))


async def test_a_cost_moves_from_the_lease_to_what_is_posted(db: Database) -> None:
    await leased(rows(db), 500)
    await UsageTables(db, "a").write_requests([charged(1, 120, held=200), charged(2, 80)])
    assert await posted(db) == standing(200, 300)
    assert await remaining(db) == 300
    found = (await UsageTables(db).find_requests(charged(1, 120).id))[0]
    assert found.attempts[0].held == 200


async def test_a_soft_budget_is_posted_without_a_lease_and_its_row_is_made_for_it(db: Database) -> None:
    await UsageTables(db, "a").write_requests([charged(1, 120, SOFT)])
    assert await posted(db, KEY) == standing(120, 0)


async def test_one_attempt_counts_in_all_its_budgets_and_failed_ones_in_none(db: Database) -> None:
    await leased(rows(db), 500)
    failed = structs.replace(ATTEMPT, cost=NanoUSD(0), outcome=Outcome.CONNECT, postings=(HARD, SOFT))
    good = structs.replace(ATTEMPT, attempt=2, cost=NanoUSD(70), postings=(HARD, SOFT))
    await UsageTables(db, "a").write_requests([entry(1, cost=NanoUSD(70), attempts=(failed, good))])
    assert (await posted(db), await posted(db, KEY)) == (standing(70, 430), standing(70, 0))
    assert len(await db.all("SELECT * FROM postings")) == 2


async def test_repeated_batches_and_doubles_inside_one_count_once(db: Database) -> None:
    await leased(rows(db), 500)
    ledger = UsageTables(db, "a")
    await ledger.write_requests([charged(1, 10), charged(1, 999), charged(2, 20)])
    await ledger.write_requests([charged(2, 20), charged(3, 30), charged(1, 10)])
    await UsageTables(db).write_requests([charged(3, 5)])
    assert await posted(db) == standing(60, 440)
    assert await remaining(db) == 440
    assert (await audit(db, NOW)).holds


async def test_an_attempt_that_was_written_without_a_budget_stays_without(db: Database) -> None:
    ledger = UsageTables(db, "a")
    await ledger.write_requests([charged(1, 10, SOFT), entry(2)])
    await ledger.write_requests([charged(2, 10, SOFT), charged(3, 1, SOFT)])
    assert await posted(db, KEY) == standing(11, 0)


async def test_two_processes_with_the_same_entries_at_once_post_them_once(db: Database) -> None:
    await leased(rows(db), 1_000)
    entries = [charged(number, 5, HARD, SOFT) for number in range(100)]
    await asyncio.gather(
        *(UsageTables(db, "a").write_requests(entries[::step]) for step in (1, -1, 1, -1, 2)),
    )
    assert (await posted(db), await posted(db, KEY)) == (standing(500, 500), standing(500, 0))


async def test_budgets_in_opposite_orders_do_not_deadlock(db: Database) -> None:
    there = [Posting(f"key:{number}", MONTH.key, is_leased=False) for number in range(20)]
    await asyncio.gather(
        *(
            UsageTables(db).write_requests([charged(100 * turn + n, 1, p) for n, p in enumerate(there[:: (-1) ** turn])])
            for turn in range(8)
        )
    )
    rows_of = await db.all("SELECT posted_nano FROM budget_periods")
    assert [row["posted_nano"] for row in rows_of] == [8] * 20


async def test_a_cost_beyond_the_lease_is_posted_in_full_and_takes_no_more_than_the_lease_has(db: Database) -> None:
    await leased(rows(db, "a"), 100)
    await leased(rows(db, "b"), 100)
    await UsageTables(db, "a").write_requests([charged(1, 150, held=60)])
    assert await posted(db) == standing(150, 100)
    assert (await remaining(db, "a"), await remaining(db, "b")) == (0, 100)
    [overrun] = (await audit(db, NOW)).overruns
    assert (overrun.held, overrun.cost) == (60, 150)


async def test_a_journal_replayed_for_a_dead_process_touches_nobody_s_lease_and_then_its_own_is_returned(
    db: Database,
) -> None:
    heir = rows(db, "b")
    await leased(rows(db, "a"), 300)
    await leased(heir, 200)
    replay = UsageTables(db)
    for _ in range(2):
        await replay.write_requests([charged(1, 120)])
    assert await posted(db) == standing(120, 500)
    await heir.settle_instance("a")
    assert await posted(db) == standing(120, 200)
    assert await remaining(db, "b") == 200


@pytest.mark.parametrize(
    "budget",
    [
        *(KEY, TENANT, Budget(BudgetScope.MODEL, "gpt", NanoUSD(1_000))),
        Budget(BudgetScope.MEMBER, "t1/u1", NanoUSD(1_000), name="ann@example.com"),
    ],
)
async def test_an_abandoned_lease_is_posted_in_full_to_whom_it_was_for(db: Database, budget: Budget) -> None:
    await Tenants(db).create(ACME, NOW)
    await Keys(db).create(key(1))
    await db.run("INSERT INTO users VALUES ('u1', 'ann@example.com', 'Ann', '', 0, 0, 1, 1)")
    store = rows(db, "lost")
    await store.take(budget, MONTH, 500, 1)
    await UsageTables(db, "lost").write_requests([charged(1, 100, Posting(budget.id, MONTH.key, is_leased=True))])
    ids = CountingIds()
    ids.new()
    [made] = await rows(db, "b").abandon("lost", ids)
    assert await posted(db, budget) == standing(500, 0)
    assert await rows(db, "b").abandon("lost", ids) == []
    [kept] = await UsageTables(db).find_requests("lost")
    assert (kept.id, kept.outcome, kept.cost, kept.attempts[0].held) == (made.id, Outcome.RECOVERED, 400, 400)
    named = {
        BudgetScope.KEY: ("t1", "acme", "k1", "key 1", ""),
        BudgetScope.TENANT: ("t1", "acme", "", "", ""),
        BudgetScope.MODEL: ("", "", "", "", "gpt"),
        BudgetScope.MEMBER: ("t1", "acme", "", "", ""),
    }
    assert (kept.tenant_id, kept.tenant, kept.key_id, kept.key, kept.alias) == named[budget.scope]
    assert kept.member == ("ann@example.com" if budget.scope is BudgetScope.MEMBER else "")
    assert (await audit(db, NOW)).holds


async def test_one_bad_value_keeps_no_cost_out_of_the_budgets(db: Database) -> None:
    wrong = structs.replace(charged(1, 10, HARD, HARD), user="a\0b")
    await UsageTables(db, "a").write_requests([wrong, charged(2, 20)])
    assert await posted(db) == standing(30, 0)
