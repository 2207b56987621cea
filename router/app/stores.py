"""The database of one process: the configured engine, locked where it is a file, at this release's schema."""

from contextlib import AsyncExitStack

from router.config.schema import RouterConfig
from router.storage.database import Database, sqlite_path
from router.storage.lockfile import DaemonLock
from router.storage.migrate import migrate, require_current
from router.system import SystemClock


async def open_database(config: RouterConfig, stack: AsyncExitStack, *, holds_lock: bool = False) -> Database:
    """The configured database, at this release's schema; locked where it is SQLite's, unless it is already."""
    path = sqlite_path(config.database.url)
    database: Database
    if path is not None:
        from router.storage.sqlite import SqliteDatabase

        if not holds_lock:
            stack.callback(DaemonLock.take(path).release)
        database = await SqliteDatabase.open(path)
    else:
        from router.storage.postgres import PostgresDatabase

        database = await PostgresDatabase.open(config.database.url, pool_size=config.database.pool_size)
    stack.push_async_callback(database.close)
    if config.database.run_migrations:
        await migrate(database, now=SystemClock.now_us())
    else:
        await require_current(database)
    return database
