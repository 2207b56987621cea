"""What only SQLite has: a file, a lock beside it, one writer, other processes' changes, a disk that fills up."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.domain.errors import StorageUnavailable
from router.storage.database import BadDatabaseUrl, DatabaseInUse, ValueRefused, numbered_for_sqlite, sqlite_path
from router.storage.lockfile import DaemonLock
from router.storage.migrate import migrate, migrations_folder
from router.storage.sqlite import HINTS, REFUSED_VALUES, SqliteDatabase, translate
from router.storage.usage import UsageTables
from tests.stores import NOW, entry


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    db = await SqliteDatabase.open(tmp_path / "new" / "data" / "router.db")
    try:
        await migrate(db, NOW)
        yield db
    finally:
        await db.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/router.db", Path("data/router.db")),
        ("sqlite:////var/lib/router.db", Path("/var/lib/router.db")),
        ("sqlite:///a%20b.db", Path("a b.db")),
        ("postgres://u:p@h/d", None),
        ("postgresql://u:p@h:5432/d?sslmode=require", None),
    ],
)
def test_a_url_names_a_file_or_a_server(url: str, path: Path | None) -> None:
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    "url", ["", "mysql://u:secret-pw@h/d", "sqlite://", "sqlite://host/x.db", "sqlite:///:memory:", "sqlite:///x?a=1"]
)
def test_a_url_that_names_neither_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=r"database\.url") as refused:
        sqlite_path(url)
    assert "secret-pw" not in str(refused.value)


def test_numbers_in_strings_names_and_comments_stay() -> None:
    assert numbered_for_sqlite("SELECT $2, '$1', \"$1\" -- $1\n, $1, $10") == "SELECT ?2, '$1', \"$1\" -- $1\n, ?1, ?10"


async def test_the_file_and_its_folders_are_private(sqlite: SqliteDatabase, tmp_path: Path) -> None:
    assert [mode(path) for path in (tmp_path / "new", tmp_path / "new" / "data")] == [0o700, 0o700]
    assert {mode(path) for path in sqlite.path.parent.iterdir()} == {0o600}


async def test_the_journal_is_a_write_ahead_log_and_foreign_keys_hold(sqlite: SqliteDatabase) -> None:
    row = await sqlite.one("SELECT (SELECT journal_mode FROM pragma_journal_mode) AS a")
    assert row is not None
    assert row["a"] == "wal"
    with pytest.raises(ValueRefused, match="FOREIGN KEY"):
        await sqlite.run("INSERT INTO tags VALUES ('nobody', 'a', 'b')")


async def test_readers_cannot_write(sqlite: SqliteDatabase) -> None:
    with pytest.raises(StorageUnavailable):
        await sqlite.all("INSERT INTO snapshots VALUES ('x', 'a', 1) RETURNING fingerprint")


async def test_a_reader_is_not_held_up_by_an_open_transaction(sqlite: SqliteDatabase) -> None:
    async with sqlite.tx() as tx:
        await tx.run("INSERT INTO snapshots VALUES ('x', 'a', 1)")
        assert await sqlite.all("SELECT * FROM snapshots") == []


async def test_a_full_disk_is_unavailable_with_a_hint_and_heals_by_itself(sqlite: SqliteDatabase) -> None:
    ledger = UsageTables(sqlite)
    await ledger.write_requests([entry(0)])
    row = await sqlite.one("PRAGMA page_count")
    assert row is not None
    await sqlite.run(f"PRAGMA max_page_count = {row['page_count']}")
    batch = [entry(number, metadata="x" * 4000) for number in range(1, 200)]
    with pytest.raises(StorageUnavailable) as full:
        await ledger.write_requests(batch)
    assert "SQLITE_FULL" in full.value.hint
    assert await ledger.find_requests(entry(1).id) == []
    await sqlite.run("PRAGMA max_page_count = 1000000")
    await ledger.write_requests(batch)
    assert len(await sqlite.all("SELECT id FROM requests")) == 200


async def test_a_database_locked_by_another_process_is_unavailable(sqlite: SqliteDatabase) -> None:
    await sqlite.run("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(sqlite.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable) as locked:
            await sqlite.run("INSERT INTO snapshots VALUES ('x', 'a', 1)")
        assert "SQLITE_BUSY" in locked.value.hint
        other.execute("COMMIT")
        await sqlite.run("INSERT INTO snapshots VALUES ('x', 'a', 1)")
    finally:
        other.close()


async def test_another_process_s_commit_is_seen_and_our_own_is_not(sqlite: SqliteDatabase) -> None:
    await sqlite.changed_elsewhere()  # migrations have a connection of their own
    await sqlite.run("INSERT INTO snapshots VALUES ('ours', 'a', 1)")
    await sqlite.all("SELECT * FROM snapshots")
    assert not await sqlite.changed_elsewhere()
    other = sqlite3.connect(sqlite.path, isolation_level=None)
    other.execute("INSERT INTO snapshots VALUES ('theirs', 'a', 1)")
    other.close()
    assert await sqlite.changed_elsewhere()
    assert not await sqlite.changed_elsewhere()


async def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    path.write_text("this is a text file, and long enough to be taken for a header" * 20)
    with pytest.raises(StorageUnavailable) as refused:
        await SqliteDatabase.open(path)
    assert "SQLITE_NOTADB" in refused.value.hint


async def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable) as refused:
        await SqliteDatabase.open(tmp_path / "file" / "router.db")
    assert "router.db" in refused.value.hint


async def test_closing_waits_for_the_transaction_under_way(sqlite: SqliteDatabase) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def writing() -> None:
        async with sqlite.tx() as tx:
            inside.set()
            await go_on.wait()
            await tx.run("INSERT INTO snapshots VALUES ('x', 'a', 1)")

    task = asyncio.create_task(writing())
    await inside.wait()
    closing = asyncio.create_task(sqlite.close())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(task, closing)
    with sqlite3.connect(sqlite.path) as other:
        assert other.execute("SELECT COUNT(*) FROM snapshots").fetchone() == (1,)
    other.close()


def test_a_second_daemon_is_refused_and_told_who_holds_the_database(tmp_path: Path) -> None:
    database = tmp_path / "router.db"
    program = "import sys; from pathlib import Path; from router.storage.lockfile import DaemonLock\n"
    program += "lock = DaemonLock.take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=migrations_folder().parent,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(DatabaseInUse, match=rf"process {holder.pid} .*router\.db\.lock") as refused:
        DaemonLock.take(database)
    assert refused.value.pid == holder.pid
    holder.kill()
    holder.communicate()
    lock = DaemonLock.take(database)
    assert int(lock.path.read_text()) == os.getpid()
    assert mode(lock.path) == 0o600
    lock.release()
    DaemonLock.take(database).release()


OURS = {
    # Errors in our own SQL or use of the library: they must surface as they are, not as a passing outage.
    *("SQLITE_OK", "SQLITE_ERROR", "SQLITE_INTERNAL", "SQLITE_MISUSE", "SQLITE_AUTH", "SQLITE_FORMAT", "SQLITE_NOTFOUND"),
    *("SQLITE_EMPTY", "SQLITE_NOTICE", "SQLITE_WARNING", "SQLITE_ROW", "SQLITE_DONE"),
}
_NO_RESULT = ("SQLITE_LIMIT_", "SQLITE_CREATE_", "SQLITE_DROP_", "SQLITE_ALTER_")
_ACTIONS = {
    *("SQLITE_DENY", "SQLITE_IGNORE", "SQLITE_DELETE", "SQLITE_INSERT", "SQLITE_PRAGMA", "SQLITE_READ", "SQLITE_SELECT"),
    *("SQLITE_TRANSACTION", "SQLITE_UPDATE", "SQLITE_ATTACH", "SQLITE_DETACH", "SQLITE_REINDEX", "SQLITE_ANALYZE"),
    *("SQLITE_FUNCTION", "SQLITE_SAVEPOINT", "SQLITE_RECURSIVE"),
}
RESULT_CODES = sorted(
    name
    for name in dir(sqlite3)
    if name.startswith("SQLITE_")
    and not name.startswith(_NO_RESULT)
    and name not in _ACTIONS
    and getattr(sqlite3, name) < 256
)


@pytest.mark.parametrize("name", RESULT_CODES)
def test_every_result_code_is_translated_or_known_to_be_ours(name: str) -> None:
    code = getattr(sqlite3, name)
    error = sqlite3.OperationalError("near secret-pw")
    error.sqlite_errorcode, error.sqlite_errorname = code | 1 << 8, f"{name}_EXTENDED"
    found = translate(error)
    if code in HINTS:
        assert isinstance(found, StorageUnavailable)
        assert name in found.hint
        assert "secret-pw" not in found.hint + found.message
    elif code in REFUSED_VALUES:
        assert isinstance(found, ValueRefused)
    else:
        assert found is error
        assert name in OURS
