"""Taking over what dead processes have left: their journals go to the database, their leases back to the budgets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from router.domain.errors import StorageUnavailable
from router.domain.ledger import AdoptionReport, Outcome
from router.domain.observations import Notice
from router.domain.ports import Estate, LedgerStore, Observer
from router.jobs.ledger_batches import LedgerBatches

INTERVAL_S = 10.0
BATCH_ROWS = 500


class Adoption:
    """Looks for journals whose process has died, now and every ten seconds: a replica may die at any time.

    Everything it does may be done again: what a killed adoption has left half done, the next one completes.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Estate]],
        store: LedgerStore,
        settled: Callable[[str], Awaitable[object]],
        observer: Observer,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`find` locks what it returns; it may block. `settled(instance)` is called when all its requests are in the store:
        it returns the instance's leases, may be called again for the same instance, and may raise StorageUnavailable."""
        self._find = find
        self._batches = LedgerBatches(store, observer)
        self._settled = settled
        self._observer = observer
        self._sleep = sleep

    async def run(self) -> None:
        while True:
            await self.tick()
            await self._sleep(INTERVAL_S)

    async def tick(self) -> AdoptionReport:
        """Adopt everything that is there. Never raises: what could not be finished is in the report, and in the log."""
        try:
            estates = await asyncio.to_thread(self._find)
        except OSError as error:
            self._observer.emit(Notice("error", "adoption", f"journals of other processes cannot be looked for: {error}"))
            return AdoptionReport()
        report = AdoptionReport()
        try:
            for estate in estates:
                report = _both(report, await self._adopt(estate))
        finally:
            for estate in estates:
                estate.release()
        return report

    async def _adopt(self, estate: Estate) -> AdoptionReport:
        requests = recovered = 0
        try:
            while batch := await asyncio.to_thread(estate.read, BATCH_ROWS):
                await self._batches.write(batch)
                requests += len(batch)
                recovered += sum(entry.outcome is Outcome.RECOVERED for entry in batch)
            await self._settled(estate.instance)
            await asyncio.to_thread(estate.remove)
        except (StorageUnavailable, OSError) as error:
            reason = getattr(error, "hint", "") or str(error)
            self._tell("error", f"the journal of {estate.instance} is not adopted yet: {reason}", requests, recovered)
            return AdoptionReport((), (estate.instance,), requests, recovered, estate.damaged)
        level = "error" if estate.damaged else "warning" if recovered else "info"
        text = f"the journal of {estate.instance} is adopted; {estate.damaged} of its lines were unreadable"
        self._tell(level, text, requests, recovered)
        return AdoptionReport((estate.instance,), (), requests, recovered, estate.damaged)

    def _tell(self, level: str, text: str, requests: int, recovered: int) -> None:
        details = (("requests", str(requests)), ("recovered", str(recovered)))
        self._observer.emit(Notice(level, "adoption", text, details))


def _both(one: AdoptionReport, other: AdoptionReport) -> AdoptionReport:
    return AdoptionReport(
        one.instances + other.instances,
        one.left + other.left,
        one.requests + other.requests,
        one.recovered + other.recovered,
        one.damaged + other.damaged,
    )
