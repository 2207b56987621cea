"""The audit: silent about a ledger that holds, and names each kind of breach by its row."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from msgspec import structs

from router.domain.budgets import Budget, BudgetScope, Posting, period_at
from router.domain.errors import StorageUnavailable
from router.domain.usage import NanoUSD
from router.storage.audit import MAX_LISTED, AuditReport, Check, audit
from router.storage.budgets import BudgetRows
from router.storage.database import Database, ValueRefused
from router.storage.instances import LIVE_FOR_US, Instances
from router.storage.migrate import migrate
from router.storage.sqlite import SqliteDatabase
from router.storage.usage import UsageTables
from tests.contracts.processes import StillClock
from tests.stores import ATTEMPT, NOW, entry

MONTH = period_at("calendar_month", "UTC", NOW)
TENANT = Budget(BudgetScope.TENANT, "t1", NanoUSD(10**9))
POSTINGS = (Posting(TENANT.id, MONTH.key, is_leased=True), Posting("key:k1", MONTH.key, is_leased=False))
ONE, TWO = (entry(number).id for number in (1, 2))


async def fill(db: Database) -> None:
    """Two requests in two budgets, and a lease that has more left than they cost."""
    await BudgetRows(db, "a", StillClock()).take(TENANT, MONTH, 100_000, 1)
    await Instances(db, StillClock()).sign("a", "host", 1)
    charged = structs.replace(ATTEMPT, held=NanoUSD(20_000), postings=POSTINGS)
    await UsageTables(db, "a").write_requests([entry(number, attempts=(charged,)) for number in (1, 2)])


async def filled(db: Database) -> AuditReport:
    await fill(db)
    return await audit(db, NOW)


async def test_a_ledger_that_holds_has_nothing_to_report(db: Database) -> None:
    report = await filled(db)
    assert report.holds
    assert (report.requests, report.attempts, report.postings) == (2, 2, 4)
    cost = ATTEMPT.cost
    assert (report.cost, report.posted, report.leased) == (2 * cost, 4 * cost, 50_000_000 - 2 * cost)
    assert (report.breaches, report.overruns, report.orphaned_leases) == ((), (), ())


async def test_an_empty_ledger_holds(db: Database) -> None:
    assert (await audit(db, NOW)).holds


@pytest.mark.parametrize(
    ("damage", "check", "subject", "expected", "found"),
    [
        (
            "UPDATE budget_periods SET posted_nano = 5 WHERE budget = 'key:k1'",
            Check.BUDGET_DIFFERS,
            f"key:k1 {MONTH.key}",
            2 * ATTEMPT.cost,
            5,
        ),
        ("INSERT INTO budget_periods VALUES ('key:x', 'lifetime', 7, 0, 0)", Check.BUDGET_DIFFERS, "key:x lifetime", 0, 7),
        ("UPDATE budget_periods SET leased_nano = 3", Check.LEASED_DIFFERS, f"key:k1 {MONTH.key}", 0, 3),
        (f"UPDATE requests SET cost_nano = 1 WHERE id = '{ONE}'", Check.REQUEST_DIFFERS, ONE, ATTEMPT.cost, 1),
        (f"DELETE FROM attempts WHERE request = '{ONE}'", Check.REQUEST_DIFFERS, ONE, 0, ATTEMPT.cost),
        (f"DELETE FROM attempts WHERE request = '{ONE}'", Check.ORPHAN, f"postings {ONE} 1", 0, 2),
        (
            f"UPDATE attempts SET cost_nano = 8 WHERE request = '{TWO}'",
            Check.POSTING_DIFFERS,
            f"{TWO} 1 key:k1",
            8,
            ATTEMPT.cost,
        ),
    ],
)
async def test_a_breach_is_named_by_its_row(
    db: Database, damage: str, check: Check, subject: str, expected: int, found: int
) -> None:
    await fill(db)
    await db.run(damage)
    report = await audit(db, NOW)
    assert not report.holds
    breach = next(b for b in report.breaches if b.check is check)
    assert (breach.subject, breach.expected, breach.found) == (subject, expected, found)


async def test_amounts_below_zero_are_refused_by_both_engines(db: Database) -> None:
    await fill(db)
    for damage in (
        "UPDATE budget_periods SET posted_nano = -1",
        "UPDATE budget_periods SET leased_nano = -1",
        "UPDATE budget_periods SET posted_nano = 3000000000000000001",
        "UPDATE leases SET remaining_nano = -1",
        "UPDATE postings SET cost_nano = -1",
        "UPDATE attempts SET held_nano = -1",
        "INSERT INTO postings SELECT * FROM postings",
    ):
        with pytest.raises(ValueRefused):
            await db.run(damage)


DAMAGE_BEHIND_ITS_BACK = {
    Check.NEGATIVE: (
        "PRAGMA ignore_check_constraints = ON; UPDATE leases SET remaining_nano = -4",
        f"lease a {TENANT.id} {MONTH.key}",
        -4,
    ),
    Check.ORPHAN: (f"DELETE FROM requests WHERE id = '{ONE}'", f"attempts {ONE}", 1),
    Check.DUPLICATE: (
        """
        CREATE TABLE loose AS SELECT * FROM postings;
        DROP TABLE postings;
        ALTER TABLE loose RENAME TO postings;
        INSERT INTO postings SELECT * FROM postings WHERE budget = 'key:k1'""",
        f"postings {ONE} 1 key:k1",
        2,
    ),
}


@pytest.mark.parametrize("check", DAMAGE_BEHIND_ITS_BACK)
def test_what_constraints_forbid_is_found_where_they_were_evaded(check: Check, tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    damage, subject, found = DAMAGE_BEHIND_ITS_BACK[check]

    async def around_damage() -> AuditReport:
        db = await SqliteDatabase.open(path)
        await migrate(db, NOW)
        await fill(db)
        await db.close()
        with sqlite3.connect(path) as raw:
            raw.executescript(damage)
        raw.close()
        db = await SqliteDatabase.open(path)
        try:
            return await audit(db, NOW)
        finally:
            await db.close()

    report = asyncio.run(around_damage())
    assert (subject, found) in [(b.subject, b.found) for b in report.breaches if b.check is check]


async def test_overruns_are_listed_and_are_no_breach(db: Database) -> None:
    over = structs.replace(ATTEMPT, held=NanoUSD(12_000), postings=POSTINGS)
    exact = structs.replace(ATTEMPT, held=ATTEMPT.cost)
    await UsageTables(db, "a").write_requests([entry(1, attempts=(over,)), entry(2, attempts=(exact,)), entry(3)])
    report = await audit(db, NOW)
    assert report.holds
    [overrun] = report.overruns
    assert (overrun.request, overrun.attempt, overrun.target) == (ONE, 1, ATTEMPT.target)
    assert (overrun.held, overrun.cost, report.overrun_count) == (12_000, ATTEMPT.cost, 1)


async def test_a_lease_is_orphaned_when_its_process_gives_no_sign_any_more(db: Database) -> None:
    await fill(db)
    await BudgetRows(db, "never seen", StillClock()).take(TENANT, MONTH, 1, 1)
    assert [lease.instance for lease in (await audit(db, NOW + LIVE_FOR_US)).orphaned_leases] == ["never seen"]
    report = await audit(db, NOW + LIVE_FOR_US + 1)
    gone = report.orphaned_leases[0]
    assert (gone.instance, gone.remaining, gone.seen_at) == ("a", 50_000_000 - 2 * ATTEMPT.cost, NOW)
    assert report.orphaned_leases[1].seen_at is None
    assert report.holds


async def test_of_many_breaches_the_first_are_listed_and_all_are_counted(db: Database) -> None:
    await UsageTables(db).write_requests([entry(number, tags=()) for number in range(MAX_LISTED + 5)])
    await db.run("UPDATE requests SET cost_nano = 0")
    report = await audit(db, NOW)
    assert (len(report.breaches), report.breach_counts) == (MAX_LISTED, {Check.REQUEST_DIFFERS: MAX_LISTED + 5})


async def test_an_audit_sees_one_moment_and_holds_nobody_up(db: Database) -> None:
    await fill(db)
    async with db.snapshot() as moment:
        before = await moment.one("SELECT COUNT(*) AS n FROM requests")
        await UsageTables(db, "a").write_requests([entry(3)])
        after = await moment.one("SELECT COUNT(*) AS n FROM requests")
        with pytest.raises(StorageUnavailable) as refused:
            await moment.run("DELETE FROM tags")
        assert "read-only" in refused.value.hint
    assert before is not None
    assert after is not None
    assert before["n"] == after["n"] == 2
    assert (await audit(db, NOW)).requests == 3
