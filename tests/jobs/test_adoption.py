"""What dead processes leave is taken over once and whole, however often and by however many it is tried."""

import asyncio
import os
from pathlib import Path

import pytest

from router.domain.errors import StorageUnavailable
from router.domain.ledger import AdoptionReport, Outcome
from router.domain.observations import Notice
from router.domain.ports import Estate
from router.jobs.adoption import INTERVAL_S, Adoption
from tests.storage.journals import Bench, die, ended, finished, opened, turns


async def leave(bench: Bench, instance: str = "a1", requests: int = 3) -> None:
    """A journal with `requests` finished and one open."""
    journal = await bench.open(instance)
    for n in range(requests):
        await journal.opened(opened(f"{instance}-{n}"))
        journal.finished([finished(f"{instance}-{n}")])
    await journal.opened(opened(f"{instance}-open"))
    journal.ended(f"{instance}-open", ended())
    await journal.opened(opened(f"{instance}-open", 2))
    await turns()
    await die(journal)


async def test_finished_requests_are_written_open_ones_recovered_and_leases_returned(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await leave(bench)
    assert await bench.adoption().tick() == AdoptionReport(("a1",), (), requests=4, recovered=1, damaged=0)
    assert {request: entry.outcome for request, entry in bench.store.rows.items()} == {
        "a1-0": Outcome.OK,
        "a1-1": Outcome.OK,
        "a1-2": Outcome.OK,
        "a1-open": Outcome.RECOVERED,
    }
    assert bench.returned == ["a1"]
    assert list(tmp_path.iterdir()) == []


async def test_the_living_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    mine, other = await bench.open("mine"), await bench.open("other")
    await other.opened(opened("r1"))
    assert await bench.adoption("mine").tick() == AdoptionReport()
    await die(other)
    assert (await bench.adoption("mine").tick()).instances == ("other",)
    assert bench.files("mine")
    await die(mine)


async def test_no_folder_and_an_empty_one_hold_nothing_to_adopt(tmp_path: Path) -> None:
    assert await Bench(tmp_path / "none").adoption().tick() == AdoptionReport()
    (tmp_path / "somebody's file").write_text("x")
    assert await Bench(tmp_path).adoption().tick() == AdoptionReport()
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's file"]


async def test_what_the_database_does_not_take_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await leave(bench)
    bench.store.down = 1
    report = await bench.adoption().tick()
    assert (report.instances, report.left) == ((), ("a1",))
    assert (bench.returned, bench.store.rows) == ([], {})
    assert (await bench.adoption().tick()).instances == ("a1",)
    assert len(bench.store.rows) == 4


async def test_leases_that_cannot_be_returned_keep_the_journal(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await leave(bench)
    adoption = bench.adoption()

    async def refuse(instance: str) -> None:
        raise StorageUnavailable("gone", hint=f"no budgets for {instance}")

    adoption._settled = refuse
    assert (await adoption.tick()).left == ("a1",)
    assert any("no budgets for a1" in text for text in bench.notices())
    assert (await bench.adoption().tick()).instances == ("a1",)
    assert (len(bench.store.rows), bench.returned) == (4, ["a1"])


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("at", ["write", "settled", *range(4)])
async def test_an_adoption_killed_anywhere_is_completed_by_the_next(tmp_path: Path, at: str | int) -> None:
    bench = Bench(tmp_path)
    await leave(bench, requests=1200)
    before = dict(bench.store.rows)
    adoption = bench.adoption()
    write = bench.store.write_requests
    if at == "write":

        async def killed_write(entries: object) -> None:
            await write(entries)  # type: ignore[arg-type]  # whatever it was given
            raise Killed

        bench.store.write_requests = killed_write  # type: ignore[method-assign]  # one object, once
    if at == "settled":

        async def killed(instance: str) -> None:
            raise Killed

        adoption._settled = killed
    if isinstance(at, int):
        order = ["reserve", "00000001.journal", "lock"]
        for name in order[:at]:
            (tmp_path / "a1" / name).unlink()
    else:
        with pytest.raises(Killed):
            await adoption.tick()
    bench.store.write_requests = write  # type: ignore[method-assign]  # as it was
    await bench.adoption().tick()
    assert list(tmp_path.iterdir()) == []
    assert before == {}
    if not isinstance(at, int) or at < 2:
        assert len(bench.store.rows) == 1201
        assert sum(entry.outcome is Outcome.RECOVERED for entry in bench.store.rows.values()) == 1


async def test_of_two_who_adopt_at_once_one_wins(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for n in range(20):
        await leave(bench, f"a{n}")
    reports = await asyncio.gather(*[bench.adoption().tick() for _ in range(4)])
    assert sorted(instance for report in reports for instance in report.instances) == sorted(f"a{n}" for n in range(20))
    assert sorted(bench.returned) == sorted(f"a{n}" for n in range(20))
    assert sum(report.requests for report in reports) == len(bench.store.rows) == 80
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_journal_gives_what_can_be_read_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await leave(bench)
    path = tmp_path / "a1" / "00000001.journal"
    path.write_bytes(path.read_bytes().replace(b'["f",["a1-1"', b'["f",["a1-X"'))
    assert (await bench.adoption().tick()).damaged == 1
    assert bench.store.rows["a1-1"].outcome is Outcome.RECOVERED
    assert [seen.level for seen in bench.observer.of(Notice)] == ["error"]


async def test_a_folder_that_never_got_its_name_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".a1.new").mkdir()
    (tmp_path / ".a2.new").mkdir()
    (tmp_path / ".a2.new" / "lock").touch()
    assert await Bench(tmp_path).adoption().tick() == AdoptionReport()
    assert list(tmp_path.iterdir()) == []


async def test_it_looks_at_once_and_every_ten_seconds() -> None:
    looked, slept = 0, list[float]()
    bench = Bench(Path(os.devnull))

    def find() -> list[Estate]:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise OSError(5, "Input/output error")
        return []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise Killed

    async def settled(instance: str) -> None:
        raise AssertionError(instance)

    with pytest.raises(Killed):
        await Adoption(find, bench.store, settled, bench.observer, sleep=sleep).run()
    assert (looked, slept) == (3, [INTERVAL_S] * 3)
    assert len(bench.notices()) == 1
