"""What the tables of kept responses must do on both engines: to its tenant alone, sealed, turn by turn, ended once."""

from typing import Any

import pytest
from msgspec import structs

from router.domain.responses import KeptResponse, ResponseStatus
from router.storage.database import Database
from router.storage.instances import LIVE_FOR_US
from router.storage.responses import ResponseRows
from tests.contracts.processes import SigningProcess, StillClock
from tests.stores import NOW

DAY_US = 86_400_000_000


class Process(SigningProcess):
    """One process with its view of the tables; `clock` is shared by all of a test."""

    def __init__(self, db: Database, instance: str, clock: StillClock, key: bytes = b"k" * 32) -> None:
        super().__init__(db, instance, clock, key)
        self.rows = ResponseRows(db, instance, clock, self.cipher)


def turn(name: str, previous: str | None = None, **changes: Any) -> KeptResponse:
    known: dict[str, Any] = {
        "id": name,
        "tenant_id": "t1",
        "previous_id": previous,
        "status": ResponseStatus.COMPLETED,
        "input": b'["asked in %s"]' % name.encode(),
        "answer": b'{"told":"in %s"}' % name.encode(),
        "created_at": NOW,
        "expires_at": NOW + DAY_US,
    }
    return KeptResponse(**(known | changes))


def running(name: str, **changes: Any) -> KeptResponse:
    return turn(name, status=ResponseStatus.QUEUED, is_background=True, **changes)


def ended(response: KeptResponse, status: ResponseStatus = ResponseStatus.COMPLETED) -> KeptResponse:
    return structs.replace(response, status=status, answer=b'{"ended":true}')


