"""Finished requests on their way to the database: queued in memory, written in order, in batches, until it takes them."""

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from router.domain.errors import StorageUnavailable
from router.domain.ledger import LedgerEntry
from router.domain.observations import Failure, LedgerFlushed, LedgerStalled
from router.domain.ports import Clock, LedgerStore, Observer

BATCH_ROWS = 500
BATCH_DELAY_S = 0.2
MAX_ROWS = 20_000
MAX_BYTES = 64 * 2**20

_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 5.0
_ENTRY_BYTES = 2048
_ATTEMPT_BYTES = 512

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

    `accepting` turns False at half of `max_rows` or `max_bytes` while the store is failing, and at the whole of either
    in any case; `record` refuses at the whole. The upper half is for requests that were in flight when the door closed.
    What is queued is lost with the process: only the store makes it durable. An entry leaves the queue after it has been
    written, never before, so a cancelled write is repeated, and the store ignores what it already has.
    """

    def __init__(
        self,
        store: LedgerStore,
        observer: Observer,
        clock: Clock,
        *,
        wait: Wait = wait_for,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._store = store
        self._observer = observer
        self._clock = clock
        self._wait = wait
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._queue: deque[LedgerEntry] = deque()
        self._bytes = 0
        self._failed_in_a_row = 0
        self._some = asyncio.Event()
        self._batch_full = asyncio.Event()
        self._draining = asyncio.Event()
        self._writing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Entries recorded and not yet written."""
        return len(self._queue)

    def accepting(self) -> bool:
        share = 2 if self._failed_in_a_row else 1
        return len(self._queue) * share < self._max_rows and self._bytes * share < self._max_bytes

    def record(self, entry: LedgerEntry) -> None:
        queue = self._queue
        if len(queue) >= self._max_rows or self._bytes >= self._max_bytes:
            raise StorageUnavailable(
                "usage cannot be recorded at the moment",
                hint=f"{len(queue)} finished requests wait for the database, which does not take them",
            )
        if not queue:
            self._some.set()
        queue.append(entry)
        self._bytes += _size(entry)
        if len(queue) == BATCH_ROWS:
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
        """Write one batch, oldest first; False if the store did not take it. Nothing to write is no failure."""
        async with self._writing:
            batch = list(islice(self._queue, BATCH_ROWS))
            if not batch:
                return True
            began = self._clock.monotonic()
            try:
                await self._write(batch)
            except StorageUnavailable as error:
                self._failed_in_a_row += 1
                self._observer.emit(LedgerStalled(waiting=len(self._queue), error=str(error)))
                return False
            self._failed_in_a_row = 0
            self._forget(batch)
            took_us = int((self._clock.monotonic() - began) * 1e6)
            self._observer.emit(LedgerFlushed(rows=len(batch), waiting=len(self._queue), duration_us=took_us))
            return True

    async def drain(self, timeout_s: float) -> int:
        """Write everything now, for the end of the process; returns how many entries could not be written in time.

        Ends `run`. Call it when no request is left that could record.
        """
        self._draining.set()
        self._some.set()
        deadline = self._clock.monotonic() + timeout_s
        while self._queue and (left_s := deadline - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    is_written = await self.tick()
            except TimeoutError:
                break
            if not is_written:
                await self._wait(asyncio.Event(), min(_FIRST_RETRY_S, left_s))
        return len(self._queue)

    async def _write(self, batch: Sequence[LedgerEntry]) -> None:
        """A batch the store chokes on is written one by one, so that one impossible row cannot hold back all others."""
        try:
            await self._store.write_requests(batch)
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001  a fault of the row or of ours, not an outage: repeating it would not help
            for entry in batch:
                await self._write_alone(entry)

    async def _write_alone(self, entry: LedgerEntry) -> None:
        try:
            await self._store.write_requests([entry])
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001  reported with what is needed to bill it by hand, then left out
            lost = f"ledger entry {entry.id} left out: tenant {entry.tenant}, key {entry.key_id}, cost {entry.cost} nano-USD"
            self._observer.emit(Failure(entry.request_id, lost, traceback.format_exc()))

    def _forget(self, batch: Sequence[LedgerEntry]) -> None:
        for entry in batch:
            self._queue.popleft()
            self._bytes -= _size(entry)
        if len(self._queue) < BATCH_ROWS:
            self._batch_full.clear()
        if not self._queue:
            self._some.clear()

    def _retry_delay_s(self) -> float:
        return min(_FIRST_RETRY_S * 2.0 ** min(self._failed_in_a_row - 1, 10), _LAST_RETRY_S)


def _size(entry: LedgerEntry) -> int:
    """About how much memory an entry keeps; the same for the same entry every time."""
    texts = len(entry.metadata) + len(entry.facets) + len(entry.user) + len(entry.health)
    return _ENTRY_BYTES + _ATTEMPT_BYTES * len(entry.attempts) + 4 * texts
