"""A SQLite file as one process sees it: every statement is a moment at which it may die, and answers may be lost."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from router.storage.database import Queries, Row, Transaction, numbered_for_sqlite, unavailable
from router.storage.insertions import Grouped, Insertion, statements
from router.storage.sqlite import translate
from tests.money.loop import VirtualLoop

BUSY_S = 5.0


class Weather:
    """What befalls all databases: `outages` are stretches of the loop's time, `lost` the share of commits never answered."""

    def __init__(self, outages: Sequence[tuple[float, float]] = (), lost: float = 0.0) -> None:
        self.outages = list(outages)
        self.lost = lost

    def clear(self) -> None:
        self.outages, self.lost = [], 0.0

    def strike(self, now: float) -> None:
        """Raises StorageUnavailable."""
        if any(begins <= now < ends for begins, ends in self.outages):
            raise unavailable("the connection was refused")

    def swallow(self, draw: float) -> None:
        """Raises StorageUnavailable: it was done, but nobody is told."""
        if draw < self.lost:
            raise unavailable("the connection was lost")


class SqliteSite:
    """A new database file, and what stands in it."""

    has_order = True

    def __init__(self, file: Path, template: Path) -> None:
        self._file = file
        shutil.copyfile(template, file)
        self._reader = _connect(file)

    def connect(self, loop: VirtualLoop, weather: Weather, committed: Callable[[], None]) -> "SteppedSqlite":
        return SteppedSqlite(self._file, loop, weather, committed)

    def look(self, sql: str) -> list[Row]:
        return list(self._reader.execute(sql).fetchall())

    def close(self) -> None:
        self._reader.close()


class SteppedSqlite:
    """Implements storage.database.Database. `die` leaves behind what a killed process does."""

    engine = "sqlite"
    name = "database"

    def __init__(self, path: Path, loop: VirtualLoop, weather: Weather, committed: Callable[[], None]) -> None:
        self._loop = loop
        self._weather = weather
        self._committed = committed
        self._writer, self._reader = _connect(path), _connect(path)
        self._turn = asyncio.Lock()
        self.is_gone = False

    async def one(self, sql: str, *args: Any) -> Row | None:
        rows = await self.all(sql, *args)
        return rows[0] if rows else None

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        await self.step()
        rows = self.fetch(self._reader, sql, args)
        await self.step()
        return rows

    async def run(self, sql: str, *args: Any) -> int:
        async with self.tx() as tx:
            return await tx.run(sql, *args)

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self._turn:
            await self._begin()
            try:
                yield _Stepped(self, self._writer)
                await self.step()
                self.fetch(self._writer, "COMMIT")
            except BaseException:
                if not self.is_gone and self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        self._committed()
        await self.step()
        self._weather.swallow(self._loop.chance.random())

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Transaction]:
        async with self.tx() as tx:
            yield tx

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Queries]:
        yield self

    async def changed_elsewhere(self) -> bool:
        return False

    async def ping(self) -> None:
        await self.one("SELECT 1")

    async def close(self) -> None:
        self.die()

    def die(self) -> None:
        """As the operating system closes the files of a process: what was not committed never was."""
        self.is_gone = True
        self._writer.close()
        self._reader.close()

    async def step(self) -> None:
        await self._loop.pause()
        self._weather.strike(self._loop.time())

    async def _begin(self) -> None:
        """Another process may write: that one is waited for."""
        deadline = self._loop.time() + BUSY_S
        while True:
            await self.step()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or self._loop.time() > deadline:
                    raise translate(error) from error
                await asyncio.sleep(0.001)
            else:
                return

    def fetch(self, connection: sqlite3.Connection, sql: str, args: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            return connection.execute(numbered_for_sqlite(sql), args).fetchall()
        except Exception as error:
            raise translate(error) from error


class _Stepped:
    """Implements storage.database.Transaction."""

    def __init__(self, db: SteppedSqlite, connection: sqlite3.Connection) -> None:
        self._db = db
        self._connection = connection

    async def one(self, sql: str, *args: Any) -> Row | None:
        rows = await self.all(sql, *args)
        return rows[0] if rows else None

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        await self._db.step()
        return self._db.fetch(self._connection, sql, args)

    async def run(self, sql: str, *args: Any) -> int:
        await self._db.step()
        try:
            return self._connection.execute(numbered_for_sqlite(sql), args).rowcount
        except Exception as error:
            raise translate(error) from error

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        await self._db.step()
        try:
            self._connection.executemany(numbered_for_sqlite(sql), rows)
        except Exception as error:
            raise translate(error) from error

    async def insert(self, *batches: tuple[Insertion, Grouped]) -> None:
        for batch in batches:
            for sql, rows in statements(*batch):
                await self.many(sql, rows)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    connection.row_factory = sqlite3.Row
    for pragma in ("synchronous=OFF", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
