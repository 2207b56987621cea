"""The outbox on both engines: raised with its cause or not at all, told once a cool-down, every letter once at a time."""

import asyncio

import msgspec
import pytest

from router.domain.alerts import (
    Alert,
    BudgetHolder,
    BudgetThreshold,
    Channel,
    Draft,
    Recipients,
    TargetDown,
    TargetUp,
    Webhook,
)
from router.domain.bootstrap import TenantBudgetItem, TenantItem
from router.domain.budgets import BudgetScope
from router.domain.usage import NanoUSD
from router.storage.bootstrap import BootstrapSeals, apply_bootstrap
from router.storage.database import Database
from router.storage.outbox import OutboxTable, raise_alert
from tests.alerts.samples import ALERTS, raised
from tests.stores import NOW, CountingIds

HOUR = 3_600_000_000
DOWN = TargetDown("a/b", "HTTP 500")
DRAFTS = [
    ("1" * 32, Draft(Channel.EMAIL, "ops@example.com", "title", "body")),
    ("2" * 32, Draft(Channel.STANDARD, "h.example#0a", "title", '{"a":1}')),
]


async def count(db: Database, table: str) -> int:
    row = await db.one({"alerts": "SELECT count(*) AS n FROM alerts", "outbox": "SELECT count(*) AS n FROM outbox"}[table])
    assert row is not None
    return int(row["n"])


async def with_letters(db: Database) -> OutboxTable:
    table = OutboxTable(db)
    await table.raise_all([raised(DOWN)], HOUR)
    assert await table.address(raised(DOWN).id, DRAFTS, NOW)
    return table


async def test_every_alert_comes_back_as_it_was_raised(db: Database) -> None:
    table = OutboxTable(db)
    assert await table.raise_all([raised(a, n, NOW + n) for n, a in enumerate(ALERTS)], HOUR) == [None] * len(ALERTS)
    found = [msgspec.json.decode(s.event, type=Alert) for s in await table.unaddressed(100)]
    assert found == list(ALERTS)


async def test_an_alert_is_told_once_a_cool_down_by_subject_and_kind(db: Database) -> None:
    table = OutboxTable(db)
    assert await table.raise_all([raised(DOWN, 1)], HOUR) == [None]
    assert await table.raise_all([raised(DOWN, 2, NOW + HOUR - 1)], HOUR) == [NOW + HOUR]
    assert await table.raise_all([raised(TargetUp("a/b"), 3), raised(TargetDown("c/d", "x"), 4)], HOUR) == [None, None]
    assert await table.raise_all([raised(DOWN, 5, NOW + HOUR)], HOUR) == [None]
    assert await table.raise_all([raised(DOWN, 6, NOW + HOUR)], 0) == [None]
    assert await count(db, "alerts") == 5


async def test_two_processes_that_see_the_same_tell_it_once(db: Database) -> None:
    tables = [OutboxTable(db) for _ in range(4)]
    told = await asyncio.gather(*(t.raise_all([raised(DOWN, n)], HOUR) for n, t in enumerate(tables)))
    assert sorted(map(str, told)) == sorted(["[None]", *[f"[{NOW + HOUR}]"] * 3])


async def test_an_alert_is_raised_with_its_cause_or_not_at_all(db: Database) -> None:
    async def cause(db: Database) -> None:
        async with db.tx() as tx:
            assert await raise_alert(tx, raised(DOWN), HOUR) is None
            raise RuntimeError("what causes it fails")

    with pytest.raises(RuntimeError):
        await cause(db)
    assert await count(db, "alerts") == 0
    async with db.tx() as tx:
        assert await raise_alert(tx, raised(DOWN), HOUR) is None, "the cool-down did not begin either"
    assert await count(db, "alerts") == 1


