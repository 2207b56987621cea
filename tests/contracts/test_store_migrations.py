"""Migrations over both engines: once only, in order, whole or not at all, and never backwards."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.storage.database import Database, DatabaseTooNew, MigrationAltered, MigrationsPending
from router.storage.migrate import migrate, migrations_folder, read_migrations, require_current, status
from tests.stores import NOW, open_database

_PROCESS = """
import asyncio, sys
from pathlib import Path
from router.storage.migrate import migrate
from tests.stores import open_database

async def main() -> None:
    db = await open_database(sys.argv[1])
    try:
        sys.stdin.readline()
        print(*await migrate(db, 1, Path(sys.argv[2])), flush=True)
    finally:
        await db.close()

asyncio.run(main())
"""

# Takes many seconds on either engine.
_SLOW = """
CREATE TABLE half (n BIGINT);
INSERT INTO half WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 30000000) SELECT max(n) FROM c;
"""


def folder_with(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.replace('__', '.')}.sql").write_text(text)
    return folder


def start(url: str, folder: Path) -> subprocess.Popen[str]:
    """A process that has opened the database and waits for a line before it migrates."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS, url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=migrations_folder().parent,
        text=True,
    )


def test_the_shipped_migrations_are_numbered_without_gaps() -> None:
    for engine in ("sqlite", "postgres"):
        shipped = read_migrations(migrations_folder(), engine)
        assert [step.version for step in shipped] == list(range(1, len(shipped) + 1))


async def test_a_second_run_applies_nothing(db: Database) -> None:
    assert await migrate(db, NOW) == ()
    await require_current(db)
    found = await status(db)
    assert (found.applied[0], found.pending, found.problem) == ("0001_init", (), "")


async def test_an_engine_s_own_file_replaces_the_neutral_one(database_url: str, tmp_path: Path) -> None:
    texts = {
        "0001_a": "CREATE TABLE neutral (n BIGINT);",
        "0001_a__postgres": "CREATE TABLE only_postgres (n BIGINT);",
        "0002_b__sqlite": "CREATE TABLE only_sqlite (n BIGINT);",
        "0002_b": "CREATE TABLE neutral2 (n BIGINT);",
    }
    db = await open_database(database_url)
    try:
        assert await migrate(db, NOW, folder_with(tmp_path, **texts)) == ("0001_a", "0002_b")
        tables = ("only_postgres", "neutral2") if db.engine == "postgres" else ("neutral", "only_sqlite")
        for table in tables:
            assert await db.all(f"SELECT * FROM {table}") == []
    finally:
        await db.close()


async def test_a_failing_migration_leaves_those_before_it_and_nothing_of_its_own(database_url: str, tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path,
        **{"0001_a": "CREATE TABLE a (n BIGINT);", "0002_b": "CREATE TABLE b (n BIGINT); SELECT nonsense FROM nowhere;"},
    )
    db = await open_database(database_url)
    try:
        with pytest.raises(Exception, match="nowhere"):
            await migrate(db, NOW, folder)
        assert (await status(db, folder)).pending == ("0002_b",)
        with pytest.raises(MigrationsPending, match=r"0002_b.*routerd migrate"):
            await require_current(db, folder)
        folder_with(tmp_path, **{"0002_b": "CREATE TABLE b (n BIGINT);"})
        assert await migrate(db, NOW, folder) == ("0002_b",)
    finally:
        await db.close()


async def test_a_database_of_a_later_release_is_refused_untouched(db: Database) -> None:
    await db.run("INSERT INTO schema_migrations VALUES (9999, '9999_later', 'x', 1)")
    for refused in (migrate(db, NOW), require_current(db)):
        with pytest.raises(DatabaseTooNew, match="9999_later"):
            await refused
    assert "9999_later" in (await status(db)).problem


async def test_an_altered_migration_is_refused(db: Database) -> None:
    await db.run("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
    for refused in (migrate(db, NOW), require_current(db)):
        with pytest.raises(MigrationAltered, match="0001_init"):
            await refused


async def test_status_of_an_empty_database_writes_nothing(database_url: str) -> None:
    db = await open_database(database_url)
    try:
        assert (await status(db)).pending[0] == "0001_init"
        assert (await status(db)).applied == ()
    finally:
        await db.close()


@pytest.mark.blocking
async def test_two_processes_at_once_apply_everything_once(database_url: str) -> None:
    processes = [start(database_url, migrations_folder()) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=30)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    shipped = [step.name for step in read_migrations(migrations_folder(), "sqlite")]
    assert sorted(outputs[0] + outputs[1]) == shipped
    db = await open_database(database_url)
    await require_current(db)
    await db.close()


@pytest.mark.blocking
async def test_killed_in_the_middle_the_next_process_finishes(database_url: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, **{"0001_a": "CREATE TABLE a (n BIGINT);", "0002_b": _SLOW})
    killed = start(database_url, folder)
    assert killed.stdin is not None
    killed.stdin.write("go\n")
    killed.stdin.flush()
    db = await open_database(database_url)
    try:
        deadline = time.monotonic() + 20
        while (await status(db, folder)).pending != ("0002_b",):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=10)
        folder_with(tmp_path, **{"0002_b": "CREATE TABLE half (n BIGINT);"})
        assert await migrate(db, NOW, folder) == ("0002_b",)
        assert await db.all("SELECT * FROM half") == []
    finally:
        await db.close()
