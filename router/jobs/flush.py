"""Finished requests on their way to the database: journaled, queued in memory, written in batches until it takes them.

The queue is bounded: what comes while it is full stays in the journal, and is read again when the queue has room.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from router.domain.errors import StorageUnavailable
from router.domain.ledger import LedgerEntry
from router.domain.observations import LedgerFlushed, LedgerStalled
from router.domain.ports import Clock, LedgerJournal, LedgerStore, Observer
from router.jobs.ledger_batches import LedgerBatches

BATCH_ROWS = 500
BATCH_DELAY_S = 0.2
MAX_ROWS = 20_000
MAX_BYTES = 64 * 2**20

_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 5.0
_ENTRY_BYTES = 3072
"""About how much memory an entry keeps, but for its longer texts."""

Wait = Callable[[asyncio.Event, float], Awaitable[None]]
"""Wait for the event, but not longer than so many seconds."""


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class LedgerFlusher:
    """Implements domain.ports.Ledger over a LedgerStore that may be slow or gone for a while.

    The journal makes an entry durable; it forgets it when the store has it. `accepting` is the journal's word, and `record`
    always takes. An entry leaves the queue after it has been written, never before, so a cancelled write is repeated, and
    the store ignores what it already has.
    """

    def __init__(
        self,
        store: LedgerStore,
        journal: LedgerJournal,
        observer: Observer,
        clock: Clock,
        *,
        wait: Wait = wait_for,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._batches = LedgerBatches(store, observer)
        self._journal = journal
        self._observer = observer
        self._clock = clock
        self._wait = wait
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._queue: deque[LedgerEntry] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._failed_in_a_row = 0
        self._some = asyncio.Event()
        self._batch_full = asyncio.Event()
        self._draining = asyncio.Event()
        self._writing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Entries recorded and not yet in the store, in memory or in the journal alone."""
        return len(self._queue) + self._journal.deferred

    @property
    def fault(self) -> str:
        return self._journal.fault

    def accepting(self) -> bool:
        return self._journal.accepting()

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        """Never raises."""
        self._journal.finished(entries)
        room = max(self._max_rows - len(self._queue), 0) if self._bytes < self._max_bytes else 0
        self._enqueue(entries[:room])
        for entry in entries[room:]:
            self._journal.defer(entry)

    def _enqueue(self, entries: Sequence[LedgerEntry]) -> None:
        sizes = [_ENTRY_BYTES + 4 * (len(e.metadata) + len(e.facets) + len(e.user) + len(e.health)) for e in entries]
        self._queue.extend(entries)
        self._sizes.extend(sizes)
        self._bytes += sum(sizes)
        self._some.set()
        if len(self._queue) >= BATCH_ROWS:
            self._batch_full.set()

    async def run(self) -> None:
        """Write what is recorded, 200 ms or 500 rows after it came, until cancelled or drained."""
        while True:
            await self._some.wait()
            if self._draining.is_set():
                return
            if self._failed_in_a_row:
                await self._wait(self._draining, self._retry_delay_s())
            elif len(self._queue) < BATCH_ROWS:
                await self._wait(self._batch_full, BATCH_DELAY_S)
            await self.tick()

    async def tick(self) -> bool:
        """Write one batch; False if the store did not take it. Nothing to write is no failure."""
        async with self._writing:
            try:
                if len(self._queue) < BATCH_ROWS and self._journal.deferred:
                    self._enqueue(await self._journal.reread())
                batch = list(islice(self._queue, BATCH_ROWS))
                began = self._clock.monotonic()
                if batch:
                    await self._batches.write(batch)
            except StorageUnavailable as error:
                self._failed_in_a_row += 1
                self._observer.emit(LedgerStalled(waiting=self.waiting, error=error.hint or str(error)))
                return False
            self._failed_in_a_row = 0
            self._forget(batch)
            if batch:
                took_us = int((self._clock.monotonic() - began) * 1e6)
                self._observer.emit(LedgerFlushed(rows=len(batch), waiting=self.waiting, duration_us=took_us))
            return True

    async def drain(self, timeout_s: float) -> int:
        """Write everything now, for the end of the process; returns how many entries could not be written in time.

        Those stay in the journal. Ends `run`. Call it when no request is left that could record.
        """
        self._draining.set()
        self._some.set()
        deadline = self._clock.monotonic() + timeout_s
        while self.waiting and (left_s := deadline - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    is_written = await self.tick()
            except TimeoutError:
                break
            if not is_written:
                await self._wait(asyncio.Event(), min(_FIRST_RETRY_S, left_s))
        return self.waiting

    def _forget(self, batch: Sequence[LedgerEntry]) -> None:
        for _ in batch:
            self._queue.popleft()
            self._bytes -= self._sizes.popleft()
        if len(self._queue) < BATCH_ROWS:
            self._batch_full.clear()
        self._journal.flushed(batch)
        if not self.waiting:
            self._some.clear()

    def _retry_delay_s(self) -> float:
        return min(_FIRST_RETRY_S * 2.0 ** min(self._failed_in_a_row - 1, 10), _LAST_RETRY_S)