async def test_a_tenant_has_its_own_recipients_and_its_own_cool_down(db: Database) -> None:
    budget = TenantBudgetItem(
        *("acme", NanoUSD(1), "hard", "weekly", "UTC", 1),
        alert_emails=("finance@example.com",),
        alert_webhooks=(("https://hooks.example.com/x", "discord"),),
        alert_cooldown_s=60.0,
    )
    await apply_bootstrap(db, [TenantItem("acme"), budget], BootstrapSeals(str, b"x" * 32), CountingIds(), NOW)
    row = await db.one("SELECT id FROM tenants WHERE name = $1", "acme")
    assert row is not None
    table, tenant = OutboxTable(db), row["id"]
    webhook = Webhook("https://hooks.example.com/x", Channel.DISCORD)
    assert await table.recipients(tenant) == Recipients(("finance@example.com",), (webhook,))
    holder = BudgetHolder(BudgetScope.TENANT, tenant, "acme", tenant, "acme")
    alert = BudgetThreshold(holder, NanoUSD(1), NanoUSD(1), 100)
    assert await table.raise_all([raised(alert, 1)], HOUR) == [None]
    assert await table.raise_all([raised(alert, 2, NOW + 59_999_999)], HOUR) == [NOW + 60_000_000]
    assert await table.raise_all([raised(alert, 3, NOW + 60_000_000)], HOUR) == [None]
    await apply_bootstrap(db, [TenantItem("acme")], BootstrapSeals(str, b"x" * 32), CountingIds(), NOW)
    assert await table.recipients(tenant) == Recipients(), "a budget that was taken out tells nobody"
    assert await table.recipients("") == await table.recipients("unknown") == Recipients()


async def test_letters_are_written_once_however_many_try(db: Database) -> None:
    table = await with_letters(db)
    again = [("3" * 32, DRAFTS[0][1])]
    assert not await table.address(raised(DOWN).id, again, NOW)
    assert (await count(db, "outbox"), await table.unaddressed(10)) == (2, [])


async def test_a_letter_is_due_as_it_was_written_and_belongs_to_one_sender(db: Database) -> None:
    table = await with_letters(db)
    assert await table.due(NOW - 1, 10) == []
    letters = await table.due(NOW, 10)
    assert [(each.id, each.draft) for each in letters] == DRAFTS
    claims = [await table.claim(letters[0], NOW + HOUR) for _ in range(2)]
    assert claims == [True, False]
    assert [each.id for each in await table.due(NOW, 10)] == ["2" * 32]
    assert [each.id for each in await table.due(NOW + HOUR, 10)] == ["2" * 32, "1" * 32], "its sender died: it comes back"


async def test_what_was_sent_or_given_up_is_never_due_again(db: Database) -> None:
    table = await with_letters(db)
    first, second = await table.due(NOW, 10)
    await table.sent(first, NOW)
    await table.give_up(second, NOW, "HTTP 410")
    await table.failed(first, NOW + 1, "too late")
    assert await table.due(NOW + 10 * HOUR, 10) == []
    rows = await db.all("SELECT state, attempts, last_error, ended_at FROM outbox ORDER BY id")
    assert [(r["state"], r["attempts"], r["last_error"], r["ended_at"]) for r in rows] == [
        ("sent", 1, "", NOW),
        ("given_up", 1, "HTTP 410", NOW),
    ]


async def test_a_failure_postpones_what_else_the_recipient_gets(db: Database) -> None:
    table = await with_letters(db)
    other = raised(TargetUp("a/b"), 2)
    await table.raise_all([other], HOUR)
    await table.address(other.id, [("4" * 32, DRAFTS[1][1])], NOW + 1)
    email, hook, later = await table.due(NOW + 1, 10)
    await table.failed(hook, NOW + HOUR, "HTTP 500")
    assert [each.id for each in await table.due(NOW + HOUR - 1, 10)] == [email.id]
    again = {each.id: each.attempts for each in await table.due(NOW + HOUR, 10)}
    assert again == {email.id: 0, hook.id: 1, later.id: 0}


async def test_what_has_ended_is_forgotten_and_what_waits_is_not(db: Database) -> None:
    table = await with_letters(db)
    first, second = await table.due(NOW, 10)
    await table.sent(first, NOW)
    assert await table.prune(NOW + HOUR) == 0
    await table.sent(second, NOW)
    assert await table.prune(NOW) == 0
    assert await table.prune(NOW + HOUR) == 1
    assert (await count(db, "alerts"), await count(db, "outbox")) == (0, 0)
    assert await table.raise_all([raised(DOWN, 9)], HOUR) == [NOW + HOUR], "the cool-down is not forgotten"
