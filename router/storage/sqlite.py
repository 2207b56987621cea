"""SQLite through aiosqlite: WAL, one writer connection behind a lock, a few readers apart, one table of errors."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from router.domain.errors import StorageUnavailable
from router.storage.database import Queries, Row, Transaction, ValueRefused, numbered_for_sqlite, to_the_end, unavailable
from router.storage.insertions import Grouped, Insertion, statements

BUSY_TIMEOUT_S = 5.0
EXCLUSIVE_WAIT_S = 120.0
WAL_TRIES = 250

# By primary result code. A code that is not here, nor among the refused values, is an error in our SQL and stays as it is.
HINTS = {
    sqlite3.SQLITE_BUSY: "the SQLite database stayed locked by another process; find out who holds it",
    sqlite3.SQLITE_LOCKED: "a table of the SQLite database stayed locked",
    sqlite3.SQLITE_NOMEM: "SQLite ran out of memory",
    sqlite3.SQLITE_READONLY: "the SQLite database, its folder or its file system is read-only for this user",
    sqlite3.SQLITE_PERM: "the SQLite database may not be accessed by this user",
    sqlite3.SQLITE_IOERR: "reading or writing the SQLite database failed; look at the disk and the kernel's log",
    sqlite3.SQLITE_CORRUPT: "the SQLite database is damaged; restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
    sqlite3.SQLITE_FULL: "the disk or the quota of the SQLite database is full; free some space",
    sqlite3.SQLITE_CANTOPEN: "the SQLite database or its folder cannot be opened; look at the path and its permissions",
    sqlite3.SQLITE_PROTOCOL: "SQLite's locks do not work on this file system; use a local disk",
    sqlite3.SQLITE_NOLFS: "the SQLite database is too large for this file system",
    sqlite3.SQLITE_INTERRUPT: "the statement was interrupted",
    sqlite3.SQLITE_ABORT: "the statement was aborted",
    sqlite3.SQLITE_SCHEMA: "the schema changed under the statement",
}
REFUSED_VALUES = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE})


def translate(error: Exception) -> Exception:
    """The error to raise instead of a driver's, which is `error` itself where the fault is ours."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", -1)
        if (hint := HINTS.get(code & 0xFF)) is not None:
            return unavailable(f"{hint} ({error.sqlite_errorname})")
        if code & 0xFF in REFUSED_VALUES or isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError)):
            return ValueRefused(str(error))
    if isinstance(error, (OverflowError, UnicodeEncodeError)):
        return ValueRefused(str(error))
    return error


def make_private_folder(folder: Path) -> None:
    """Create what is missing of `folder`, for this user only. Folders that exist keep their mode."""
    for missing in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _make_private_file(path: Path) -> None:
    try:
        make_private_folder(path.parent)
        # SQLite gives the files beside it the mode of the database itself.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except PermissionError:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


_Statement = tuple[str, Sequence[Sequence[Any]]]
"""SQL, and the values of each of its executions."""


class _Connection:
    """One aiosqlite connection: statements queue in its thread, so `pending` says how busy it is."""

    def __init__(self, raw: aiosqlite.Connection) -> None:
        self._raw = raw
        self.pending = 0

    @classmethod
    async def open(cls, path: Path, pragmas: Sequence[str], busy_timeout_s: float = BUSY_TIMEOUT_S) -> "_Connection":
        raw = aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout_s, cached_statements=256)
        # A connection that nobody came to close, after a failed start for example, must not keep the process from ending.
        raw._thread.daemon = True  # noqa: SLF001  there is no public way
        connection = cls(raw)
        try:
            await raw
            raw.row_factory = sqlite3.Row
            for pragma in ("temp_store=MEMORY", "cache_size=-4000", *pragmas):
                await connection.fetch(f"PRAGMA {pragma}", ())
        except Exception as error:
            await connection.close()
            raise translate(error) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    async def use_wal(self) -> None:
        """SQLite does not wait for its lock here, and another process may be doing the same to a new file."""
        for _ in range(WAL_TRIES):
            try:
                [row] = await self.fetch("PRAGMA journal_mode=WAL", ())
            except StorageUnavailable as error:
                if not isinstance(error.__cause__, sqlite3.OperationalError) or "locked" not in str(error.__cause__):
                    raise
                await asyncio.sleep(0.02)
            else:
                if row["journal_mode"] != "wal":
                    raise unavailable("the SQLite database cannot use a write-ahead log there; put it on a local disk")
                return
        raise unavailable(HINTS[sqlite3.SQLITE_BUSY])

    async def fetch(self, sql: str, args: Sequence[Any]) -> Sequence[Row]:
        self.pending += 1
        try:
            rows: Iterable[sqlite3.Row] = await self._raw.execute_fetchall(numbered_for_sqlite(sql), args)
            return list(rows)
        except Exception as error:
            raise translate(error) from error
        finally:
            self.pending -= 1

    async def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        try:
            cursor = await self._raw.execute(numbered_for_sqlite(sql), args)
            return cursor.rowcount
        except Exception as error:
            raise translate(error) from error

    async def execute_many(self, statements: Sequence[_Statement]) -> None:
        """Each for all of its rows, in one visit to the connection's thread."""
        if not statements:
            return
        try:
            # There is no public way to its thread.
            await self._raw._execute(self._run, statements)  # type: ignore[no-untyped-call]  # noqa: SLF001
        except Exception as error:
            raise translate(error) from error

    def _run(self, statements: Sequence[_Statement]) -> None:
        connection = self._raw._conn  # noqa: SLF001  in its thread
        for sql, rows in statements:
            connection.executemany(numbered_for_sqlite(sql), rows)

    async def close(self) -> None:
        await to_the_end(self._raw.close())


