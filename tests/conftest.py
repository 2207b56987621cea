"""Fixtures for the whole suite: real servers, started once and only when a test asks for them."""

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.blocking import no_blocking_calls
from tests.servers import ForeignPostgres, PostgresServer, RedisServer, Unavailable, start_postgres

__all__ = ["no_blocking_calls", "postgres_server", "postgres_url", "redis_url", "restartable_postgres"]


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
