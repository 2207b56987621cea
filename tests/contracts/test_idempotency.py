"""What the table of idempotency keys must do on both engines: one claim a name, kept answers sealed, the dead make room."""

import asyncio

import pytest

from router.domain.errors import StorageUnavailable
from router.domain.idempotency import KEPT_FOR_US, Claim, Earlier, KeptAnswer
from router.storage.database import Database
from router.storage.idempotency import SWEEP_ROWS, IdempotencyRows
from router.storage.instances import LIVE_FOR_US
from tests.contracts.processes import SigningProcess, StillClock

ANSWER = KeptAnswer(200, {"Content-Type": "application/json"}, b'{"text": "a secret answer"}')


class Process(SigningProcess):
    """One process with its view of the table; `clock` is shared by all of a test."""

    def __init__(self, db: Database, instance: str, clock: StillClock, key: bytes = b"k" * 32) -> None:
        super().__init__(db, instance, clock, key)
        self.rows = IdempotencyRows(db, instance, clock, self.cipher)


def claim(number: int = 1, name: str = "n", fingerprint: str = "f") -> Claim:
    return Claim(name, fingerprint, f"r{number}")


async def test_a_name_is_claimed_once_until_it_is_freed(db: Database) -> None:
    one = await Process(db, "a", StillClock()).lives()
    assert await one.rows.claim(claim(1)) is None
    assert await one.rows.claim(claim(2, fingerprint="other")) == Earlier("f", is_finished=False)
    assert await one.rows.claim(claim(3, name="m")) is None
    await one.rows.free(claim(2))
    assert await one.rows.claim(claim(4)) == Earlier("f", is_finished=False)
    await one.rows.free(claim(1))
    assert await one.rows.claim(claim(5)) is None


async def test_of_many_that_claim_at_once_one_has_it(db: Database) -> None:
    clock = StillClock()
    processes = [await Process(db, name, clock).lives() for name in ("a", "b", "c")]
    found = await asyncio.gather(*(processes[n % 3].rows.claim(claim(n)) for n in range(12)))
    assert found.count(None) == 1
    assert found.count(Earlier("f", is_finished=False)) == 11


async def test_a_kept_answer_is_found_by_every_process_and_is_unreadable_in_the_table(db: Database) -> None:
    clock = StillClock()
    one, other = await Process(db, "a", clock).lives(), await Process(db, "b", clock).lives()
    assert await one.rows.claim(claim(1)) is None
    await one.rows.keep(claim(1), ANSWER)
    assert await other.rows.claim(claim(2)) == Earlier("f", is_finished=True, answer=ANSWER)
    row = await db.one("SELECT answer FROM idempotency_keys")
    assert row is not None
    assert b"secret" not in bytes(row["answer"])
    await one.rows.free(claim(1))
    assert await one.rows.claim(claim(3)) == Earlier("f", is_finished=True, answer=ANSWER)


async def test_an_answer_too_large_leaves_the_fact_that_it_was_given(db: Database) -> None:
    one = await Process(db, "a", StillClock()).lives()
    assert await one.rows.claim(claim(1)) is None
    await one.rows.keep(claim(1), None)
    assert await one.rows.claim(claim(2)) == Earlier("f", is_finished=True)


async def test_an_answer_moved_to_another_name_or_sealed_with_another_secret_is_not_told(db: Database) -> None:
    clock = StillClock()
    one = await Process(db, "a", clock).lives()
    for number, name in enumerate("nm", 1):
        assert await one.rows.claim(claim(number, name=name)) is None
        await one.rows.keep(claim(number, name=name), ANSWER)
    stranger = Process(db, "b", clock, b"x" * 32)
    assert await stranger.rows.claim(claim(3)) == Earlier("f", is_finished=True)
    await db.run(
        "UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE name = 'm') WHERE name = 'n'"
    )
    assert await one.rows.claim(claim(4)) == Earlier("f", is_finished=True)
    await db.run("UPDATE idempotency_keys SET fingerprint = 'other' WHERE name = 'm'")
    assert await one.rows.claim(claim(5, name="m")) == Earlier("other", is_finished=True)


@pytest.mark.parametrize("end", ["leaves", "dies"])
async def test_what_a_process_that_is_gone_has_left_open_is_free(db: Database, end: str) -> None:
    clock = StillClock()
    one, other = await Process(db, "a", clock).lives(), await Process(db, "b", clock).lives()
    assert await one.rows.claim(claim(1)) is None
    clock.now += LIVE_FOR_US
    await other.lives()
    assert await other.rows.claim(claim(2)) == Earlier("f", is_finished=False)
    if end == "leaves":
        await one.leaves()
    else:
        clock.now += 1
    assert await other.rows.claim(claim(3)) is None
    await one.rows.keep(claim(1), ANSWER)
    await one.rows.free(claim(1))
    assert await other.rows.claim(claim(4)) == Earlier("f", is_finished=False)


async def test_what_a_process_that_is_gone_has_answered_stays(db: Database) -> None:
    clock = StillClock()
    one, other = await Process(db, "a", clock).lives(), await Process(db, "b", clock).lives()
    assert await one.rows.claim(claim(1)) is None
    await one.rows.keep(claim(1), ANSWER)
    await one.leaves()
    assert await other.rows.claim(claim(2)) == Earlier("f", is_finished=True, answer=ANSWER)


async def test_after_a_day_a_name_is_free_again(db: Database) -> None:
    clock = StillClock()
    one = await Process(db, "a", clock).lives()
    assert await one.rows.claim(claim(1)) is None
    clock.now += 1_000_000
    await one.rows.keep(claim(1), ANSWER)
    clock.now += KEPT_FOR_US - 1
    assert await one.rows.claim(claim(2)) == Earlier("f", is_finished=True, answer=ANSWER)
    clock.now += 1
    assert await one.rows.claim(claim(3, fingerprint="new")) is None
    assert await one.rows.claim(claim(4, fingerprint="new")) == Earlier("new", is_finished=False)


async def test_a_sweep_forgets_what_expired_and_what_the_dead_left_open(db: Database) -> None:
    clock = StillClock()
    one, dead = await Process(db, "a", clock).lives(), await Process(db, "d", clock).lives()
    for number in range(SWEEP_ROWS + 2):
        assert await one.rows.claim(claim(number, name=f"old{number}")) is None
        await one.rows.keep(claim(number, name=f"old{number}"), None)
    clock.now += KEPT_FOR_US - LIVE_FOR_US - 1
    await dead.lives()
    assert await dead.rows.claim(claim(1, name="left")) is None
    assert await one.rows.claim(claim(2, name="mine")) is None
    assert await one.rows.sweep() == 0
    clock.now += LIVE_FOR_US + 1
    assert await one.rows.sweep() == 1 + SWEEP_ROWS
    assert await one.rows.sweep() == 2
    assert [row["name"] for row in await db.all("SELECT name FROM idempotency_keys")] == ["mine"]


async def test_a_database_that_is_closed_says_so(db: Database) -> None:
    one = await Process(db, "a", StillClock()).lives()
    await db.close()
    with pytest.raises(StorageUnavailable):
        await one.rows.claim(claim())
