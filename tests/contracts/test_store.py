"""What every database must do, told once and run over SQLite and PostgreSQL."""

import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from router.domain.errors import StorageUnavailable
from router.domain.identity import TenantStatus
from router.domain.ledger import Outcome, UsageFilter, UsageGroup
from router.domain.limits import Limits
from router.domain.usage import NanoUSD, Usage
from router.storage.database import Database, ValueRefused
from router.storage.keys import Keys
from router.storage.tenants import Tenants
from router.storage.usage import UsageTables
from tests.stores import ATTEMPT, NOW, TENANT, entry, key

EVERYTHING = UsageFilter(0, 2**62)
DAY = 86_400_000_000


async def count(db: Database, table: str) -> int:
    row = await db.one(f"SELECT COUNT(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])


async def test_parameters_are_bound_by_number_not_by_order(db: Database) -> None:
    row = await db.one("SELECT CAST($2 AS TEXT) AS a, CAST($1 AS TEXT) AS b, '$1; --' AS c", "one", "two")
    assert row is not None
    assert (row["a"], row["b"], row["c"]) == ("two", "one", "$1; --")


async def test_a_transaction_commits_when_its_block_ends(db: Database) -> None:
    async with db.tx() as tx:
        assert await tx.run("INSERT INTO snapshots VALUES ($1, 'a', 1)", "f1") == 1
        await tx.many("INSERT INTO snapshots VALUES ($1, $2, $3)", [("f2", "b", 2), ("f3", "c", 3)])
        assert len(await tx.all("SELECT * FROM snapshots")) == 3
    assert await count(db, "snapshots") == 3


async def test_a_transaction_that_raises_leaves_nothing(db: Database) -> None:
    async def failing() -> None:
        async with db.tx() as tx:
            await tx.run("INSERT INTO snapshots VALUES ('f1', 'a', 1)")
            raise KeyError

    with pytest.raises(KeyError):
        await failing()
    assert await count(db, "snapshots") == 0
    async with db.tx() as tx:
        await tx.run("INSERT INTO snapshots VALUES ('f1', 'a', 1)")
    assert await count(db, "snapshots") == 1


async def test_cancellation_inside_a_transaction_leaves_nothing_and_the_next_one_works(db: Database) -> None:
    inside = asyncio.Event()

    async def interrupted() -> None:
        async with db.tx() as tx:
            await tx.run("INSERT INTO snapshots VALUES ('f1', 'a', 1)")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(interrupted())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.run("INSERT INTO snapshots VALUES ('f2', 'a', 1)")
    assert [row["fingerprint"] for row in await db.all("SELECT fingerprint FROM snapshots")] == ["f2"]


async def test_cancelled_at_any_step_a_transaction_is_whole_or_absent(db: Database) -> None:
    """Cancel after every number of loop turns a transaction may take."""

    async def pair(number: int) -> None:
        async with db.tx() as tx:
            await tx.run("INSERT INTO snapshots VALUES ($1, 'a', 1)", f"a{number}")
            await tx.run("INSERT INTO snapshots VALUES ($1, 'a', 1)", f"b{number}")

    outcomes = set()
    for turns in range(40):
        task = asyncio.create_task(pair(turns))
        for _ in range(turns):
            await asyncio.sleep(0.0002 if turns % 2 else 0)
        task.cancel()
        [result] = await asyncio.gather(task, return_exceptions=True)
        assert result is None or isinstance(result, asyncio.CancelledError)
        rows = await db.all("SELECT fingerprint FROM snapshots WHERE fingerprint IN ($1, $2)", f"a{turns}", f"b{turns}")
        assert len(rows) in {0, 2}
        outcomes.add((result is None, len(rows)))
    assert (True, 0) not in outcomes
    assert {(False, 0), (True, 2)} <= outcomes
    await db.run("INSERT INTO snapshots VALUES ('end', 'a', 1)")


async def test_writers_wait_for_each_other(db: Database) -> None:
    await db.run("INSERT INTO snapshots VALUES ('n', 'a', 0)")

    async def increment() -> None:
        async with db.tx() as tx:
            await tx.run("UPDATE snapshots SET first_seen = first_seen + 1 WHERE fingerprint = 'n'")

    await asyncio.gather(*(increment() for _ in range(40)))
    row = await db.one("SELECT first_seen FROM snapshots")
    assert row is not None
    assert row["first_seen"] == 40


async def test_a_constraint_refuses_the_value_and_says_so(db: Database) -> None:
    await Tenants(db).create(TENANT, NOW)
    with pytest.raises(ValueRefused):
        await Keys(db).create(key(1, tenant_id="nobody"))
    with pytest.raises(ValueRefused):
        await Keys(db).create(key(1, limits=Limits(requests=-1)))
    with pytest.raises(ValueRefused):
        await db.run("INSERT INTO snapshots VALUES ('x', 'a', $1)", 2**63)


async def test_after_close_the_database_is_unavailable(db: Database) -> None:
    await db.ping()
    await db.close()
    with pytest.raises(StorageUnavailable):
        await db.ping()
    with pytest.raises(StorageUnavailable):
        async with db.tx():
            pass


async def test_a_key_is_found_with_its_tenant_and_the_tenant_s_limits(db: Database) -> None:
    keys, tenants = Keys(db), Tenants(db)
    assert await tenants.create(TENANT, NOW)
    assert not await tenants.create(replace(TENANT, id="t2"), NOW)
    await db.run("INSERT INTO tenant_limits VALUES ('t1', 5, NULL, 7, 0, 1)")
    full = key(1, scopes=("chat",), models=("gpt", "o*"), expires_at=NOW + 1, limits=Limits(1, 2, 3))
    assert await keys.create(full)
    assert not await keys.create(replace(full, id="other"))
    tenant = replace(TENANT, limits=Limits(5, None, 7))
    assert await keys.find_key("p1") == (full, tenant)
    assert await tenants.find("acme") == tenant
    assert await keys.find_key("p2") is None
    await db.run("UPDATE tenant_limits SET disabled = 1")
    assert await keys.find_key("p1") == (full, TENANT)


async def test_keys_are_listed_by_pages_and_by_tenant(db: Database) -> None:
    keys, tenants = Keys(db), Tenants(db)
    await tenants.create(TENANT, NOW)
    await tenants.create(replace(TENANT, id="t2", name="beta"), NOW)
    for number in range(5):
        await keys.create(key(number, tenant_id="t2" if number == 4 else "t1"))
    first = await keys.page(limit=3)
    rest = await keys.page(limit=3, after=first[-1][0].prefix)
    assert [k.prefix for k, _ in first + rest] == ["p0", "p1", "p2", "p3", "p4"]
    assert [(k.prefix, name) for k, name in await keys.page("beta")] == [("p4", "beta")]
    assert [tenant.name for tenant in await tenants.page(after="acme")] == ["beta"]


async def test_a_key_is_revoked_by_prefix_first_and_else_by_id(db: Database) -> None:
    keys = Keys(db)
    await Tenants(db).create(TENANT, NOW)
    await keys.create(key(1))
    await keys.create(key(2, prefix="k1"))
    revoked = await keys.revoke("k1", NOW)
    assert revoked is not None
    assert revoked.id == "k2"
    assert [(k.id, k.disabled) for k, _ in await keys.page()] == [("k2", True), ("k1", False)]
    revoked = await keys.revoke("k2", NOW)
    assert revoked is not None
    assert revoked.disabled
    assert await keys.revoke("nothing", NOW) is None


async def test_a_request_comes_back_as_it_was_written(db: Database) -> None:
    ledger = UsageTables(db)
    no_answer = {"outcome": Outcome.CONNECT, "status": None, "first_byte_us": None, "usage": Usage(), "cost": NanoUSD(0)}
    failed = structs.replace(ATTEMPT, **no_answer)
    written = entry(1, attempts=(failed, structs.replace(ATTEMPT, attempt=2, usage=Usage(1, 2, 3, 4, 5, 6, 7, True, True))))
    await ledger.write_requests([written, entry(2, request_id=written.request_id, attempts=(), tags=())])
    assert await ledger.find_requests(written.id) == [written]
    assert [found.id for found in await ledger.find_requests(written.request_id)] == [entry(2).id, written.id]
    assert await ledger.find_requests("unknown") == []


async def test_writing_twice_changes_nothing(db: Database) -> None:
    ledger = UsageTables(db)
    await ledger.write_requests([entry(1), entry(2)])
    before = await ledger.find_requests(entry(1).id)
    await ledger.write_requests([entry(1, cost=NanoUSD(1)), entry(2), entry(3)])
    assert await ledger.find_requests(entry(1).id) == before
    assert (await count(db, "requests"), await count(db, "attempts"), await count(db, "tags")) == (3, 3, 6)


async def test_one_bad_value_does_not_keep_a_batch_out_of_the_ledger(db: Database) -> None:
    ledger = UsageTables(db)
    wrong = entry(
        1,
        user="a\0b\ud800",
        tags=(("x" * 5000, "y\0"), ("x" * 5001, "y\0")),
        usage=Usage(input_tokens=2**70),
        cost=NanoUSD(-5),
    )
    await ledger.write_requests([wrong, entry(2)])
    [kept] = await ledger.find_requests(wrong.id)
    assert kept.user in {"a\ufffdb?", "a\ufffdb\ufffd"}
    assert (kept.usage.input_tokens, kept.usage.suspect, kept.cost) == (2**63 - 1, True, 0)
    assert await ledger.find_requests(entry(2).id) == [entry(2)]


async def test_usage_is_summed_by_each_group(db: Database) -> None:
    ledger = UsageTables(db)
    broken = {"outcome": Outcome.TRUNCATED, "cost": NanoUSD(5)}
    await ledger.write_requests(
        [
            entry(1, started_at=DAY - 1, tags=()),
            entry(2, started_at=DAY, key="other", **broken),
            entry(3, started_at=DAY + 5, tenant="beta", tenant_id="t2", alias="o", price_known=False, cost=NanoUSD(0)),
            entry(4, started_at=DAY + 6, outcome=Outcome.CANCELLED, status=499, tags=(("env", "dev"),)),
        ]
    )
    cost = ATTEMPT.cost

    async def by(group: UsageGroup, which: UsageFilter = EVERYTHING) -> list[tuple[Any, ...]]:
        return [(t.group, t.requests, t.failed, t.cost, t.unpriced) for t in await ledger.totals(which, group)]

    assert await by(UsageGroup.TENANT) == [("acme", 3, 1, 2 * cost + 5, 0), ("beta", 1, 0, 0, 1)]
    assert await by(UsageGroup.KEY) == [
        ("acme/demo", 2, 0, 2 * cost, 0),
        ("acme/other", 1, 1, 5, 0),
        ("beta/demo", 1, 0, 0, 1),
    ]
    assert await by(UsageGroup.ALIAS) == [("gpt", 3, 1, 2 * cost + 5, 0), ("o", 1, 0, 0, 1)]
    assert await by(UsageGroup.DAY) == [("1970-01-01", 1, 0, cost, 0), ("1970-01-02", 3, 1, cost + 5, 1)]
    assert await by(UsageGroup.TAG) == [
        ("env=dev", 1, 0, cost, 0),
        ("env=prod", 2, 1, 5, 1),
        ("team=a", 2, 1, 5, 1),
    ]
    assert await by(UsageGroup.DAY, UsageFilter(DAY, DAY + 6)) == [("1970-01-02", 2, 1, 5, 1)]
    assert await by(UsageGroup.ALIAS, UsageFilter(0, 2**62, tenant="t2")) == [("o", 1, 0, 0, 1)]
    assert await by(UsageGroup.ALIAS, UsageFilter(0, 2**62, tenant="acme", key="other", alias="gpt")) == [
        ("gpt", 1, 1, 5, 0)
    ]
    assert await by(UsageGroup.KEY, UsageFilter(0, 0)) == []
    [total] = await ledger.totals(UsageFilter(0, DAY), UsageGroup.TENANT)
    assert (total.input_tokens, total.output_tokens) == (100, 20)


async def test_the_first_sight_of_a_snapshot_counts(db: Database) -> None:
    ledger = UsageTables(db)
    await ledger.snapshot_seen("f", "a: 1", NOW)
    await ledger.snapshot_seen("f", "a: 2", NOW + 1)
    assert await ledger.snapshot_text("f") == "a: 1"
    assert await ledger.snapshot_text("g") is None


async def test_a_suspended_tenant_s_key_is_still_found_for_the_gateway_to_judge(db: Database) -> None:
    await Tenants(db).create(replace(TENANT, status=TenantStatus.SUSPENDED), NOW)
    await Keys(db).create(key(1, disabled=True))
    found = await Keys(db).find_key("p1")
    assert found is not None
    assert (found[0].disabled, found[1].status) == (True, TenantStatus.SUSPENDED)


async def test_a_hundred_thousand_keys_cost_no_memory_and_no_scan(db: Database) -> None:
    keys = Keys(db)
    await Tenants(db).create(TENANT, NOW)
    insert = "INSERT INTO api_keys VALUES ($1, 't1', 'n', $2, 'd', '[]', '[]', NULL, 0, NULL, NULL, NULL, NULL, 1, 1, NULL)"
    async with db.tx() as tx:
        for start in range(0, 100_000, 10_000):
            await tx.many(insert, [(f"k{number}", f"p{number}") for number in range(start, start + 10_000)])
    explain = "EXPLAIN QUERY PLAN " if db.engine == "sqlite" else "EXPLAIN "
    await db.run("ANALYZE")
    plan = repr([tuple(row) for row in await db.all(explain + "SELECT id FROM api_keys WHERE prefix = $1", "p5")])  # type: ignore[arg-type]  # both engines' rows are sequences
    assert "USING INDEX" in plan or "Index Scan" in plan
    await keys.find_key("p0")
    tracemalloc.start()
    try:
        for number in range(0, 100_000, 2_500):
            found = await keys.find_key(f"p{number}")
            assert found is not None
            assert found[0].id == f"k{number}"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
