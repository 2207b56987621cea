"""Batched ledger writes: in order, nothing lost, nothing unbounded."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from router.domain.errors import StorageUnavailable
from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt
from router.domain.observations import Failure, LedgerFlushed, LedgerStalled
from router.jobs.flush import BATCH_DELAY_S, BATCH_ROWS, LedgerFlusher
from tests.gateway.fakes import CollectingObserver, FakeClock
from tests.telemetry.entries import entry


def numbered(*numbers: int) -> list[LedgerEntry]:
    return [entry(id=str(n)) for n in numbers]


class Store:
    """Keeps rows in the order they were first written; down for as many writes as `down` says; refuses rows in `poison`."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.batches: list[int] = []
        self.down = 0
        self.poison: set[str] = set()

    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        await asyncio.sleep(0)
        if self.down:
            self.down -= 1
            raise StorageUnavailable("database is locked")
        if self.poison & {e.id for e in entries}:
            raise OverflowError("int too large")
        self.batches.append(len(entries))
        self.rows += [e.id for e in entries if e.id not in self.rows]


class MemoryJournal:
    """Keeps what it is told; gives deferred entries back `at_once` at a time, unless it is `unreadable` so many times."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.let_go: list[str] = []
        self.put_by: list[LedgerEntry] = []
        self.is_accepting = True
        self.unreadable = 0
        self.at_once = 40

    def opened(self, line: OpenedAttempt) -> None:
        raise NotImplementedError

    def progressed(self, request: str, attempt: int, output_tokens: int) -> None:
        raise NotImplementedError

    def ended(self, request: str, attempt: AttemptEntry) -> None:
        raise NotImplementedError

    def finished(self, entries: Sequence[LedgerEntry]) -> None:
        self.kept += [entry.id for entry in entries]

    def flushed(self, entries: Sequence[LedgerEntry]) -> None:
        self.let_go += [entry.id for entry in entries]

    @property
    def fault(self) -> str:
        return "" if self.is_accepting else "the disk is full"

    def accepting(self) -> bool:
        return self.is_accepting

    @property
    def deferred(self) -> int:
        return len(self.put_by)

    def defer(self, entry: LedgerEntry) -> None:
        self.put_by.append(entry)

    async def reread(self) -> Sequence[LedgerEntry]:
        if self.unreadable:
            self.unreadable -= 1
            raise StorageUnavailable("usage cannot be recorded at the moment", hint="the journal cannot be read: EIO")
        some, self.put_by = self.put_by[: self.at_once], self.put_by[self.at_once :]
        return some


class HangingStore(Store):
    """Takes rows and never says so, once."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = 1

    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        await super().write_requests(entries)
        if self.hangs:
            self.hangs -= 1
            await asyncio.Event().wait()


class Waits:
    """Stands for waiting: notes how long, lets the clock run and other tasks too."""

    def __init__(self, clock: FakeClock, after: Callable[[], None] = lambda: None) -> None:
        self.clock = clock
        self.after = after
        self.asked: list[float] = []

    async def __call__(self, event: asyncio.Event, seconds: float) -> None:
        self.asked.append(seconds)
        await asyncio.sleep(0)
        if not event.is_set():
            self.clock.pass_(seconds)
        self.after()


class Desk:
    """A flusher with everything around it."""

    def __init__(self, store: Store | None = None, *, max_rows: int = 20_000, max_bytes: int = 2**26) -> None:
        self.store = store or Store()
        self.clock, self.observer = FakeClock(), CollectingObserver()
        self.waits, self.journal = Waits(self.clock), MemoryJournal()
        self.flusher = LedgerFlusher(
            self.store, self.journal, self.observer, self.clock, wait=self.waits, max_rows=max_rows, max_bytes=max_bytes
        )

    def record(self, *numbers: int) -> None:
        self.flusher.record(numbered(*numbers))

    async def run_until(self, is_done: Callable[[], bool]) -> None:
        """Run the flusher for as many turns of the loop as it takes, at most a thousand."""
        task = asyncio.get_running_loop().create_task(self.flusher.run())
        for _ in range(1000):
            if is_done():
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert is_done()


