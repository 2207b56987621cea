"""The journal of one process: what is about to be sent, and what it came to, on disk before anything can be lost.

All lines of one turn of the event loop go out in one write. When that fails nothing more is sent until the disk works
again; how requests under way end is written to a reserve that was set aside, or waits in memory.
"""

import asyncio
import errno
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import structs

from router.domain.errors import StorageUnavailable
from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt
from router.domain.observations import Notice
from router.domain.ports import Clock, Observer
from router.storage.journal_disk import Disk
from router.storage.journal_home import Home
from router.storage.journal_lines import Ended, Opened, Progressed, encoded, finished_lines
from router.storage.journal_replay import finished_in
from router.storage.journal_segments import Needs, Segment, Shelf, Story
from router.storage.journal_thread import DiskThread, Waiter

MESSAGE = "usage cannot be recorded at the moment"
MEBI = 2**20


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """`max_mb` bounds the folder (MiB). `is_synced` makes lines survive a power loss, not only the end of the process."""

    root: Path
    max_mb: int = 256
    is_synced: bool = False
    segment_bytes: int = 8 * MEBI
    segment_s: float = 60.0
    retry_s: float = 1.0

    @property
    def segment_limit(self) -> int:
        return min(self.segment_bytes, self.max_mb * MEBI // 8)

    @property
    def reserve_bytes(self) -> int:
        return min(4 * MEBI, self.max_mb * MEBI // 16)

    @property
    def limit(self) -> int:
        """Bytes of segments at which nothing new is accepted: room is left for the reserve, and as much for ends to come."""
        return self.max_mb * MEBI - 2 * self.reserve_bytes


class _Turn(msgspec.Struct):
    """What one turn of the loop writes, in the order in which it was said: who dies while writing leaves a beginning of it,
    and no opening may stand there without the end that made room for it.

    Of openings, in a list each: their lines, their requests, who waits for them. `ends` are the lines that must not be
    lost, `ended` the requests of which they are the last.
    """

    lines: list[bytes] = []
    openings: list[bytes] = []
    opened: list[Story] = []
    waiters: list[Waiter] = []
    ends: list[bytes] = []
    ended: list[Story] = []

    def only_ends(self) -> "_Turn":
        return _Turn(self.ends.copy(), ends=self.ends, ended=self.ended)

    def before(self, later: "_Turn") -> "_Turn":
        """Both in one; this one has no openings."""
        return structs.replace(
            later, lines=self.lines + later.lines, ends=self.ends + later.ends, ended=self.ended + later.ended
        )


class Journal:
    """Implements domain.ports.LedgerJournal. Use it from the event loop it was opened on."""

    def __init__(self, settings: JournalSettings, instance: str, clock: Clock, observer: Observer, disk: Disk) -> None:
        self.instance = instance
        self._settings = settings
        self._limit, self._segment_limit = settings.limit, settings.segment_limit
        self._clock = clock
        self._observer = observer
        self._disk = disk
        self._home = Home(settings.root, instance, settings.reserve_bytes, disk)
        self._thread = DiskThread(self._home, disk, self._not_durable, is_synced=settings.is_synced)
        self._loop = asyncio.get_running_loop()
        self._shelf = Shelf()
        self._needs = Needs()
        self._segment: Segment | None = None
        self._number = 0
        self._turn = _Turn()
        self._is_due = False
        self._fault = ""
        self._is_full = False
        self._is_closed = False

    @classmethod
    async def open(
        cls, settings: JournalSettings, instance: str, clock: Clock, observer: Observer, *, disk: Disk | None = None
    ) -> "Journal":
        """Never fails: where nothing can be written now, `fault` says why, and it is tried again every second.

        `instance` names the folder and must never have been used before.
        """
        journal = cls(settings, instance, clock, observer, disk or Disk())
        await asyncio.wait([journal._prepare()])
        return journal

    @property
    def fault(self) -> str:
        """Why nothing new is accepted, for the operator; "" while all is well."""
        if self._fault:
            return self._fault
        return f"the journal is full: its requests wait for the database; journal.max_mb is {self._settings.max_mb}" * (
            self._is_full
        )

    @property
    def root(self) -> Path:
        """The folder of all journals."""
        return self._settings.root

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return self._shelf.size

    # -- what the gateway says --------------------------------------------------------------------------------

    def accepting(self) -> bool:
        return not (self._fault or self._is_full)

    def opened(self, line: OpenedAttempt) -> Awaitable[None]:
        if self._fault or self._is_full:
            raise StorageUnavailable(MESSAGE, hint=self.fault)
        raw = encoded(Opened(line))
        # Each caller has a future of its own: cancelling one that waits must not cancel the others.
        waiter: Waiter = asyncio.Future(loop=self._loop)
        turn = self._turn
        turn.lines.append(raw)
        turn.openings.append(raw)
        turn.opened.append(self._needs.opened(line.request, raw))
        turn.waiters.append(waiter)
        if not self._is_due:
            self._flush_soon()
        return waiter

    def progressed(self, request: str, attempt: int, output_tokens: int) -> None:
        raw = encoded(Progressed(request, attempt, output_tokens, self._clock.now_us()))
        self._needs.progressed(request, attempt, raw)
        if not self._fault:
            self._turn.lines.append(raw)
            self._flush_soon()

    def ended(self, request: str, attempt: AttemptEntry) -> None:
        raw = encoded(Ended(request, attempt))
        self._needs.ended(request, attempt.attempt, raw)
        self._end([raw], ())

    def finished(self, entries: Sequence[LedgerEntry]) -> None:
        self._end(finished_lines(entries), self._needs.finished([entry.id for entry in entries]))

    def _end(self, raws: Sequence[bytes], ended: Sequence[Story]) -> None:
        turn = self._turn
        turn.lines += raws
        turn.ends += raws
        turn.ended += ended
        self._flush_soon()

    # -- what the ledger's queue says -------------------------------------------------------------------------

    def flushed(self, entries: Sequence[LedgerEntry]) -> None:
        self._needs.flushed([entry.id for entry in entries])
        self._tidy()

    @property
    def deferred(self) -> int:
        return self._needs.deferred

    def defer(self, entry: LedgerEntry) -> None:
        self._needs.defer(entry.id)

    async def reread(self) -> Sequence[LedgerEntry]:
        if not self._needs.deferred:
            return ()
        self._flush()
        segment = next((segment for segment in self._shelf if segment.deferred), None)
        try:
            if segment is self._segment and segment is not None and not self._fault:
                self._write(self._roll(), ())
            if segment is None or segment is self._segment:
                raise StorageUnavailable(MESSAGE, hint=self.fault)
            entries = await self._thread.start(finished_in, segment.path)
        except OSError as error:
            raise StorageUnavailable(MESSAGE, hint=f"the journal cannot be read: {error}") from error
        expected = segment.deferred
        new = set(self._needs.remembered(segment, [entry.id for entry in entries]))
        if len(new) < expected:
            self._tell("error", f"{expected - len(new)} finished requests in {segment.path.name} could not be read again")
        return [entry for entry in entries if entry.id in new]

    async def close(self, *, is_settled: bool) -> bool:
        """The last call. True if the folder is gone: everything is in the database, and so (`is_settled`) are the leases.

        Else it is left, unlocked, to be adopted.
        """
        self._flush()
        self._is_closed = True
        if self._segment is not None:
            self._thread.retire(self._segment)
        await self._thread.stop()
        is_needless = is_settled and self._needs.is_empty
        await asyncio.to_thread(self._home.close, is_needless=is_needless)
        return is_needless

    # -- writing ----------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        turn, self._turn = self._turn, _Turn()
        if self._fault or self._segment is None:
            self._rescue(turn)
            return
        segment = self._segment
        try:
            is_over = self._clock.monotonic() - segment.since > self._settings.segment_s
            carried = self._roll() if is_over or segment.size > self._segment_limit else ()
            self._write(carried, turn.lines)
        except OSError as error:
            self._break(error, turn)
            return
        self._commit(turn)

    def _write(self, carried: Sequence[Story], lines: Iterable[bytes]) -> None:
        """Everything of a turn in one write, or nothing and OSError."""
        segment = self._segment
        assert segment is not None, "written before it was prepared"
        content = b"".join([*[line for story in carried for line in story.carried()], *lines] if carried else lines)
        if not content:
            return
        size = len(content)
        if segment.capacity is not None and segment.size + size > segment.capacity:
            raise OSError(errno.ENOSPC, "the reserve is used up")
        try:
            self._disk.write(segment.descriptor, content)
        except OSError:
            self._undo(segment)
            raise
        self._shelf.grew(segment, size)
        if carried:
            self._needs.carried(carried, segment)

    def _undo(self, segment: Segment) -> None:
        """Some of a write may stand in the file: cut it off, or write nothing more behind it."""
        try:
            self._disk.cut(segment.descriptor, segment.size)
        except OSError:
            segment.capacity = 0

    def _commit(self, turn: _Turn) -> None:
        segment = self._segment
        assert segment is not None, "written before it was prepared"
        self._needs.written(turn.opened, turn.ended, segment)
        self._thread.written(segment, turn.waiters)
        self._watch_size()

    def _roll(self) -> Sequence[Story]:
        """Begin a new segment; what must be carried into it. Segments before the last two are carried out of."""
        self._number += 1
        segment = self._home.new_segment(self._number)
        previous = list(self._shelf)[-1:]
        self._begin(segment)
        oldest_kept = previous[0].number if previous else 0
        for old in self._shelf:
            if old.number < oldest_kept and not old.is_packed and (old.needs or old.deferred):
                old.is_packed = True
                self._thread.pack(old, self._packed)
        return self._needs.older_than(oldest_kept)

    def _begin(self, segment: Segment) -> None:
        if self._segment is not None:
            self._thread.retire(self._segment)
        segment.since = self._clock.monotonic()
        self._shelf.add(segment)
        self._segment = segment

    def _packed(self, segment: Segment, size: int) -> None:
        self._shelf.packed(segment, size)
        self._watch_size()

    def _tidy(self) -> None:
        if needless := self._shelf.take_needless():
            self._thread.remove(needless)
        self._watch_size()

    def _watch_size(self) -> None:
        is_full = self._shelf.size >= self._limit
        if is_full is self._is_full:
            return
        self._is_full = is_full
        if is_full:
            self._tell("error", self.fault)
        else:
            self._tell("info", "the journal has room again")

    # -- when the disk does not work --------------------------------------------------------------------------

    def _break(self, error: OSError, turn: _Turn) -> None:
        """Nothing of `turn` is written: whoever waits to send is refused, ends go to the reserve."""
        self._say_broken(error)
        self._rescue(turn)
        self._prepare_later()

    def _not_durable(self, error: OSError, waiters: Sequence[Waiter]) -> None:
        """An fsync has failed. What the kernel did with the lines is unknown: all that are open are written again."""
        self._refuse(waiters, f"the journal could not be made durable: {error}")
        if not self._fault:
            self._break(error, _Turn())

    def _say_broken(self, error: OSError) -> None:
        fault = f"the journal in {self._home.folder} cannot be written: {error.strerror or error}"
        if fault != self._fault:
            self._fault = fault
            self._tell("error", fault)

    def _refuse(self, waiters: Iterable[Waiter], reason: str) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(StorageUnavailable(MESSAGE, hint=reason))

    def _rescue(self, turn: _Turn) -> None:
        """Checkpoints are let go: the next one is as good. Ends are kept, on the reserve as long as it lasts."""
        for story, line in zip(turn.opened, turn.openings, strict=True):
            self._needs.refused(story, line)
        self._refuse(turn.waiters, self._fault)
        ends = turn.only_ends()
        if not ends.ends:
            return
        try:
            if self._segment is None or not self._segment.capacity:
                self._number += 1
                self._begin(self._home.take_reserve(self._number))
            self._write((), ends.lines)
        except OSError:
            self._turn = ends.before(self._turn)
            return
        self._commit(ends)

    def _prepare(self) -> asyncio.Future[Segment]:
        """Make everything ready, anew or for the first time. Again in a second if it fails."""
        self._number += 1
        job = self._thread.start(self._home.prepare, self._number)
        job.add_done_callback(self._prepared)
        return job

    def _prepare_later(self) -> None:
        self._loop.call_later(self._settings.retry_s, lambda: self._is_closed or self._prepare())

    def _prepared(self, job: asyncio.Future[Segment]) -> None:
        if isinstance(error := job.exception(), OSError):
            self._say_broken(error)
            self._prepare_later()
            return
        segment = job.result()
        self._begin(segment)
        self._thread.begin(segment)
        turn, self._turn = self._turn, _Turn()
        try:
            self._write(self._needs.older_than(segment.number), turn.lines)
        except OSError as failure:
            self._break(failure, turn)
            return
        if self._fault:
            self._fault = ""
            self._tell("info", "the journal can be written again")
        self._commit(turn)
        self._tidy()

    def _tell(self, level: str, text: str) -> None:
        self._observer.emit(Notice(level, "journal", text))
