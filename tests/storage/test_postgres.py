"""What only PostgreSQL has: a server that goes away and comes back, a pool, URLs, SQLSTATEs."""

import asyncio
import signal
import ssl
import time

import asyncpg
import pytest

from router.domain.errors import StorageUnavailable
from router.storage.database import BadDatabaseUrl, ValueRefused
from router.storage.keys import Keys
from router.storage.migrate import migrate
from router.storage.postgres import HINTS, PostgresDatabase, driver_dsn, translate
from tests.servers import PostgresServer, free_port
from tests.stores import NOW


@pytest.mark.blocking
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_after_the_server_came_back_everything_works_without_a_restart(
    restartable_postgres: PostgresServer, how: signal.Signals
) -> None:
    server = restartable_postgres
    db = await PostgresDatabase.open(server.url(), pool_size=3)
    try:
        await migrate(db, NOW)
        await asyncio.gather(*(db.ping() for _ in range(3)))
        server.stop(how)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(StorageUnavailable) as lost:
                await Keys(db).find_key("p1")
            assert time.monotonic() - began < 1.5
            assert "PostgreSQL" in lost.value.hint
        server.start()
        assert await Keys(db).find_key("p1") is None
        await asyncio.gather(*(db.ping() for _ in range(3)))
    finally:
        await db.close()


async def test_an_exhausted_pool_is_unavailable_within_a_second_for_a_lookup(postgres_url: str) -> None:
    db = await PostgresDatabase.open(postgres_url, pool_size=1)
    try:
        await migrate(db, NOW)
        async with db.tx():
            began = time.monotonic()
            with pytest.raises(StorageUnavailable):
                await Keys(db).find_key("p1")
            assert time.monotonic() - began < 1.5
        assert await Keys(db).find_key("p1") is None
    finally:
        await db.close()


async def test_a_transaction_whose_connection_dies_is_unavailable_and_left_no_trace(postgres_url: str) -> None:
    db = await PostgresDatabase.open(postgres_url, pool_size=2)

    async def interrupted() -> None:
        async with db.tx() as tx:
            await tx.run("INSERT INTO snapshots VALUES ('x', 'a', 1)")
            row = await tx.one("SELECT pg_backend_pid() AS pid")
            assert row is not None
            await db.one("SELECT pg_terminate_backend($1)", row["pid"])
            await tx.run("INSERT INTO snapshots VALUES ('y', 'a', 1)")

    try:
        await migrate(db, NOW)
        with pytest.raises(StorageUnavailable):
            await interrupted()
        assert await db.all("SELECT * FROM snapshots") == []
    finally:
        await db.close()


async def test_statements_have_a_timeout_and_migrations_do_not(postgres_url: str) -> None:
    db = await PostgresDatabase.open(postgres_url)
    try:
        row = await db.one("SELECT current_setting('statement_timeout') AS s, current_setting('jit') AS j")
        assert row is not None
        assert (row["s"], row["j"]) == ("15s", "off")
        async with db.exclusive() as tx:
            row = await tx.one("SELECT current_setting('statement_timeout') AS s")
            assert row is not None
            assert row["s"] == "0"
    finally:
        await db.close()


async def test_a_server_that_is_not_there_is_unavailable_and_the_hint_holds_no_password() -> None:
    with pytest.raises(StorageUnavailable) as refused:
        await PostgresDatabase.open(f"postgres://user:secret-pw@127.0.0.1:{free_port()}/db")
    assert "cannot be reached" in refused.value.hint
    assert "secret-pw" not in refused.value.hint + refused.value.message


async def test_a_database_that_does_not_exist_is_named_in_the_hint(postgres_url: str) -> None:
    with pytest.raises(StorageUnavailable) as refused:
        await PostgresDatabase.open(postgres_url + "_nowhere")
    assert "does not exist" in refused.value.hint


async def test_sslmode_require_is_refused_by_a_server_without_tls(postgres_url: str) -> None:
    with pytest.raises(StorageUnavailable):
        await PostgresDatabase.open(postgres_url + "?sslmode=require")
    db = await PostgresDatabase.open(
        postgres_url.replace("postgresql:", "postgres:") + "?sslmode=disable&channel_binding=prefer"
    )
    await db.close()


def test_options_that_only_libpq_knows_are_left_out() -> None:
    url = "postgres://u:p%40@h:1/d?sslmode=require&channel_binding=require&application_name=x"
    assert driver_dsn(url) == "postgresql://u:p%40@h:1/d?sslmode=require&application_name=x"


@pytest.mark.parametrize("url", ["postgres://u:secret-pw@h:99999/d", "postgres://u:secret-pw@h/d?sslmode=maybe"])
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadDatabaseUrl) as refused:
        driver_dsn(url)
    assert "secret-pw" not in str(refused.value)


OURS = {
    # Classes of errors in our own SQL or use of the server: they must surface as they are, not as a passing outage.
    *(
        "00",
        "01",
        "02",
        "03",
        "09",
        "0A",
        "0B",
        "0F",
        "0L",
        "0P",
        "0Z",
        "10",
        "20",
        "21",
        "24",
        "25",
        "26",
        "27",
        "2B",
        "2D",
    ),
    *("2F", "34", "38", "39", "3B", "3F", "42", "44", "55", "72", "F0", "HV", "P0"),
}
SQLSTATES = sorted(
    {
        getattr(asyncpg, name).sqlstate
        for name in dir(asyncpg)
        if isinstance(getattr(asyncpg, name), type)
        and issubclass(getattr(asyncpg, name), asyncpg.PostgresError)
        and isinstance(getattr(asyncpg, name).sqlstate, str)
    }
)


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_every_sqlstate_is_translated_or_known_to_be_ours(sqlstate: str) -> None:
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": "secret-pw", "S": "ERROR"})
    found = translate(error)
    if isinstance(found, StorageUnavailable):
        assert sqlstate in found.hint
        assert "secret-pw" not in found.hint + found.message
    elif not isinstance(found, ValueRefused):
        assert found is error
        assert sqlstate[:2] in OURS


def test_what_an_operator_must_tell_apart_has_a_hint_of_its_own() -> None:
    hints = [HINTS[state] for state in ("08", "25006", "28", "3D", "53100", "53300", "57014", "57")]
    assert len(set(hints)) == len(hints)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        FileNotFoundError(2, "No such file or directory"),
        TimeoutError(),
        ssl.SSLError(1, "bad"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    ],
)
def test_every_way_to_lose_the_server_is_unavailable(error: Exception) -> None:
    assert isinstance(translate(error), StorageUnavailable)


def test_a_wrong_number_of_arguments_is_our_mistake() -> None:
    error = asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed")
    assert translate(error) is error
