"""PostgreSQL through an asyncpg pool: statement timeouts, reconnection by itself, errors translated by one table."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from router.storage.database import BadDatabaseUrl, Queries, Row, Transaction, ValueRefused, to_the_end, unavailable
from router.storage.insertions import Grouped, Insertion, statements

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
POOL_WAIT_S = 5.0
EXCLUSIVE_WAIT_S = 120.0
ADVISORY_LOCK = 0x726F757465726400  # "router\0\0": one lock name for everything `exclusive` guards

# By SQLSTATE, the longest prefix first. What is not here is an error in our SQL and stays as it is.
HINTS = {
    "08": "the connection to PostgreSQL was lost or refused",
    "25006": "PostgreSQL is read-only: a standby, or default_transaction_read_only is on",
    "28": "PostgreSQL refused the user or password of database.url",
    "3D": "the database that database.url names does not exist on the PostgreSQL server",
    "40": "PostgreSQL gave up the transaction because of a conflict; it may be tried again",
    "42501": "the PostgreSQL user lacks a privilege it needs",
    "53100": "the disk of the PostgreSQL server is full",
    "53200": "the PostgreSQL server ran out of memory",
    "53300": "PostgreSQL has too many connections; lower database.pool_size or raise max_connections",
    "53": "the PostgreSQL server ran out of a resource",
    "55P03": "a PostgreSQL lock was not to be had in time",
    "57014": f"a statement took longer than {STATEMENT_TIMEOUT_S:g} s and was cancelled by PostgreSQL",
    "57": "the PostgreSQL server is stopping, starting or was told to end the connection",
    "58": "the PostgreSQL server met a system error; look at its log",
    "XX": "the PostgreSQL server met an internal error; look at its log",
}
REFUSED_VALUES = ("22", "23", "54")

# libpq understands these and asyncpg would send them to the server as settings, which refuses them.
LIBPQ_ONLY = frozenset(
    {"channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_count", "keepalives_idle"}
)


def hint_of(sqlstate: str) -> str | None:
    for length in (5, 2):
        if (hint := HINTS.get(sqlstate[:length])) is not None:
            return hint
    return None


def translate(error: Exception) -> Exception:
    """The error to raise instead of a driver's, which is `error` itself where the fault is ours."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or "08000"
        if (hint := hint_of(sqlstate)) is not None:
            return unavailable(f"{hint} ({sqlstate} {type(error).__name__})")
        return ValueRefused(error.args[0]) if sqlstate.startswith(REFUSED_VALUES) else error
    if isinstance(error, asyncpg.DataError | OverflowError | UnicodeError):
        return ValueRefused(str(error))
    if isinstance(error, TimeoutError):
        return unavailable("PostgreSQL did not answer in time, or every connection of the pool was busy")
    if isinstance(error, ssl.SSLError):
        return unavailable(
            f"TLS with the PostgreSQL server failed: {getattr(error, 'reason', None) or type(error).__name__}"
        )
    if isinstance(error, OSError):
        return unavailable(f"the PostgreSQL server cannot be reached: {error.strerror or type(error).__name__}")
    if isinstance(error, asyncpg.InterfaceError) and ("clos" in str(error) or "released" in str(error)):
        return unavailable("the connection to PostgreSQL was closed")
    if isinstance(error, asyncpg.InternalClientError):
        return unavailable("the connection to PostgreSQL broke in the middle of an exchange")
    return error


def driver_dsn(url: str) -> str:
    """`url` as asyncpg takes it, without options that only libpq knows. Raises BadDatabaseUrl."""
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError as error:
        raise BadDatabaseUrl("database.url of PostgreSQL has a port that is no number from 0 to 65535") from error
    options = [(name, value) for name, value in parse_qsl(parts.query) if name not in LIBPQ_ONLY]
    modes = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    for name, value in options:
        if name == "sslmode" and value not in modes:
            raise BadDatabaseUrl(f'database.url has sslmode "{value}"; expected one of {", ".join(modes)}')
    return urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), ""))


