"""A real PostgreSQL under the virtual loop: statements run in a thread with a loop of its own, each process on its pool."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from router.storage.database import Queries, Row, Transaction, to_the_end
from router.storage.insertions import Grouped, Insertion
from router.storage.migrate import migrate
from router.storage.postgres import PostgresDatabase
from tests.money.database import Weather
from tests.money.loop import VirtualLoop
from tests.stores import NOW

T = TypeVar("T")

_EMPTY = "TRUNCATE requests, attempts, tags, postings, leases, budget_periods, instances"


class Abroad:
    """The thread, and how to have something done there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        result: T = self.start(work).result(30)
        return result

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class PostgresSite:
    """One migrated database; `clean` before each run."""

    has_order = False

    def __init__(self, url: str) -> None:
        self._url = url
        self.abroad = Abroad()
        self._db = self.abroad.run(PostgresDatabase.open(url, pool_size=1))
        self.abroad.run(migrate(self._db, NOW))

    def clean(self) -> None:
        self.abroad.run(self._db.run(_EMPTY))

    def connect(self, loop: VirtualLoop, weather: Weather, committed: Callable[[], None]) -> "SteppedPostgres":
        real = self.abroad.run(PostgresDatabase.open(self._url, pool_size=4))
        return SteppedPostgres(real, self.abroad, loop, weather, committed)

    def look(self, sql: str) -> list[Row]:
        return list(self.abroad.run(self._db.all(sql)))

    def close(self) -> None:
        self.abroad.run(self._db.close())
        self.abroad.close()


class SteppedPostgres:
    """Implements storage.database.Database. `die` cuts its connections, and the server undoes what was not committed."""

    engine = "postgres"
    name = "database"

    def __init__(
        self, real: PostgresDatabase, abroad: Abroad, loop: VirtualLoop, weather: Weather, committed: Callable[[], None]
    ) -> None:
        self._real = real
        self._abroad = abroad
        self._loop = loop
        self._weather = weather
        self._committed = committed

    async def one(self, sql: str, *args: Any) -> Row | None:
        return await self.do(self._real.one, sql, *args)

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        return await self.do(self._real.all, sql, *args)

    async def run(self, sql: str, *args: Any) -> int:
        done = await self.do(self._real.run, sql, *args)
        self._committed()
        return done

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        real = self._real.tx()
        transaction = await to_the_end(self.do(real.__aenter__))
        try:
            yield _Stepped(self, transaction)
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                raise
            await to_the_end(self._undo(real, error))
            raise
        await to_the_end(self.do(real.__aexit__, None, None, None))
        self._committed()
        self._weather.swallow(self._loop.chance.random())

    async def _undo(self, real: Any, error: BaseException) -> None:
        try:
            await self._loop.outside(self._abroad.start(real.__aexit__(type(error), error, None)))
        except BaseException as same:
            if same is not error:
                raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Queries]:
        yield self

    async def changed_elsewhere(self) -> bool:
        return False

    async def ping(self) -> None:
        await self.one("SELECT 1")

    def die(self) -> None:
        self._abroad._loop.call_soon_threadsafe(self._real._pool.terminate)

    async def do(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        await self._loop.pause()
        self._weather.strike(self._loop.time())
        job = self._abroad.start(work(*args))
        try:
            return await self._loop.outside(job)
        except asyncio.CancelledError:
            job.cancel()
            raise


class _Stepped:
    """Implements storage.database.Transaction."""

    def __init__(self, db: SteppedPostgres, real: Transaction) -> None:
        self._db = db
        self._real: Any = real

    async def one(self, sql: str, *args: Any) -> Row | None:
        return await self._db.do(self._real.one, sql, *args)

    async def all(self, sql: str, *args: Any) -> Sequence[Row]:
        return await self._db.do(self._real.all, sql, *args)

    async def run(self, sql: str, *args: Any) -> int:
        return await self._db.do(self._real.run, sql, *args)

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        await self._db.do(self._real.many, sql, rows)

    async def insert(self, *batches: tuple[Insertion, Grouped]) -> None:
        await self._db.do(self._real.insert, *batches)
