"""What the journal's tests share: lines to write, a ledger that remembers, disks that fail to order."""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from router.domain.budgets import Posting
from router.domain.errors import StorageUnavailable
from router.domain.ledger import AttemptEntry, AttemptTerms, LedgerEntry, OpenedAttempt, Outcome, encoded_terms
from router.domain.ports import Observer
from router.domain.usage import NanoUSD
from router.jobs.adoption import Adoption
from router.storage.journal import Journal, JournalSettings
from router.storage.journal_disk import Disk
from router.storage.journal_estates import find_estates
from tests.gateway.fakes import CollectingObserver, FakeClock
from tests.telemetry.entries import ATTEMPT, ENTRY

POSTINGS = (Posting("key:k1", "month 2025-06", True), Posting("tenant:t1", "month 2025-06", False))
TERMS = AttemptTerms(
    tenant_id="t1",
    tenant="demo",
    key_id="k1",
    key="demo-key",
    member="",
    api="chat",
    alias="gpt",
    requested_model="gpt",
    provider="openai",
    target="openai/gpt-5-mini",
    upstream_model="gpt-5-mini",
    credential="key-1",
    fingerprint="ab" * 32,
    price_input=250_000_000,
    price_output=2_000_000_000,
    price_known=True,
    postings=POSTINGS,
)
OPENED = OpenedAttempt(
    request="r1",
    attempt=1,
    at=1_750_000_000_000_000,
    request_id="req-1",
    stream=False,
    held=NanoUSD(5_000_000),
    input_tokens=100,
    encoded_terms=encoded_terms(TERMS),
)


def opened(request: str, attempt: int = 1, terms: AttemptTerms = TERMS, **changes: Any) -> OpenedAttempt:
    return replace(OPENED, request=request, attempt=attempt, encoded_terms=encoded_terms(terms), **changes)


def ended(attempt: int = 1, **changes: Any) -> AttemptEntry:
    return replace(ATTEMPT, attempt=attempt, outcome=Outcome.SERVER_ERROR, postings=POSTINGS, **changes)


def finished(request: str, *attempts: int, **changes: Any) -> LedgerEntry:
    entries = tuple(replace(ATTEMPT, attempt=n, postings=POSTINGS) for n in attempts or (1,))
    return replace(ENTRY, id=request, attempts=entries, **changes)


class InsertOnce:
    """A ledger store: rows that exist stay as they are. `down` is how many writes are refused first."""

    def __init__(self) -> None:
        self.rows: dict[str, LedgerEntry] = {}
        self.down = 0
        self.writes = 0

    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        await asyncio.sleep(0)
        self.writes += 1
        if self.down:
            self.down -= 1
            raise StorageUnavailable("gone")
        for entry in entries:
            self.rows.setdefault(entry.id, entry)


class FailingDisk(Disk):
    """`free` bytes may still be written; `broken` is raised by everything that writes; `at_most` makes writes short."""

    def __init__(self) -> None:
        self.free = 2**40
        self.broken: int | None = None
        self.at_most = 2**40
        self.writes: list[int] = []
        self.syncs = 0
        self.sync_error: int | None = None
        self.reserved: set[int] = set()

    def _check(self) -> None:
        if self.broken is not None:
            raise OSError(self.broken, os.strerror(self.broken))

    def create(self, path: Path) -> int:
        self._check()
        return super().create(path)

    def reopen(self, path: Path) -> int:
        descriptor = super().reopen(path)
        self.reserved.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.reserved.discard(descriptor)
        super().close(descriptor)

    def write_some(self, descriptor: int, content: bytes) -> int:
        self._check()
        room = 2**40 if descriptor in self.reserved else max(self.free, 0)  # two threads take of it
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write_some(descriptor, content[: min(room, self.at_most)])
        self.writes.append(written)
        if descriptor not in self.reserved:
            self.free -= written
        return written

    def allocate(self, path: Path, size: int) -> None:
        self._check()
        if size > self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(path, size)

    def rename(self, path: Path, new: Path) -> None:
        self._check()
        super().rename(path, new)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        super().sync(descriptor)


class Bench:
    """A journal with everything around it, and the ledger its lines end in."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.settings = JournalSettings(root, **{"retry_s": 0.001} | settings)
        self.clock, self.observer, self.disk, self.store = FakeClock(), CollectingObserver(), FailingDisk(), InsertOnce()
        self.returned: list[str] = []

    async def open(self, instance: str = "a1") -> Journal:
        return await Journal.open(self.settings, instance, self.clock, self.observer, disk=self.disk)

    def adoption(self, own: str = "", observer: Observer | None = None) -> Adoption:
        async def settled(instance: str) -> None:
            self.returned.append(instance)

        return Adoption(lambda: find_estates(self.root, own), self.store, settled, observer or self.observer)

    def files(self, instance: str = "a1") -> list[str]:
        return sorted(path.name for path in (self.root / instance).iterdir())

    def notices(self) -> list[str]:
        return [seen.message for seen in self.observer.seen if hasattr(seen, "message")]


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".journal", ".packed"))


async def die(journal: Journal) -> None:
    """As `kill -9`: nothing more is written, and the lock is free."""
    journal._is_closed = True
    await journal._thread.stop()
    if journal._segment is not None:
        os.close(journal._segment.descriptor)
    if journal._home._lock is not None:
        os.close(journal._home._lock)
        journal._home._lock = None


async def until(is_so: Callable[[], object]) -> None:
    """Let the loop and the threads work until it is so."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.001)


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
