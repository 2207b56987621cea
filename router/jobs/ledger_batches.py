"""Writing a batch of finished requests so that one impossible row cannot hold back all others."""

import traceback
from collections.abc import Sequence

from router.domain.errors import StorageUnavailable
from router.domain.ledger import LedgerEntry
from router.domain.observations import Failure
from router.domain.ports import LedgerStore, Observer


class LedgerBatches:
    """A batch the store chokes on is written one by one; what it cannot take even alone is reported and left out."""

    def __init__(self, store: LedgerStore, observer: Observer) -> None:
        self._store = store
        self._observer = observer

    async def write(self, batch: Sequence[LedgerEntry]) -> None:
        """Raises StorageUnavailable: then all of `batch` must be written again."""
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
