"""Brings a database to this release's schema: numbered SQL files, one transaction each, under a lock."""

import asyncio
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.storage.database import Database, DatabaseTooNew, MigrationAltered, MigrationsPending, Queries

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)(?:\.(postgres|sqlite))?\.sql")

# A whole string, quoted name, comment or dollar-quoted body, or the semicolon that ends a statement.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | (?P<tag>\$\w*\$).*?(?P=tag) | (?P<end>;)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

_CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version     BIGINT NOT NULL PRIMARY KEY,
        name        TEXT NOT NULL,
        checksum    TEXT NOT NULL,
        applied_at  BIGINT NOT NULL
    )"""
_SELECT = "SELECT version, name, checksum FROM schema_migrations ORDER BY version"
_INSERT = "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)"
_HAS_TABLE = {
    "sqlite": "SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'",
    "postgres": "SELECT 1 AS found WHERE to_regclass('schema_migrations') IS NOT NULL",
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step; `checksum` is the hex SHA-256 of its text for this engine."""

    version: int
    name: str
    text: str
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Names as `0001_init`, in order. `problem` says why this release must not touch the database; "" if it may."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    problem: str = ""


def migrations_folder() -> Path:
    """`router/_migrations` in an installed wheel, `migrations` beside `router` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    travelling = package / "_migrations"
    return travelling if travelling.is_dir() else package.parent / "migrations"


def read_migrations(folder: Path, engine: str) -> list[Migration]:
    """In order. A file for one engine replaces the neutral one of its number. ValueError for a name that does not fit."""
    texts: dict[int, tuple[bool, str, str]] = {}
    for path in sorted(folder.glob("*.sql")):
        found = _FILE.fullmatch(path.name)
        if found is None:
            raise ValueError(f"{path.name}: a migration is named NNNN_name.sql or NNNN_name.postgres.sql")
        version, name, only = int(found[1]), f"{found[1]}_{found[2]}", found[3]
        if only not in (None, engine) or (version in texts and only is None and texts[version][0]):
            continue
        if version in texts and texts[version][1] != name:
            raise ValueError(f"{path.name}: number {found[1]} is taken by {texts[version][1]}")
        texts[version] = (only is not None, name, path.read_text(encoding="utf-8"))
    return [
        Migration(version, name, text, hashlib.sha256(text.encode()).hexdigest())
        for version, (_, name, text) in sorted(texts.items())
    ]


def statements(text: str) -> Iterator[str]:
    """The statements of a file. Semicolons in strings, quoted names, comments and dollar quotes end nothing.

    A trigger of SQLite, whose body holds semicolons of its own, is not understood.
    """
    start = 0
    for token in _TOKEN.finditer(text):
        if token["end"] is not None:
            yield from _unless_empty(text[start : token.start()])
            start = token.end()
    yield from _unless_empty(text[start:])


def _unless_empty(statement: str) -> Iterator[str]:
    if _COMMENT.sub("", statement).strip():
        yield statement.strip()


async def migrate(db: Database, now: int, folder: Path | None = None) -> tuple[str, ...]:
    """Apply what is pending; the names applied by this call. `now` is microseconds since the epoch.

    Each file is one transaction, so a process killed in the middle leaves the files before it applied and nothing of its
    own. Raises DatabaseTooNew, MigrationAltered, StorageUnavailable.
    """
    known = await _known(db, folder)
    done: list[str] = []
    while True:
        async with db.exclusive() as tx:
            await tx.run(_CREATE_TABLE)
            pending = _pending(known, await _applied(tx))
            if not pending:
                return tuple(done)
            step = pending[0]
            for statement in statements(step.text):
                await tx.run(statement)
            await tx.run(_INSERT, step.version, step.name, step.checksum, now)
        done.append(step.name)


async def require_current(db: Database, folder: Path | None = None) -> None:
    """Raise MigrationsPending, DatabaseTooNew or MigrationAltered unless the schema is this release's. Writes nothing."""
    pending = _pending(await _known(db, folder), await _applied_if_any(db))
    if pending:
        raise MigrationsPending(
            f"the database lacks {', '.join(step.name for step in pending)}: run `routerd migrate`, "
            "or set database.run_migrations to true"
        )


async def status(db: Database, folder: Path | None = None) -> MigrationStatus:
    known = await _known(db, folder)
    applied = await _applied_if_any(db)
    names = tuple(step.name for step in applied)
    try:
        return MigrationStatus(names, tuple(step.name for step in _pending(known, applied)))
    except (DatabaseTooNew, MigrationAltered) as error:
        return MigrationStatus(names, (), str(error))


async def _known(db: Database, folder: Path | None) -> list[Migration]:
    return await asyncio.to_thread(lambda: read_migrations(folder or migrations_folder(), db.engine))


async def _applied_if_any(db: Database) -> list[Migration]:
    return await _applied(db) if await db.one(_HAS_TABLE[db.engine]) is not None else []


async def _applied(queries: Queries) -> list[Migration]:
    return [Migration(row["version"], row["name"], "", row["checksum"]) for row in await queries.all(_SELECT)]


def _pending(known: Sequence[Migration], applied: Sequence[Migration]) -> list[Migration]:
    by_version = {step.version: step for step in known}
    for step in applied:
        ours = by_version.get(step.version)
        if ours is None:
            newest = known[-1].name if known else "none"
            raise DatabaseTooNew(
                f"the database has migration {step.name}, which this release does not know (its newest is {newest}): "
                "a later routerd has used it; start that release, or restore the backup made before the upgrade"
            )
        if ours.checksum != step.checksum:
            raise MigrationAltered(
                f"migration {step.name} was applied with other content than this release carries "
                f"({step.checksum[:12]}, here {ours.checksum[:12]}): this is not the release that made the database"
            )
    done = {step.version for step in applied}
    return [step for step in known if step.version not in done]