async def test_rows_leave_together_after_a_short_wait() -> None:
    desk = Desk()
    desk.record(1, 2, 3)
    await desk.run_until(lambda: desk.flusher.waiting == 0)
    assert (desk.store.rows, desk.store.batches, desk.waits.asked) == (["1", "2", "3"], [3], [BATCH_DELAY_S])
    (flushed,) = desk.observer.of(LedgerFlushed)
    assert (flushed.rows, flushed.waiting) == (3, 0)


async def test_an_idle_flusher_does_not_wake_up() -> None:
    desk = Desk()
    with pytest.raises(AssertionError):
        await desk.run_until(lambda: bool(desk.waits.asked))
    assert desk.store.batches == []


async def test_a_full_batch_does_not_wait() -> None:
    desk = Desk()
    started = desk.clock.monotonic()
    desk.record(*range(2 * BATCH_ROWS + 10))
    await desk.run_until(lambda: desk.flusher.waiting == 0)
    assert desk.store.batches == [BATCH_ROWS, BATCH_ROWS, 10]
    assert desk.clock.monotonic() - started == pytest.approx(BATCH_DELAY_S), "only the last ten, which fill no batch, wait"


async def test_a_batch_that_fills_up_while_waiting_ends_the_wait() -> None:
    store, clock = Store(), FakeClock()
    flusher = LedgerFlusher(store, MemoryJournal(), CollectingObserver(), clock)
    flusher.record([entry(id="0")])
    task = asyncio.get_running_loop().create_task(flusher.run())
    await asyncio.sleep(0)
    for one in numbered(*range(1, BATCH_ROWS)):
        flusher.record([one])
    async with asyncio.timeout(BATCH_DELAY_S / 2):
        while not store.batches:
            await asyncio.sleep(0)
    task.cancel()
    assert store.batches == [BATCH_ROWS]


async def test_an_outage_keeps_order_and_loses_nothing() -> None:
    desk = Desk()
    desk.store.down = 6
    desk.record(*range(700))
    arriving = iter(range(700, 760))
    desk.waits.after = lambda: desk.record(*[n for _, n in zip(range(10), arriving, strict=False)])
    await desk.run_until(lambda: desk.flusher.waiting == 0 and len(desk.store.rows) >= 760)
    assert desk.store.rows == [str(n) for n in range(760)]
    assert len(desk.observer.of(LedgerStalled)) == 6
    assert desk.observer.of(LedgerStalled)[0].waiting == 700
    assert desk.waits.asked[:6] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert desk.flusher.accepting()


async def test_an_entry_is_in_the_journal_before_the_database_and_leaves_it_after() -> None:
    desk = Desk()
    desk.store.down = 1
    desk.record(1, 2)
    assert desk.journal.kept == ["1", "2"]
    assert not await desk.flusher.tick()
    assert desk.journal.let_go == []
    assert await desk.flusher.tick()
    assert desk.journal.let_go == ["1", "2"]


async def test_the_journal_says_whether_requests_are_accepted() -> None:
    desk = Desk()
    desk.store.down = 1
    desk.record(1)
    await desk.flusher.tick()
    assert desk.flusher.accepting()
    desk.journal.is_accepting = False
    assert not desk.flusher.accepting()


async def test_what_memory_has_no_room_for_stays_in_the_journal_and_is_written_later() -> None:
    desk = Desk(max_rows=100)
    desk.store.down = 5
    desk.record(*range(300))
    assert (len(desk.flusher._queue), desk.journal.deferred, desk.flusher.waiting) == (100, 200, 300)
    await desk.run_until(lambda: desk.flusher.waiting == 0)
    assert sorted(desk.store.rows, key=int) == [str(n) for n in range(300)]
    assert sorted(desk.journal.let_go, key=int) == [str(n) for n in range(300)]
    assert desk.observer.of(LedgerStalled)[0].waiting == 300
    assert not desk.flusher._some.is_set()


