"""Fixtures for the whole suite: real servers, started once and only when a test asks for them."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from router.storage.database import Database
from router.storage.migrate import migrate
from tests.blocking import no_blocking_calls
from tests.servers import ForeignPostgres, PostgresServer, RedisServer, Unavailable, start_postgres
from tests.stores import NOW, open_database

__all__ = ["no_blocking_calls"]


def missing(reason: Exception) -> NoReturn:
    """Skip, or fail where ROUTERD_TEST_REQUIRE=1 says that every server must be there."""
    if os.environ.get("ROUTERD_TEST_REQUIRE") == "1":
        pytest.fail(f"ROUTERD_TEST_REQUIRE=1: {reason}")
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | ForeignPostgres]:
    try:
        server: PostgresServer | ForeignPostgres = start_postgres()
    except Unavailable as reason:
        if not (named := os.environ.get("ROUTERD_TEST_POSTGRES")):
            missing(reason)
        server = ForeignPostgres(named)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer | ForeignPostgres) -> str:
    """A new, empty database, over TCP."""
    return postgres_server.url(tcp=True)


@pytest.fixture
def restartable_postgres() -> Iterator[PostgresServer]:
    """A server of one test's own, which it may stop, kill and start."""
    try:
        server = start_postgres()
    except Unavailable as reason:
        missing(reason)
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/router.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A migrated database of each engine in turn."""
    opened = await open_database(database_url)
    try:
        await migrate(opened, NOW)
        yield opened
    finally:
        await opened.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer | str]:
    try:
        server = RedisServer()
    except Unavailable as reason:
        if not (named := os.environ.get("ROUTERD_TEST_REDIS")):
            missing(reason)
        yield named
        return
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer | str) -> str:
    """A server that every test of the run shares: use keys of your own."""
    return redis_server if isinstance(redis_server, str) else redis_server.url
