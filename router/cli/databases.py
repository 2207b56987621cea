"""Opens the database that a command works on, and turns what can go wrong there into complaints with exit codes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from router.cli.complaint import Complaint, WrongInput
from router.config.load import Loaded
from router.domain.errors import StorageUnavailable
from router.storage.database import Database, DatabaseRefused, ValueRefused, sqlite_path
from router.storage.migrate import require_current
from router.storage.postgres import PostgresDatabase
from router.storage.sqlite import SqliteDatabase


@asynccontextmanager
async def open_database(loaded: Loaded, *, as_it_is: bool = False) -> AsyncIterator[Database]:
    """The configured database with this release's schema; `as_it_is` takes any schema and makes a missing SQLite file.

    Raises Complaint, and turns what the block meets into one.
    """
    config = loaded.config.database
    try:
        path = sqlite_path(config.url)
        if path is not None and not as_it_is and not path.exists():
            hint = "Start `routerd` once (or run `routerd migrate`); the path is relative to the working directory."
            raise Complaint(f"no database yet: there is no file {path}", hint=hint, code="no_database")
        database = await _open(config.url, path)
        try:
            if not as_it_is:
                await require_current(database)
            yield database
        finally:
            await database.close()
    except (DatabaseRefused, ValueRefused) as error:
        raise WrongInput(str(error), code="database_refused") from error
    except StorageUnavailable as error:
        raise Complaint(error.message, hint=error.hint, code=error.code) from error


async def _open(url: str, path: Path | None) -> Database:
    return await PostgresDatabase.open(url, pool_size=2) if path is None else await SqliteDatabase.open(path, readers=1)
