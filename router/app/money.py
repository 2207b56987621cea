"""What keeps money exact in one process: its journal, its purses, and the takeover of what dead processes have left."""

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from router.config.schema import RouterConfig
from router.domain.alerts import Alert
from router.domain.errors import StorageUnavailable
from router.domain.ports import Ids, Notices, Observer
from router.gateway.purses import Notify, PostedLedger, Purses
from router.gateway.reach import Reach
from router.gateway.treasury import Treasury
from router.jobs.adoption import Adoption
from router.jobs.flush import LedgerFlusher
from router.jobs.leases import Leases
from router.providers.tokens import Tokenizers
from router.storage.budgets import BudgetRows
from router.storage.database import Database
from router.storage.instances import Instances
from router.storage.journal import Journal, JournalSettings
from router.storage.journal_estates import find_estates
from router.storage.usage import UsageTables
from router.system import SystemClock, SystemTasks


class Money:
    """Open it before anything is served, `start` its loops, `close` it when no request is left that could record."""

    def __init__(
        self, journal: Journal, database: Database, clock: SystemClock, observer: Observer, tasks: SystemTasks
    ) -> None:
        instance, root = journal.instance, journal.root
        self._rows = BudgetRows(database, instance, clock)
        self._instances = Instances(database, clock)
        self._journal = journal
        self.notify: Notify = _nobody
        self.purses = Purses(
            self._rows,
            clock,
            tasks,
            boottime=clock.boottime,
            processes=lambda: self._leases.processes,
            notify=self._tell,
        )
        me = instance, socket.gethostname(), os.getpid()
        self._leases = Leases(self.purses, self._instances, me)
        self.reach = Reach(clock)
        self.treasury = Treasury(self.purses, journal, self.reach, Tokenizers(observer))
        store = PostedLedger(UsageTables(database, instance), self.purses)
        self.ledger = LedgerFlusher(store, journal, observer, clock)
        # What a dead process has left is posted off no lease of ours: its own leases are returned whole afterwards.
        self._adoption = Adoption(
            partial(find_estates, root, instance), UsageTables(database), self._rows.settle_instance, observer
        )

    @classmethod
    async def open(
        cls,
        config: RouterConfig,
        database: Database,
        *,
        clock: SystemClock,
        ids: Ids,
        observer: Observer,
        tasks: SystemTasks,
    ) -> "Money":
        """The journal of this process, and what the dead have left, in the database where it can be reached."""
        section = config.journal
        settings = JournalSettings(Path(section.path), section.max_mb, is_synced=section.durability == "power")
        money = cls(await Journal.open(settings, ids.new(), clock, observer), database, clock, observer, tasks)
        await money._adoption.tick()
        await money._leases.tick()
        return money

    @property
    def instance(self) -> str:
        """This process, as the table of instances has it."""
        return self._journal.instance

    @property
    def processes(self) -> int:
        """How many live processes share the database, this one included."""
        return self._leases.processes

    @property
    def fault(self) -> str:
        """Why nothing can be recorded now, "" while it can."""
        return self._journal.fault

    def _tell(self, alert: Alert) -> None:
        self.notify(alert)

    def wanted(self, who: str, budget: str, period: str) -> None:
        """The process `who` was refused, and asks the others for what they can spare."""
        if who != self._journal.instance:
            self._leases.wanted(budget, period)

    def start(self, jobs: SystemTasks, others_seen: Callable[[int], None], notices: Notices) -> None:
        """`others_seen` is told how many processes live whenever they have been counted; `notices` call `wanted`."""
        self._leases.others_seen = others_seen
        self._leases.is_told = lambda: notices.is_heard
        jobs.spawn(self.ledger.run(), name="ledger flush")
        jobs.spawn(self._leases.run(), name="leases")
        jobs.spawn(self._adoption.run(), name="adoption")

    async def close(self, limit_s: float) -> int:
        """Write what is left, give back what is held, end the journal; how many requests could not be written."""
        left = await self.ledger.drain(limit_s)
        is_settled = left == 0
        try:
            await self.purses.close()
            if is_settled:
                await self._rows.settle_instance(self._journal.instance)
            await self._instances.leave(self._journal.instance)
        except StorageUnavailable:
            is_settled = False
        await self._journal.close(is_settled=is_settled)
        return left


def _nobody(_alert: Alert) -> None:
    """Before the outbox is open no request is served that could raise one."""
