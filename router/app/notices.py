"""What other processes change: told at once by PostgreSQL, seen within a second in the file of SQLite."""

import asyncio
from collections.abc import Callable

from router.app.instruments import Instruments
from router.domain.errors import StorageUnavailable
from router.domain.ports import Notices
from router.storage.database import Database

WATCH_S = 0.5


def notices_of(
    database: Database,
    instruments: Instruments,
    *,
    changed: Callable[[], None],
    vouch: Callable[[float], None],
    wanted: Callable[[str, str, str], None],
) -> Notices:
    """`changed`: keys or tenants may have; `vouch`: so many seconds ago that would certainly have been seen, on SQLite only,
    for a trigger can be missing; `wanted`: (who was refused, budget, period), on PostgreSQL only."""
    if database.engine == "sqlite":
        return FileWatch(database, changed, vouch)
    from router.storage.postgres import PostgresDatabase
    from router.storage.postgres_listen import PostgresListener

    assert isinstance(database, PostgresDatabase)
    return PostgresListener(database, instruments.ids, instruments.observer, changed=changed, wanted=wanted)


class FileWatch:
    """Implements domain.ports.Notices for SQLite, whose file tells who looks that somebody has committed."""

    is_heard = False

    def __init__(self, database: Database, changed: Callable[[], None], vouch: Callable[[float], None]) -> None:
        self._database = database
        self._changed = changed
        self._vouch = vouch

    async def run(self) -> None:
        time = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(WATCH_S)
            asked_at = time()
            try:
                if await self._database.changed_elsewhere():
                    self._changed()
            except StorageUnavailable:
                continue
            self._vouch(time() - asked_at)
