"""A disk that is full, read-only or broken: nothing new is sent, nothing that was sent is lost, and it ends by itself."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from router.domain.errors import StorageUnavailable
from tests.storage.journals import Bench, die, ended, finished, opened, turns, until


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
async def test_an_attempt_that_cannot_be_written_is_refused_and_says_why(tmp_path: Path, number: int) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    bench.disk.broken = number
    with pytest.raises(StorageUnavailable) as refused:
        await journal.opened(opened("r1"))
    assert os.strerror(number) in refused.value.hint
    assert not journal.accepting()
    with pytest.raises(StorageUnavailable):
        journal.opened(opened("r2"))
    bench.disk.broken = None
    await until(journal.accepting)
    await journal.opened(opened("r3"))
    assert len(bench.notices()) == 2, "one line when it began and one when it ended"
    await die(journal)
    assert [*(await bench.adoption().tick()).instances, *bench.store.rows] == ["a1", "r3"]


async def test_on_a_full_disk_ends_go_to_the_reserve(tmp_path: Path) -> None:
    bench = Bench(tmp_path, retry_s=0.01)
    journal = await bench.open()
    for n in range(100):
        await journal.opened(opened(f"r{n}"))
    bench.disk.free = 300
    with pytest.raises(StorageUnavailable):
        await journal.opened(opened("new"))
    journal.ended("r0", ended())
    for n in range(1, 100):
        journal.finished([finished(f"r{n}")])
    await turns()
    assert "reserve" not in bench.files()
    await die(journal)
    report = await bench.adoption().tick()
    assert (report.requests, report.recovered, report.damaged) == (100, 1, 0)
    assert all(bench.store.rows[f"r{n}"] == finished(f"r{n}") for n in range(1, 100))
    assert bench.store.rows["r0"].attempts == (ended(),)


async def test_a_disk_with_space_again_is_used_again_with_a_new_reserve(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_bytes=4000, max_mb=1)
    journal = await bench.open()
    for n in range(20):
        await journal.opened(opened(f"r{n}"))
    for _ in range(3):
        bench.disk.free = 100
        with pytest.raises(StorageUnavailable):
            await journal.opened(opened("new"))
        journal.finished([finished("early")])
        await turns()
        assert "reserve" not in bench.files()
        bench.disk.free = 2**30
        await until(journal.accepting)
        assert "reserve" in bench.files()
    for n in range(20):
        journal.finished([finished(f"r{n}")])
    await turns()
    journal.flushed([finished("early"), *[finished(f"r{n}") for n in range(20)]])
    assert await journal.close(is_settled=True)


async def test_too_little_space_for_a_reserve_accepts_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.disk.free = 2**20
    journal = await bench.open()
    assert not journal.accepting()
    bench.disk.free = 2**30
    await until(journal.accepting)
    await die(journal)


async def test_when_even_the_reserve_is_broken_ends_wait_in_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    await journal.opened(opened("r2", stream=True))
    bench.disk.broken = errno.EIO
    journal.finished([finished("r1")])
    for n in range(1000):
        journal.progressed("r2", 1, n)
        await turns(1)
    assert not journal.accepting()
    assert len(journal._turn.ends) == len(journal._turn.ended) == 1
    assert len(journal._turn.lines) == 1, "checkpoints do not pile up"
    bench.disk.broken = None
    await until(journal.accepting)
    await die(journal)
    await bench.adoption().tick()
    assert bench.store.rows["r1"] == finished("r1")
    assert bench.store.rows["r2"].attempts[0].usage.output_tokens >= 999


async def test_a_reserve_that_is_used_up_leaves_the_rest_in_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_mb=1, retry_s=0.01)
    journal = await bench.open()
    for n in range(200):
        await journal.opened(opened(f"r{n}"))
    bench.disk.free = 0
    for n in range(200):
        journal.finished([finished(f"r{n}", metadata="x" * 500)])
        await turns()
    assert journal._turn.ends
    bench.disk.free = 2**30
    await until(journal.accepting)
    await die(journal)
    report = await bench.adoption().tick()
    assert (report.requests, report.recovered, report.damaged) == (200, 0, 0)


async def test_half_a_turn_on_a_full_disk_leaves_no_trace(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    bench.disk.free = 900
    waits = [journal.opened(opened(f"n{n}")) for n in range(4)]
    for wait in waits:
        with pytest.raises(StorageUnavailable):
            await wait
    await die(journal)
    report = await bench.adoption().tick()
    assert list(bench.store.rows) == ["r1"]
    assert report.damaged == 0


async def test_a_journal_that_cannot_begin_begins_later(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.write_text("a file where the folder should be")
    bench = Bench(root)
    journal = await bench.open()
    assert str(root) in journal.fault
    with pytest.raises(StorageUnavailable):
        journal.opened(opened("r1"))
    journal.finished([finished("r0")])
    await turns()
    root.unlink()
    await until(journal.accepting)
    journal.flushed([finished("r0")])
    assert await journal.close(is_settled=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("no file system may be mounted here")
    yield tmp_path
    # Lazily: a test that failed may have left a file open, and a mount left behind would trouble every later run.
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


async def test_a_really_full_disk_is_survived(small_disk: Path) -> None:
    bench = Bench(small_disk / "journal", max_mb=1, retry_s=0.01)
    journal = await bench.open()
    for n in range(50):
        await journal.opened(opened(f"r{n}"))
    filler = (small_disk / "filler").open("wb", buffering=0)
    while size := 2**20:
        try:
            while filler.write(b"x" * size):
                pass
        except OSError:
            break
    sent = 50
    with suppress(StorageUnavailable):
        while sent < 1000:
            await journal.opened(opened(f"r{sent}"))
            sent += 1
    assert sent < 1000
    for n in range(sent):
        journal.finished([finished(f"r{n}")])
    await turns()
    filler.close()
    (small_disk / "filler").unlink()
    await until(journal.accepting)
    await die(journal)
    report = await bench.adoption().tick()
    assert (report.requests, report.recovered, report.damaged) == (sent, 0, 0)


async def test_a_read_only_file_system_is_a_reason_and_no_crash(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    journal = await Bench(small_disk / "journal", max_mb=1).open()
    assert "Read-only file system" in journal.fault
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    await until(journal.accepting)
    assert await journal.close(is_settled=True)


async def test_a_failed_fsync_refuses_all_who_wait_and_what_is_open_is_written_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_synced=True)
    journal = await bench.open()
    await journal.opened(opened("r1"))
    bench.disk.sync_error = errno.EIO
    with pytest.raises(StorageUnavailable, match="usage cannot be recorded") as refused:
        await journal.opened(opened("r2"))
    assert "could not be made durable" in refused.value.hint
    bench.disk.sync_error = None
    await until(journal.accepting)
    await journal.opened(opened("r3"))
    await until(lambda: "00000001.journal" not in bench.files())
    await die(journal)
    await bench.adoption().tick()
    assert {"r1", "r3"} <= bench.store.rows.keys()


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from router.domain.errors import StorageUnavailable
from tests.storage.journals import Bench, finished, opened, until

async def main(root):
    bench = Bench(root, max_mb=4, segment_bytes=2**20)
    bench.disk = None
    journal = await bench.open()
    assert journal.accepting(), journal.fault
    sent = 0
    try:
        while True:
            await journal.opened(opened(f"r{sent}"))
            sent += 1
    except StorageUnavailable as refused:
        assert "File too large" in refused.hint, refused.hint
    for n in range(sent):
        journal.finished([finished(f"r{n}")])
        await asyncio.sleep(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(journal.accepting)
    print(sent, flush=True)
    signal.raise_signal(signal.SIGKILL)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_real_limit_on_file_sizes_is_survived(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=Path.cwd(),
        check=False,
    )
    assert ran.returncode == -9, ran.stderr
    bench = Bench(tmp_path)
    report = await bench.adoption().tick()
    assert report.damaged == 0
    assert report.requests == len(bench.store.rows) == int(ran.stdout) > 100
    assert report.recovered == 0
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