async def test_memory_is_bounded_by_bytes_too() -> None:
    desk = Desk(max_bytes=100_000)
    large = entry(metadata="x" * 20_000)
    for _ in range(5):
        desk.flusher.record([large])
    assert (len(desk.flusher._queue), desk.journal.deferred) == (2, 3)
    assert await desk.flusher.drain(10) == 0
    assert desk.flusher._bytes == 0


async def test_a_journal_that_cannot_be_read_is_tried_again() -> None:
    desk = Desk(max_rows=10)
    desk.journal.unreadable = 2
    desk.record(*range(30))
    await desk.run_until(lambda: desk.flusher.waiting == 0)
    assert len(desk.store.rows) == 30
    assert [stalled.error for stalled in desk.observer.of(LedgerStalled)] == ["the journal cannot be read: EIO"] * 2


async def test_draining_counts_what_only_the_journal_has() -> None:
    desk = Desk(max_rows=10)
    desk.store.down = 10**6
    desk.record(*range(30))
    assert await desk.flusher.drain(1) == 30


async def test_a_row_the_database_cannot_hold_is_reported_and_does_not_hold_back_the_others() -> None:
    desk = Desk()
    desk.store.poison = {"2"}
    desk.record(1, 2, 3)
    assert await desk.flusher.tick()
    assert desk.store.rows == ["1", "3"]
    (failure,) = desk.observer.of(Failure)
    assert "ledger entry 2 left out: tenant demo, key k1, cost 1500000 nano-USD" in failure.where
    assert desk.journal.let_go == ["1", "2", "3"]


async def test_an_outage_amid_single_rows_repeats_them_all() -> None:
    desk = Desk()
    desk.store.poison = {"2"}
    desk.record(1, 2, 3)
    write = desk.store.write_requests

    class Flaky(Store):
        async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
            if [e.id for e in entries] == ["3"]:
                raise StorageUnavailable("gone")
            await write(entries)

    flusher = LedgerFlusher(Flaky(), MemoryJournal(), desk.observer, desk.clock)
    for one in numbered(1, 2, 3):
        flusher.record([one])
    assert not await flusher.tick()
    assert flusher.waiting == 3


async def test_a_cancelled_write_is_repeated_and_counts_once() -> None:
    desk = Desk(HangingStore())
    desk.record(1, 2)
    task = asyncio.get_running_loop().create_task(desk.flusher.tick())
    while not desk.store.rows:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    desk.record(3)
    assert desk.flusher.waiting == 3
    assert await desk.flusher.drain(10) == 0
    assert desk.store.rows == ["1", "2", "3"]


async def test_draining_writes_everything_through_a_short_outage() -> None:
    desk = Desk()
    desk.store.down = 3
    desk.record(*range(1200))
    assert await desk.flusher.drain(10) == 0
    assert desk.store.rows == [str(n) for n in range(1200)]


async def test_draining_gives_up_in_time_and_says_how_many_are_left() -> None:
    desk = Desk()
    desk.store.down = 10**6
    desk.record(1, 2, 3)
    started = desk.clock.monotonic()
    assert await desk.flusher.drain(10) == 3
    assert desk.clock.monotonic() - started == pytest.approx(10, abs=0.3)


async def test_draining_does_not_wait_for_a_store_that_hangs() -> None:
    desk = Desk(HangingStore())
    desk.record(1)
    assert await desk.flusher.drain(0.01) == 1


@pytest.mark.parametrize("rows", [0, 3])
async def test_draining_ends_the_run(rows: int) -> None:
    desk = Desk()
    task = asyncio.get_running_loop().create_task(desk.flusher.run())
    await asyncio.sleep(0)
    desk.record(*range(rows))
    assert await desk.flusher.drain(10) == 0
    async with asyncio.timeout(5):
        await task
    assert len(desk.store.rows) == rows
