"""The one thread beside the event loop that works on a journal's files, in the order it was asked to.

With `durability: power` it also makes durable what was written: one fsync for all turns of the loop that wait for it, and
nothing is removed before what replaces it has reached the disk.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

from router.storage.journal_disk import Disk
from router.storage.journal_home import Home
from router.storage.journal_segments import Segment

P = ParamSpec("P")
T = TypeVar("T")

Waiter = asyncio.Future[None]


def resolve(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


class DiskThread:
    """`failed` is called in the loop when something could not be made durable, with those who wait for it."""

    def __init__(
        self, home: Home, disk: Disk, failed: Callable[[OSError, Sequence[Waiter]], None], *, is_synced: bool
    ) -> None:
        self._home = home
        self._disk = disk
        self._failed = failed
        self._is_synced = is_synced
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._segment: Segment | None = None
        self._waiters: list[Waiter] = []
        self._is_syncing = False
        self._listed = 0
        self._lost: OSError | None = None

    def begin(self, segment: Segment) -> None:
        """A new start after a failure, or the first: everything that matters is or will be written to `segment`."""
        self._segment, self._lost = segment, None

    def written(self, segment: Segment, waiters: Sequence[Waiter]) -> None:
        """Lines stand in `segment`; those who wait for them may go on when they are as durable as was asked for."""
        if not self._is_synced:
            resolve(waiters)
            return
        self._segment = segment
        self._waiters += waiters
        if self._waiters and not self._is_syncing:
            self._commit()

    def retire(self, segment: Segment) -> None:
        """Nothing more will be written to `segment`."""
        if self._is_synced:
            self._pool.submit(self._retire, segment)
        else:
            self._close(segment)

    def remove(self, segments: Sequence[Segment]) -> None:
        current = self._segment
        job = self._loop.run_in_executor(self._pool, self._remove, current, segments)
        job.add_done_callback(self._removed)

    def pack(self, segment: Segment, packed: Callable[[Segment, int], None]) -> None:
        """Compress it; `packed(segment, size)` is called in the loop. On a full disk it stays as it is."""
        job = self._loop.run_in_executor(self._pool, partial(self._home.pack, segment, is_synced=self._is_synced))
        job.add_done_callback(partial(_report_packed, segment, packed))

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call `work` in the thread, after everything that was asked for before."""
        return self._loop.run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def stop(self) -> None:
        """Finish what was asked for."""
        await asyncio.to_thread(self._pool.shutdown)

    # -- in the loop ------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        waiters, self._waiters = self._waiters, []
        self._is_syncing = True
        job = self._loop.run_in_executor(self._pool, self._sync, self._segment)
        job.add_done_callback(partial(self._synced, waiters))

    def _synced(self, waiters: Sequence[Waiter], job: asyncio.Future[None]) -> None:
        self._is_syncing = False
        if isinstance(error := job.exception(), OSError):
            later, self._waiters = self._waiters, []
            self._failed(error, [*waiters, *later])
            return
        resolve(waiters)
        if self._waiters:
            self._commit()

    def _removed(self, job: asyncio.Future[None]) -> None:
        if isinstance(error := job.exception(), OSError):
            self._failed(error, ())

    # -- in the thread ----------------------------------------------------------------------------------------

    def _sync(self, segment: Segment | None) -> None:
        if self._lost is not None:
            raise self._lost
        if segment is None:
            return
        self._disk.sync(segment.descriptor)
        if segment.number != self._listed:
            self._disk.sync_folder(self._home.folder)
            self._listed = segment.number

    def _retire(self, segment: Segment) -> None:
        try:
            self._disk.sync(segment.descriptor)
        except OSError as error:
            self._lost = error
        self._close(segment)

    def _close(self, segment: Segment) -> None:
        with suppress(OSError):
            if segment.capacity:
                self._disk.cut(segment.descriptor, segment.size)
        with suppress(OSError):
            self._disk.close(segment.descriptor)

    def _remove(self, current: Segment | None, segments: Sequence[Segment]) -> None:
        if self._is_synced:
            self._sync(current)
        with suppress(OSError):  # what stays is adopted by a later process, which finds it in the database
            self._home.remove(segments)


def _report_packed(segment: Segment, packed: Callable[[Segment, int], None], job: asyncio.Future[int]) -> None:
    if job.exception() is None:
        packed(segment, job.result())