class _SqliteTransaction:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def one(self, sql: str, *args: Any) -> Row | None:
        rows = await self._connection.fetch(sql, args)
        return rows[0] if rows else None

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        return await self._connection.fetch(sql, args)

    async def run(self, sql: str, *args: Any) -> int:
        return await self._connection.execute(sql, args)

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            await self._connection.execute_many([(sql, rows)])

    async def insert(self, *batches: tuple[Insertion, Grouped]) -> None:
        await self._connection.execute_many([statement for batch in batches for statement in statements(*batch)])


@asynccontextmanager
async def _transaction(connection: _Connection) -> AsyncIterator[Transaction]:
    """The caller owns `connection` alone. It is free of any transaction when this ends, however it ends."""
    try:
        await to_the_end(connection.execute("BEGIN IMMEDIATE"))
        yield _SqliteTransaction(connection)
        await to_the_end(connection.execute("COMMIT"))
    except BaseException:
        # A statement that was cancelled may still run in the thread: the rollback queues behind it. There is nothing to
        # roll back when BEGIN failed, when SQLite did it already, or when a cancelled COMMIT went through.
        with suppress(Exception):
            await to_the_end(connection.execute("ROLLBACK"))
        raise


class SqliteDatabase:
    """Implements storage.database.Database."""

    engine = "sqlite"
    name = "database"

    def __init__(self, path: Path, writer: _Connection, readers: Sequence[_Connection]) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers
        self._turn = asyncio.Lock()
        self._data_version: int | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path, *, readers: int = 3, synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    ) -> "SqliteDatabase":
        """Open or create the file. Raises StorageUnavailable.

        NORMAL survives a killed process; FULL also a power loss, at the price of a disk sync for each commit.
        """
        try:
            await asyncio.to_thread(_make_private_file, path)
        except OSError as error:
            raise unavailable(f"the SQLite database {path} cannot be opened: {error.strerror}") from error
        pragmas = (f"synchronous={synchronous}", "foreign_keys=ON", "journal_size_limit=67108864")
        opened = [await _Connection.open(path, pragmas)]
        try:
            await opened[0].use_wal()
            opened += [await _Connection.open(path, ("query_only=ON",)) for _ in range(readers)]
        except BaseException:
            for connection in opened:
                await connection.close()
            raise
        database = cls(path, opened[0], opened[1:])
        await database.changed_elsewhere()
        return database

    async def one(self, sql: str, *args: Any) -> Row | None:
        rows = await self._reader().fetch(sql, args)
        return rows[0] if rows else None

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        return await self._reader().fetch(sql, args)

    async def run(self, sql: str, *args: Any) -> int:
        async with self._writing():
            return await to_the_end(self._writer.execute(sql, args))

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self._writing(), _transaction(self._writer) as transaction:
            yield transaction

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Transaction]:
        self._check_open()
        connection = await _Connection.open(self.path, ("foreign_keys=ON",), EXCLUSIVE_WAIT_S)
        try:
            async with _transaction(connection) as transaction:
                yield transaction
        finally:
            await connection.close()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Queries]:
        """In a write-ahead log a reader's transaction sees one moment, and writers go on."""
        self._check_open()
        connection = await _Connection.open(self.path, ("query_only=ON",))
        try:
            await connection.execute("BEGIN")
            yield _SqliteTransaction(connection)
        finally:
            await connection.close()

    async def changed_elsewhere(self) -> bool:
        """Asked on the writer: its data_version moves with every commit but its own, and all of ours are its own."""
        self._check_open()
        [row] = await self._writer.fetch("PRAGMA data_version", ())
        before, self._data_version = self._data_version, row["data_version"]
        return before is not None and before != self._data_version

    async def ping(self) -> None:
        await self.one("SELECT 1")

    async def close(self) -> None:
        """Waits for a transaction that is under way; afterwards every call raises StorageUnavailable."""
        if self._closed:
            return
        async with self._turn:
            self._closed = True
            for connection in (*self._readers, self._writer):
                await connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise unavailable("the database has been closed: routerd is stopping")

    def _reader(self) -> _Connection:
        self._check_open()
        return min(self._readers, key=lambda reader: reader.pending)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """The writer's lock, with a bound on the wait: a stuck writer must not collect callers."""
        try:
            async with asyncio.timeout(BUSY_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise unavailable(f"the SQLite writer was busy for {BUSY_TIMEOUT_S:g} s") from error
        try:
            self._check_open()
            yield
        finally:
            self._turn.release()
