"""A journal writes before anything is sent, keeps what is needed, and lets go of the rest."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from router.domain.errors import StorageUnavailable
from router.storage.journal import Journal
from router.storage.journal_disk import lock
from tests.storage.journals import Bench, die, ended, finished, opened, segments, turns, until

MANY = "x" * 900


def lines_in(root: Path) -> list[bytes]:
    return [line for path in segments(root) for line in path.read_bytes().splitlines()]


async def test_a_line_is_on_disk_before_the_wait_for_it_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    assert [line[:6] for line in lines_in(tmp_path / "a1")] == [b'["j",2', b'["o",[']
    assert await journal.close(is_settled=True) is False


async def test_all_lines_of_a_turn_go_out_in_one_write(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    bench.disk.writes.clear()
    waits = [journal.opened(opened(f"r{n}")) for n in range(50)]
    journal.progressed("r1", 1, 10)
    journal.ended("r2", ended())
    journal.finished([finished("r3")])
    await asyncio.gather(*waits)
    assert len(bench.disk.writes) == 1
    assert len(lines_in(tmp_path / "a1")) == 1 + 53
    await die(journal)


async def test_who_stops_waiting_does_not_take_the_others_along(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()

    async def send(request: str) -> str:
        await journal.opened(opened(request))
        return request

    tasks = [asyncio.get_running_loop().create_task(send(f"r{n}")) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert [r if isinstance(r, str) else type(r) for r in await asyncio.gather(*tasks, return_exceptions=True)] == [
        "r0",
        asyncio.CancelledError,
        "r2",
    ]
    await die(journal)


async def test_short_writes_are_completed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    bench.disk.at_most = 7
    await journal.opened(opened("r1"))
    journal.finished([finished("r1")])
    await turns()
    await die(journal)
    assert (await bench.adoption().tick()).damaged == 0
    assert bench.store.rows == {"r1": finished("r1")}


async def test_only_this_user_may_look(tmp_path: Path) -> None:
    journal = await Bench(tmp_path / "data" / "journal").open()
    folder = tmp_path / "data" / "journal" / "a1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    await die(journal)


async def test_the_lock_is_held_as_long_as_the_journal_is_open(tmp_path: Path) -> None:
    journal = await Bench(tmp_path).open()
    assert await asyncio.to_thread(lock, tmp_path / "a1" / "lock") is None
    assert (tmp_path / "a1" / "lock").read_text() == f"{os.getpid()}\n"
    await die(journal)
    descriptor = await asyncio.to_thread(lock, tmp_path / "a1" / "lock")
    assert descriptor is not None
    os.close(descriptor)


async def test_nothing_is_left_when_all_is_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    journal.finished([finished("r1")])
    journal.flushed([finished("r1")])
    assert await journal.close(is_settled=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("is_flushed", "is_settled"), [(False, True), (True, False)])
async def test_what_is_not_settled_is_left_for_adoption(tmp_path: Path, *, is_flushed: bool, is_settled: bool) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    journal.finished([finished("r1")])
    if is_flushed:
        journal.flushed([finished("r1")])
    assert not await journal.close(is_settled=is_settled)
    report = await bench.adoption().tick()
    assert (report.instances, report.requests, report.recovered) == (("a1",), 1, 0)
    assert bench.returned == ["a1"]
    assert list(tmp_path.iterdir()) == []


# -- segments ---------------------------------------------------------------------------------------------------------


async def write_and_flush(journal: Journal, *requests: str) -> None:
    for request in requests:
        await journal.opened(opened(request))
        journal.finished([finished(request, metadata=MANY)])
        await turns()
        journal.flushed([finished(request)])


async def test_a_segment_ends_by_size_and_goes_when_nobody_needs_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_bytes=1000)
    journal = await bench.open()
    await write_and_flush(journal, *[f"r{n}" for n in range(20)])
    await until(lambda: len(segments(tmp_path / "a1")) == 1)
    assert segments(tmp_path / "a1")[0].name > "00000010"
    assert journal.size < 4000
    await journal.close(is_settled=True)


async def test_a_segment_ends_by_age(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    bench.clock.pass_(61)
    await journal.opened(opened("r2"))
    assert len(segments(tmp_path / "a1")) == 2
    await die(journal)


async def test_what_stays_open_is_carried_along_and_holds_no_old_segment(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_bytes=1000)
    journal = await bench.open()
    await journal.opened(opened("long", stream=True))
    journal.ended("long", ended(1))
    await journal.opened(opened("long", 2, stream=True))
    for n in range(30):
        bench.clock.pass_(1)
        journal.progressed("long", 2, 100 * n)
        await write_and_flush(journal, f"r{n}")
    await until(lambda: len(segments(tmp_path / "a1")) <= 3)
    await die(journal)
    await bench.adoption().tick()
    long = bench.store.rows["long"]
    assert long.attempts[0] == ended(1)
    assert long.attempts[1].usage.output_tokens == 2900 + 100, "the last checkpoint and a second at the rate before it"


async def test_what_the_database_does_not_take_is_packed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_bytes=20_000)
    journal = await bench.open()
    for n in range(200):
        await journal.opened(opened(f"r{n}"))
        journal.finished([finished(f"r{n}", metadata=MANY)])
    await until(lambda: sum(name.endswith(".journal") for name in bench.files()) == 2)
    await until(lambda: journal.size == sum(path.stat().st_size for path in segments(tmp_path / "a1")))
    assert journal.size < 200 * 1600 / 3
    await die(journal)
    await bench.adoption().tick()
    assert len(bench.store.rows) == 200
    assert {entry.outcome.value for entry in bench.store.rows.values()} == {"ok"}


async def test_a_full_journal_refuses_what_is_new_and_takes_how_the_rest_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_mb=1)
    journal = await bench.open()
    inside = [f"r{n}" for n in range(20)]
    for request in inside:
        await journal.opened(opened(request))
    noise = iter(range(10**6))
    while journal.accepting():
        request = f"n{next(noise)}"
        await journal.opened(opened(request))
        journal.finished([finished(request, metadata=os.urandom(5000).hex())])
        await turns()
        if not journal.accepting():
            await journal._thread.start(lambda: None)  # after what is being packed
            await turns()
    assert "journal.max_mb is 1" in journal.fault
    with pytest.raises(StorageUnavailable) as refused:
        journal.opened(opened("new"))
    assert refused.value.hint == journal.fault
    for request in inside:
        journal.finished([finished(request)])
    await turns()
    assert sum(path.stat().st_size for path in (tmp_path / "a1").iterdir()) <= 2**20
    journal.flushed([finished(f"n{n}") for n in range(next(noise))])
    journal.flushed([finished(request) for request in inside])
    assert journal.accepting()
    assert journal.fault == ""
    await journal.opened(opened("new"))
    assert [text.split(":")[0] for text in bench.notices()][-2:] == ["the journal is full", "the journal has room again"]
    await die(journal)


# -- what memory has no room for --------------------------------------------------------------------------------------


async def test_deferred_requests_are_read_again_the_oldest_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_bytes=3000)
    journal = await bench.open()
    for n in range(30):
        await journal.opened(opened(f"r{n}"))
        journal.finished([finished(f"r{n}")])
        if n >= 5:
            journal.defer(finished(f"r{n}"))
    await turns()
    assert journal.deferred == 25
    journal.flushed([finished(f"r{n}") for n in range(5)])
    seen: list[str] = []
    while journal.deferred:
        entries = await journal.reread()
        seen += [entry.id for entry in entries]
        journal.flushed(entries)
    assert [request for request in seen if int(request[1:]) >= 5] == [f"r{n}" for n in range(5, 30)]
    assert await journal.close(is_settled=True)


async def test_a_request_somebody_remembers_is_not_read_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    journal.finished([finished("r1")])
    journal.finished([finished("r2")])
    journal.defer(finished("r2"))
    await turns()
    assert [entry.id for entry in await journal.reread()] == ["r2"]
    assert (journal.deferred, await journal.reread()) == (0, ())
    await die(journal)


async def test_a_deferred_request_survives_the_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    journal.finished([finished("r1")])
    journal.defer(finished("r1"))
    assert not await journal.close(is_settled=True)
    await bench.adoption().tick()
    assert bench.store.rows == {"r1": finished("r1")}


# -- durability: power ------------------------------------------------------------------------------------------------


async def test_many_turns_share_one_fsync(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_synced=True)
    journal = await bench.open()
    bench.disk.writes.clear()
    tasks = []
    for n in range(200):
        tasks.append(asyncio.ensure_future(journal.opened(opened(f"r{n}"))))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert len(bench.disk.writes) >= 100
    assert 1 <= bench.disk.syncs < len(bench.disk.writes) / 2
    await die(journal)


async def test_without_power_nothing_is_synced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_bytes=1000)
    journal = await bench.open()
    await write_and_flush(journal, *[f"r{n}" for n in range(20)])
    await journal.close(is_settled=True)
    assert bench.disk.syncs == 0


async def test_with_power_nothing_goes_before_what_replaces_it_is_on_the_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_synced=True, segment_bytes=1000, retry_s=10)
    journal = await bench.open()
    await write_and_flush(journal, "r0")
    bench.disk.sync_error = 5
    for n in range(1, 5):
        if journal.accepting():
            waiting = asyncio.ensure_future(journal.opened(opened(f"r{n}")))
            await asyncio.wait([waiting])
            assert isinstance(waiting.exception(), StorageUnavailable)
        journal.finished([finished(f"r{n}", metadata=MANY)])
        journal.flushed([finished(f"r{n}")])
    assert "00000001.journal" in bench.files()
    await die(journal)
    assert any(line.startswith(b'["f",["r0"') for line in lines_in(tmp_path / "a1"))
