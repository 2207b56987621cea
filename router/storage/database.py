"""One SQL text for two engines: what a database can do, what can go wrong with it, and how statements are rewritten.

SQL is written with `$1`, `$2` ...; only the common subset of both engines. Engines live in `sqlite.py` and `postgres.py`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from router.domain.errors import StorageUnavailable
from router.storage.insertions import Grouped, Insertion

T = TypeVar("T")

UNAVAILABLE = "the database is not available at the moment"


class DatabaseRefused(Exception):
    """The operator must act before this database can be used: exit code 2.

    The text says what was found and what to do about it, and holds no password.
    """


class BadDatabaseUrl(DatabaseRefused):
    """The URL names no engine, or lacks something."""


class DatabaseInUse(DatabaseRefused):
    """Another daemon holds this SQLite database; `pid` is its process id, None if it could not be read."""

    def __init__(self, lock: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"the database is in use by {holder} (lock file {lock}): one SQLite database serves one routerd; "
            "stop the other one, or give this one its own database.url, or use PostgreSQL"
        )
        self.pid = pid


class DatabaseUnreachable(DatabaseRefused):
    """The file, its folder or its lock cannot be made or opened."""


class DatabaseTooNew(DatabaseRefused):
    """A later release has migrated it."""


class MigrationAltered(DatabaseRefused):
    """A migration that was applied is not the one this release carries."""


class MigrationsPending(DatabaseRefused):
    """`database.run_migrations` is off and the schema is behind."""


class BootstrapRefused(DatabaseRefused):
    """A bootstrap item refers to something that does not exist."""


class ValueRefused(Exception):
    """A value or a constraint is in the way; trying again unchanged cannot help."""


class Row(Protocol):
    def __getitem__(self, column: str, /) -> Any: ...


class Queries(Protocol):
    """Every method raises StorageUnavailable, or ValueRefused for values the engine cannot take."""

    async def one(self, sql: str, *args: Any) -> Row | None:
        """The first row of a query, None if there is none."""
        ...

    async def all(self, sql: str, *args: Any) -> Sequence[Row]: ...

    async def run(self, sql: str, *args: Any) -> int:
        """Execute a statement that returns no rows; the number of rows it changed."""
        ...


class Transaction(Queries, Protocol):
    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each of `rows`."""
        ...

    async def insert(self, *batches: tuple[Insertion, Grouped]) -> None:
        """Insert rows, table by table."""
        ...


class Database(Queries, Protocol):
    """Outside a transaction `one` and `all` only read; `run` commits by itself."""

    engine: str  # "sqlite" or "postgres"
    name: str  # for /health

    def tx(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction: committed when the block ends, rolled back when it raises or is cancelled.

        Cancellation never leaves half of it: it is raised after the commit or the rollback has finished.
        """
        ...

    def exclusive(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on a connection of its own that no other process's `exclusive` overlaps; no statement timeout."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Queries]:
        """One moment of the whole database, to read as long as it takes, on a connection of its own that blocks nobody."""
        ...

    async def changed_elsewhere(self) -> bool:
        """Has another process, or `exclusive`, committed since the last call? Cheap enough for several times a second.

        Always False on PostgreSQL, where a listener is told (`postgres_listen.py`).
        """
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


_PARAMETER = re.compile(
    r"""'(?:[^']|'')*'        # a string
      | "(?:[^"]|"")*"        # a quoted name
      | --[^\n]*              # a comment
      | \$(?P<number>\d+)""",
    re.VERBOSE,
)


@cache
def numbered_for_sqlite(sql: str) -> str:
    """`$n` as `?n`: SQLite would bind `$n` by first appearance. Statements are constants, so the cache is bounded."""
    return _PARAMETER.sub(lambda found: f"?{found['number']}" if found["number"] else found[0], sql)


def sqlite_path(url: str) -> Path | None:
    """The file a `sqlite:` URL names, None if the URL is PostgreSQL's. Raises BadDatabaseUrl.

    `sqlite:///data/router.db` is relative to the working directory, `sqlite:////var/lib/router.db` absolute.
    """
    parts = urlsplit(url)
    if parts.scheme in ("postgresql", "postgres"):
        return None
    if parts.scheme != "sqlite":
        scheme = f'"{parts.scheme}:"' if parts.scheme else "no scheme"
        raise BadDatabaseUrl(f"database.url has {scheme}; expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
    if parts.netloc or parts.query or parts.fragment:
        raise BadDatabaseUrl(
            "database.url of SQLite has something besides a path; expected sqlite:///data/router.db (relative to the "
            "working directory) or sqlite:////var/lib/routerd/router.db"
        )
    path = unquote(parts.path.removeprefix("/"))
    if not path or path.endswith("/") or ":memory:" in path:
        raise BadDatabaseUrl("database.url of SQLite names no file; expected for example sqlite:///data/router.db")
    return Path(path)


def unavailable(hint: str) -> StorageUnavailable:
    """The error for callers; `hint` is for the operator and must hold no password."""
    return StorageUnavailable(UNAVAILABLE, hint=hint)


# serialization_failure and deadlock_detected: the engine undid the transaction for another one's sake.
_CONFLICTS = frozenset({"40001", "40P01"})
CONFLICT_TRIES = 5


async def despite_conflicts(transaction: Callable[[], Awaitable[T]]) -> T:
    """Run a whole transaction, and again while it loses to another one that wanted the same rows."""
    for _ in range(CONFLICT_TRIES - 1):
        try:
            return await transaction()
        except StorageUnavailable as error:
            if getattr(error.__cause__, "sqlstate", None) not in _CONFLICTS:
                raise
    return await transaction()


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end even if the caller is cancelled meanwhile; the cancellation is raised afterwards."""
    inner = asyncio.ensure_future(work)  # noqa: TID251  never left alone: its end is awaited right here
    interrupted: asyncio.CancelledError | None = None
    while not inner.done():
        try:
            await asyncio.wait((inner,))
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        if not inner.cancelled():
            inner.exception()  # seen, so that it is not reported as lost
        raise interrupted
    return inner.result()
