"""The table of live processes: each one signs every few seconds, and the others count who still does."""

from dataclasses import dataclass

from router.domain.ports import Clock
from router.storage.database import Database

LIVE_FOR_US = 30_000_000
"""Who has not signed for so long counts as gone. Nothing of what it holds is touched for that."""

_SIGN = """
    INSERT INTO instances (id, host, pid, started_at, seen_at) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"""
_LIVE = "SELECT id, host, pid, started_at, seen_at FROM instances WHERE seen_at >= $1 ORDER BY started_at, id"
_LEAVE = "DELETE FROM instances WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Instance:
    """One process; times are microseconds since the epoch."""

    id: str
    host: str
    pid: int
    started_at: int
    seen_at: int


class Instances:
    """Every method raises StorageUnavailable."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def sign(self, instance: str, host: str, pid: int) -> None:
        """This process lives; the first time, it has started."""
        await self._db.run(_SIGN, instance, host, pid, self._clock.now_us())

    async def live(self) -> list[Instance]:
        """Those that signed within LIVE_FOR_US, the oldest first."""
        rows = await self._db.all(_LIVE, self._clock.now_us() - LIVE_FOR_US)
        return [Instance(row["id"], row["host"], row["pid"], row["started_at"], row["seen_at"]) for row in rows]

    async def leave(self, instance: str) -> None:
        """This process ends, and owes nothing."""
        await self._db.run(_LEAVE, instance)
