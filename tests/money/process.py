"""One routerd process of the model: the real journal, purses, ledger queue, adoption and gateway, killable at any step."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from typing import Any, cast

from router.app.money import Money
from router.domain.ledger import AdoptionReport
from router.domain.observations import Failure, Observation
from router.domain.routes import Alias
from router.gateway.generation import Generation
from router.gateway.health import Health
from router.gateway.pipeline import Gateway, World
from router.providers.registry import bind
from router.server.errors import status_of
from router.storage.database import Database
from router.storage.journal import Journal, JournalSettings
from router.storage.journal_estates import Estate, find_estates
from router.system import SystemTasks
from tests.gateway.fakes import CountingIds, OpenLimiter, snapshot
from tests.money.loop import OWNER, Pool, VirtualLoop
from tests.money.provider import ModelTransport, Providers
from tests.storage.test_journal_crash import MortalDisk

FOREVER = 10**9


class VirtualClock:
    """The loop's time as every clock a process has; `epoch_us` is when the loop's time was 0.

    `sleepy` is how much faster the clock runs that counts the machine's sleep, and so how soon leases are over.
    """

    def __init__(self, loop: VirtualLoop, epoch_us: int, sleepy: int) -> None:
        self.monotonic = loop.time
        self._epoch_us = epoch_us
        self._sleepy = sleepy

    def boottime(self) -> float:
        return self.monotonic() * self._sleepy

    def now_us(self) -> int:
        return self._epoch_us + int(self.monotonic() * 1e6)


class ModelDisk(MortalDisk):
    """Also knows what is open, since a killed process closes it; syncing is instant."""

    def __init__(self, share: int) -> None:
        super().__init__(FOREVER, share)
        self.opened: set[int] = set()

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self.opened.add(descriptor)
        return descriptor

    def reopen(self, path: Path) -> int:
        descriptor = super().reopen(path)
        self.opened.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.opened.discard(descriptor)
        super().close(descriptor)

    def pack(self, path: Path, packed: Path, *, is_synced: bool) -> int:
        before = set(self.opened)
        try:
            return super().pack(path, packed, is_synced=is_synced)
        finally:
            self.opened = before  # it closes what it opens

    def sync(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def sync_folder(self, folder: Path) -> None:
        pass


class Process:
    """Implements tests.money.loop.Mortal. `died_at` is the loop's time, None while it lives."""

    def __init__(self, name: str, loop: VirtualLoop, db: Database, disk: ModelDisk) -> None:
        self.name = name
        self.loop = loop
        self.db = db
        self.disk = disk
        self.is_dead = self.has_started = False
        self.died_at: float | None = None
        self.steps_left = FOREVER
        self.failures: list[Observation] = []
        self.limiter = OpenLimiter()
        self.context = Context()
        self.context.run(OWNER.set, self)
        self._estates: list[Estate] = []
        self._journal: Journal | None = None
        self.money: Money
        self.gateway: Gateway
        self.generation: Generation

    async def start(
        self, settings: JournalSettings, clock: VirtualClock, providers: Providers, aliases: Sequence[Alias]
    ) -> None:
        """As the daemon starts: adopt what is there, sign, then serve. Run it in this process's context."""
        observer: Any = self
        self._journal = journal = Journal(settings, self.name, clock, observer, self.disk)
        await asyncio.wait([journal._prepare()])
        journal._thread._pool = cast(Any, Pool(self.loop))
        jobs, tasks = SystemTasks(observer), SystemTasks(observer)
        self.money = Money(journal, self.db, cast(Any, clock), observer, tasks)
        self.money._adoption._find = self._find
        await self.adopt()
        await self.money._leases.tick()
        for work in (self.money.ledger.run(), self.money._leases.run(), self.money._adoption.run()):
            jobs.spawn(work, name="a loop")
        self.jobs, self.tasks = jobs, tasks
        snap = snapshot(*aliases)
        transport = ModelTransport(providers)
        bound = {name: bind(known, transport) for name, known in snap.providers.items()}
        self.generation = Generation(snap, bound)
        world = World(clock, CountingIds(), self.limiter, self.money.ledger, observer, tasks, self.loop.call_later)
        self.gateway = Gateway(world, Health(clock, observer), self.money.treasury, status_of)

    async def adopt(self) -> AdoptionReport:
        return await self.money._adoption.tick()

    def _find(self) -> list[Estate]:
        assert self._journal is not None
        self._estates = find_estates(self._journal.root, self.name)
        return self._estates

    async def close(self) -> int:
        """As the daemon ends when no request is left."""
        self.gateway.settler.flush()
        await self.tasks.wait(self.loop.chance.choice((0.0, 20.0)))
        left = await self.money.close(30)
        await self.jobs.stop()
        self.die()
        return left

    def emit(self, observation: Observation) -> None:
        if isinstance(observation, Failure) and not self.is_dead and not self.disk.is_dead:
            self.failures.append(observation)

    # -- its death --------------------------------------------------------------------------------------------

    def stepped(self) -> None:
        self.steps_left -= 1
        if self.steps_left <= 0 or self.disk.is_dead:
            self.die()

    def die(self) -> None:
        """As `kill -9`: no step of it runs any more, its files are closed and its locks free."""
        if self.is_dead:
            return
        self.is_dead, self.died_at = True, self.loop.time()
        self.disk.life = 0
        cast(Any, self.db).die()
        for descriptor in self.disk.opened:
            os.close(descriptor)
        for estate in self._estates:
            with suppress(OSError):
                estate.release()
        if self._journal is not None and self._journal._home._lock is not None:
            os.close(self._journal._home._lock)
            self._journal._home._lock = None