def _changed(status: str) -> int:
    """Rows changed, from a command tag such as `INSERT 0 3`; 0 where it has no count."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0


class _PostgresTransaction:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def one(self, sql: str, *args: Any) -> Row | None:
        return await translated(self._connection.fetchrow, sql, *args)

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        return await translated(self._connection.fetch, sql, *args)

    async def run(self, sql: str, *args: Any) -> int:
        return _changed(await translated(self._connection.execute, sql, *args))

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            await translated(self._connection.executemany, sql, rows)

    async def insert(self, *batches: tuple[Insertion, Grouped]) -> None:
        for batch in batches:
            for sql, rows in statements(*batch):
                await self.many(sql, rows)


async def translated(work: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What a driver's call answers, its errors translated.

    A call on a connection that the pool took back fails before there is anything to await: both parts are inside.
    """
    try:
        return await work(*args)
    except Exception as error:
        if (ours := translate(error)) is error:
            raise
        raise ours from error


@asynccontextmanager
async def _transaction(connection: Any) -> AsyncIterator[Transaction]:
    transaction = connection.transaction()
    try:
        await translated(to_the_end, transaction.start())
        yield _PostgresTransaction(connection)
    except BaseException:
        # Fails where the connection is gone, and then the server has rolled back by itself.
        with suppress(Exception):
            await to_the_end(transaction.rollback())
        raise
    await translated(to_the_end, transaction.commit())


class PostgresDatabase:
    """Implements storage.database.Database."""

    engine = "postgres"
    name = "database"

    def __init__(self, pool: Any, dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    @classmethod
    async def open(cls, url: str, *, pool_size: int = 10) -> "PostgresDatabase":
        """Connect. Raises BadDatabaseUrl, or StorageUnavailable when the server does not answer."""
        dsn = driver_dsn(url)
        settings = {"application_name": "routerd", "jit": "off", "statement_timeout": f"{STATEMENT_TIMEOUT_S:g}s"}
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=pool_size,
                max_inactive_connection_lifetime=300.0,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=STATEMENT_TIMEOUT_S + 1.0,
                server_settings=settings,
                reset=_keep_session,
            )
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise BadDatabaseUrl("database.url of PostgreSQL cannot be understood by its driver") from error
        except Exception as error:
            raise translate(error) from error
        return cls(pool, dsn)

    async def one(self, sql: str, *args: Any) -> Row | None:
        async with self._connection() as connection:
            return await _PostgresTransaction(connection).one(sql, *args)

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        async with self._connection() as connection:
            return await _PostgresTransaction(connection).all(sql, *args)

    async def run(self, sql: str, *args: Any) -> int:
        async with self._connection() as connection:
            return await _PostgresTransaction(connection).run(sql, *args)

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self._connection() as connection, _transaction(connection) as transaction:
            yield transaction

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Transaction]:
        settings = {"application_name": "routerd migrate", "lock_timeout": f"{EXCLUSIVE_WAIT_S:g}s"}
        async with self.apart(settings) as connection, _transaction(connection) as transaction:
            await transaction.one("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
            yield transaction

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Queries]:
        async with self.apart({"application_name": "routerd audit"}) as connection:
            moment = connection.transaction(isolation="repeatable_read", readonly=True)
            await translated(moment.start)
            yield _PostgresTransaction(connection)

    @asynccontextmanager
    async def apart(self, settings: dict[str, str]) -> AsyncIterator[Any]:
        """A connection of the driver outside the pool, with these server settings. Raises StorageUnavailable."""
        connection = await translated(_connect, self._dsn, settings)
        try:
            yield connection
        finally:
            await to_the_end(_close(connection))

    async def changed_elsewhere(self) -> bool:
        return False

    async def ping(self) -> None:
        await self.one("SELECT 1")

    async def close(self) -> None:
        """Waits a little for what is under way; afterwards every call raises StorageUnavailable."""
        try:
            async with asyncio.timeout(5.0):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _acquire(self) -> Any:
        return await self._pool.acquire(timeout=POOL_WAIT_S)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await translated(self._acquire)
        try:
            yield connection
        finally:
            await self._pool.release(connection)


async def _keep_session(_connection: Any) -> None:
    """Nothing here leaves anything in a session, so the pool need not pay a round trip for each use to clean it."""


async def _connect(dsn: str, settings: dict[str, str]) -> Any:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    if connection.get_server_version().major >= 14:
        # Without it the server works on for a client that was killed, and holds the lock meanwhile.
        await connection.execute("SET client_connection_check_interval = '1s'")
    return connection


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