async def count(db: Database, table: str) -> int:
    row = await db.one(f"SELECT COUNT(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])


async def test_what_is_kept_is_found_by_every_process_of_its_tenant_alone_and_is_unreadable(db: Database) -> None:
    clock = StillClock()
    one, other = Process(db, "a", clock), Process(db, "b", clock)
    assert await one.rows.end(turn("r1", item_ids=("msg_1",)))
    assert await other.rows.find("t1", "r1") == turn("r1")
    assert await other.rows.find("t2", "r1") is None
    assert await other.rows.turns("t2", "r1") == ()
    assert await other.rows.holders("t2", ["msg_1"]) == {}
    assert not await other.rows.forget("t2", "r1")
    assert not await other.rows.stop("t2", "r1")
    row = await db.one("SELECT input, answer FROM responses")
    assert row is not None
    assert b"asked" not in bytes(row["input"])
    assert b"told" not in bytes(row["answer"])


@pytest.mark.parametrize("change", ["tenant_id = 't2'", "input = answer", "id = 'r2'"])
async def test_what_was_moved_is_told_to_nobody(db: Database, change: str) -> None:
    one = Process(db, "a", StillClock())
    assert await one.rows.end(turn("r1"))
    await db.run(f"UPDATE responses SET {change}")
    for tenant in ("t1", "t2"):
        for name in ("r1", "r2"):
            assert await one.rows.find(tenant, name) is None
            assert await one.rows.turns(tenant, name) == ()


async def test_sealed_with_another_key_it_is_not_told(db: Database) -> None:
    clock = StillClock()
    assert await Process(db, "a", clock).rows.end(turn("r1"))
    assert await Process(db, "a", clock, b"x" * 32).rows.find("t1", "r1") is None


async def test_turns_come_in_their_order_and_a_gap_is_none(db: Database) -> None:
    one = Process(db, "a", StillClock())
    for name, previous in (("r1", None), ("r2", "r1"), ("r3", "r2"), ("s2", "r1")):
        assert await one.rows.end(turn(name, previous))
    assert [t.id for t in await one.rows.turns("t1", "r3")] == ["r1", "r2", "r3"]
    assert [t.id for t in await one.rows.turns("t1", "s2")] == ["r1", "s2"]
    assert await one.rows.turns("t1", "r4") == ()
    await db.run("DELETE FROM responses WHERE id = 'r2'")
    assert await one.rows.turns("t1", "r3") == ()


async def test_what_is_gone_on_from_stays_behind_it_and_goes_when_that_has_gone(db: Database) -> None:
    clock = StillClock()
    one = Process(db, "a", clock)
    for name, previous in (("r1", None), ("r2", "r1"), ("r3", "r2")):
        assert await one.rows.end(turn(name, previous, item_ids=(f"msg_{name}",)))
    assert await one.rows.forget("t1", "r1")
    assert not await one.rows.forget("t1", "r1")
    assert await one.rows.find("t1", "r1") is None
    assert await one.rows.turns("t1", "r1") == ()
    assert await one.rows.holders("t1", ["msg_r1", "msg_r2"]) == {"msg_r2": turn("r2", "r1")}
    assert [t.id for t in await one.rows.turns("t1", "r3")] == ["r1", "r2", "r3"]
    await one.rows.sweep()
    assert await count(db, "responses") == 3
    assert await one.rows.forget("t1", "r3")
    assert await count(db, "responses") == 2
    clock.now += 2 * DAY_US
    assert await one.rows.sweep() == 2
    assert [await count(db, table) for table in ("responses", "response_items")] == [0, 0]


async def test_what_has_expired_is_not_found_though_nobody_swept(db: Database) -> None:
    clock = StillClock()
    one = Process(db, "a", clock)
    assert await one.rows.end(turn("r1"))
    clock.now += DAY_US
    assert await one.rows.find("t1", "r1") is None
    assert await one.rows.turns("t1", "r1") == ()


async def test_of_two_that_have_an_item_the_later_is_told(db: Database) -> None:
    one = Process(db, "a", StillClock())
    assert await one.rows.end(turn("r1", item_ids=("msg_1", "msg_2")))
    assert await one.rows.end(turn("r2", item_ids=("msg_1",), created_at=NOW + 1))
    found = await one.rows.holders("t1", ["msg_1", "msg_2", "msg_3"])
    assert {item: holder.id for item, holder in found.items()} == {"msg_1": "r2", "msg_2": "r1"}


async def test_written_a_second_time_it_stays_what_it_was(db: Database) -> None:
    one = Process(db, "a", StillClock())
    assert await one.rows.end(turn("r1"))
    assert not await one.rows.end(turn("r1", answer=b"{}"))
    assert await one.rows.find("t1", "r1") == turn("r1")


async def test_one_in_the_background_passes_through_its_states_and_ends_once(db: Database) -> None:
    one = await Process(db, "a", StillClock()).lives()
    await one.rows.begin(running("r1"))
    assert await one.rows.find("t1", "r1") == running("r1")
    await one.rows.advance("r1")
    found = await one.rows.find("t1", "r1")
    assert found is not None
    assert found.status is ResponseStatus.IN_PROGRESS
    assert await one.rows.end(ended(running("r1", item_ids=("msg_1",))))
    assert not await one.rows.end(ended(running("r1"), ResponseStatus.FAILED))
    assert not await one.rows.stop("t1", "r1")
    assert await one.rows.find("t1", "r1") == ended(running("r1"))
    assert list(await one.rows.holders("t1", ["msg_1"])) == ["msg_1"]


async def test_cancelled_elsewhere_it_stays_cancelled_and_its_process_learns_of_it(db: Database) -> None:
    clock = StillClock()
    one, other = await Process(db, "a", clock).lives(), await Process(db, "b", clock).lives()
    await one.rows.begin(running("r1"))
    await one.rows.begin(running("r2"))
    assert await other.rows.stop("t1", "r1")
    assert not await other.rows.stop("t1", "r1")
    assert (await one.rows.stopped(), await other.rows.stopped()) == (["r1"], [])
    assert not await one.rows.end(ended(running("r1")))
    found = await one.rows.find("t1", "r1")
    assert found is not None
    assert found.status is ResponseStatus.CANCELLED
    assert await one.rows.stopped() == []


async def test_one_that_was_deleted_while_it_ran_does_not_come_back(db: Database) -> None:
    clock = StillClock()
    one = await Process(db, "a", clock).lives()
    await one.rows.begin(running("r1"))
    assert await one.rows.forget("t1", "r1")
    clock.now += 1
    await one.rows.end(ended(running("r1")))
    assert await one.rows.find("t1", "r1") is None
    await one.rows.sweep()
    assert await count(db, "responses") == 0


async def test_what_a_dead_process_left_is_an_orphan_and_then_failed(db: Database) -> None:
    clock = StillClock()
    one, other = await Process(db, "a", clock).lives(), await Process(db, "b", clock).lives()
    await one.rows.begin(running("r1"))
    await one.rows.begin(running("r2"))
    assert await other.rows.stop("t1", "r2")
    clock.now += LIVE_FOR_US - 1
    found = await other.rows.find("t1", "r1")
    assert found is not None
    assert not found.is_orphan
    clock.now += 2
    await other.lives()
    found = await other.rows.find("t1", "r1")
    assert found is not None
    assert found.is_orphan
    await other.rows.sweep()
    told = [await other.rows.find("t1", name) for name in ("r1", "r2")]
    assert [t.status for t in told if t is not None] == [ResponseStatus.FAILED, ResponseStatus.CANCELLED]
    assert not await one.rows.end(ended(running("r1")))


async def test_events_are_told_from_where_they_are_asked_for(db: Database) -> None:
    one = Process(db, "a", StillClock())
    for number in range(3):
        await one.rows.add_events("r1", number, b"piece %d" % number)
    assert await one.rows.events("r1", -1) == [(n, b"piece %d" % n) for n in range(3)]
    assert await one.rows.events("r1", 1) == [(2, b"piece 2")]
    assert await one.rows.events("r2", -1) == []
    await db.run("UPDATE response_events SET number = 9 WHERE number = 2")
    assert await one.rows.events("r1", 1) == []
