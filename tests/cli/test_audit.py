"""`routerd audit`: exit code and words for a ledger that holds, for one that does not, and for a process that is lost."""

from msgspec import structs

from router.domain.budgets import Budget, BudgetScope, Posting, period_at
from router.domain.usage import NanoUSD
from router.storage.budgets import BudgetRows
from router.storage.database import Database
from router.storage.instances import Instances
from router.storage.usage import UsageTables
from router.system import SystemClock
from tests.cli.commandline import CommandLine
from tests.stores import ATTEMPT, entry

CLOCK = SystemClock()
BUDGET = Budget(BudgetScope.MODEL, "smart", NanoUSD(2_000_000_000))
LIFETIME = period_at("lifetime", "UTC", 0)


def record(routerd: CommandLine, *, held: int = 20_000) -> None:
    """One request for 0.000012345 USD by the process `gone`, which holds 0.1 USD."""
    attempt = structs.replace(ATTEMPT, held=NanoUSD(held), postings=(Posting(BUDGET.id, LIFETIME.key, is_leased=True),))

    async def write(db: Database) -> None:
        await BudgetRows(db, "gone", CLOCK).take(BUDGET, LIFETIME, 1, 1)
        await UsageTables(db, "gone").write_requests([entry(1, attempts=(attempt,))])

    routerd.database(write)


def do(routerd: CommandLine, sql: str) -> None:
    async def damage(db: Database) -> None:
        await db.run(sql)

    routerd.database(damage)


def test_a_ledger_that_holds_is_said_so(routerd: CommandLine) -> None:
    printed = routerd("audit")
    assert printed.code == 0
    assert [line.split() for line in printed.out.splitlines()] == [
        ["ledger", "0", "requests,", "0", "attempts"],
        ["cost", "0.0", "USD"],
        ["budgets", "0.0", "USD", "in", "0", "postings"],
        ["leases", "0.0", "USD"],
        [],
        ["The", "ledger", "holds."],
    ]


def test_the_document_holds_money_as_text(routerd: CommandLine) -> None:
    record(routerd, held=10_000)
    printed = routerd("audit", "--json")
    document = printed.document
    assert (printed.code, document["holds"], document["breaches"]) == (0, True, [])
    assert (document["cost_usd"], document["posted_usd"], document["leased_usd"]) == (
        "0.000012345",
        "0.000012345",
        "0.099987655",
    )
    assert document["overruns"][0]["held_usd"] == "0.00001"
    assert document["orphaned_leases"] == [
        {
            "instance": "gone",
            "budget": "model:smart",
            "period": "lifetime",
            "remaining_usd": "0.099987655",
            "seen_at": None,
        }
    ]


def test_a_breach_exits_1_and_names_row_and_amounts(routerd: CommandLine) -> None:
    record(routerd)
    do(routerd, "UPDATE budget_periods SET posted_nano = 12000")
    plain, machine = routerd("audit"), routerd("audit", "--json")
    assert (plain.code, machine.code) == (1, 1)
    assert "budget_differs: what a budget has posted is not the sum of its postings" in plain.out
    assert ["model:smart", "lifetime", "0.000012345", "0.000012"] in [line.split() for line in plain.out.splitlines()]
    assert plain.out.splitlines()[-1] == "The ledger does not hold: 1 breach."
    assert machine.document["breaches"] == [
        {
            "check": "budget_differs",
            "row": "model:smart lifetime",
            "expected_usd": "0.000012345",
            "found_usd": "0.000012",
        }
    ]


def test_rows_are_counted_as_rows(routerd: CommandLine) -> None:
    record(routerd)
    do(routerd, "DELETE FROM attempts")
    breaches = {b["check"]: b for b in routerd("audit", "--json").document["breaches"]}
    assert breaches["orphan"]["found_rows"] == 1
    assert "expected rows" in routerd("audit").out


def test_overruns_and_leases_of_lost_processes_are_listed(routerd: CommandLine) -> None:
    record(routerd, held=10_000)
    printed = routerd("audit")
    assert printed.code == 0
    words = [line.split() for line in printed.out.splitlines()]
    assert [entry(1).id, "1", "openai/gpt-5", "0.00001", "0.000012345"] in words
    assert ["gone", "model:smart", "lifetime", "0.099987655", "never"] in words
    assert "routerd audit --abandon INSTANCE" in printed.out


def test_an_abandoned_process_s_leases_are_posted_in_full_and_the_ledger_still_holds(routerd: CommandLine) -> None:
    record(routerd)
    printed = routerd("audit", "--abandon", "gone")
    assert printed.code == 0
    assert "Abandoned gone: 1 lease posted in full, 0.099987655 USD." in printed.out
    document = routerd("audit", "--json").document
    assert (document["holds"], document["leased_usd"], document["posted_usd"]) == (True, "0.0", "0.1")
    assert (document["requests"], document["orphaned_leases"]) == (2, [])
    assert routerd("usage", "--by", "alias", "--json").document["groups"][0]["cost_usd"] == "0.099987655"


def test_what_was_abandoned_is_in_the_document(routerd: CommandLine) -> None:
    record(routerd)
    [posted] = routerd("audit", "--abandon", "gone", "--json").document["abandoned"]
    assert (posted["budget"], posted["cost_usd"]) == ("model:smart", "0.099987655")


def test_a_process_that_lives_is_not_abandoned(routerd: CommandLine) -> None:
    record(routerd)

    async def sign(db: Database) -> None:
        await Instances(db, CLOCK).sign("gone", "here", 77)

    routerd.database(sign)
    printed = routerd("audit", "--abandon", "gone")
    assert (printed.code, "gone is alive: process 77 on here" in printed.err) == (2, True)
    assert routerd("audit", "--json").document["leased_usd"] == "0.099987655"


def test_a_mistyped_process_is_answered_with_the_one_meant(routerd: CommandLine) -> None:
    record(routerd)
    printed = routerd("audit", "--abandon", "gnoe")
    assert (printed.code, 'Did you mean "gone"?' in printed.err) == (2, True)
    assert routerd("audit", "--abandon", "x", "--json").document["error"]["code"] == "no_lease"


def test_without_a_database_there_is_nothing_to_prove(configured: CommandLine) -> None:
    printed = configured("audit")
    assert (printed.code, "no database yet" in printed.err) == (1, True)
