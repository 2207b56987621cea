"""Many API keys in the database of a running routerd, written in one transaction past the daemon."""

import json
from pathlib import Path

from bench.routerd import KEY_SECRET, SECRET, TENANT
from router.config.secrets import Purpose, derive
from router.domain.identity import digest_of
from router.storage.database import Database, sqlite_path
from router.storage.postgres import PostgresDatabase
from router.storage.sqlite import SqliteDatabase

_TENANT_ID = "SELECT id FROM tenants WHERE name = $1"
_INSERT = """
    INSERT INTO api_keys (id, tenant_id, name, prefix, digest, scopes, models, limit_requests, limit_tokens, limit_parallel,
                          budget_nano, created_at, updated_at)
    VALUES ($1, $2, $1, $3, $4, '[]', '["*"]', $5, $5, $6, $7, $8, $8)"""
_PLENTY = 1_000_000_000_000
_PLENTY_PARALLEL = 1_000_000
_BUDGET_NANO = 1_000_000 * 10**9
_CREATED_AT = 1_750_000_000_000_000


def key_text(number: int) -> str:
    """What a caller presents for the key of this number."""
    return f"sk-{_prefix(number)}.{KEY_SECRET}"


def _prefix(number: int) -> str:
    return f"bench-{number}"


async def add_keys(folder: Path, count: int) -> None:
    """Keys 0 to `count` - 1 with limits and a hard budget of their own, for the daemon that runs in `folder`."""
    database = await _open(json.loads((folder / "router.yaml").read_text())["database"]["url"], folder)
    digest = digest_of(KEY_SECRET, derive(SECRET.encode(), Purpose.API_KEYS))
    try:
        tenant = await database.one(_TENANT_ID, TENANT)
        assert tenant is not None
        rows = [
            (
                *(f"bench-key-{number}", tenant["id"], _prefix(number), digest),
                *(_PLENTY, _PLENTY_PARALLEL, _BUDGET_NANO, _CREATED_AT),
            )
            for number in range(count)
        ]
        async with database.tx() as tx:
            await tx.many(_INSERT, rows)
    finally:
        await database.close()


async def _open(url: str, folder: Path) -> Database:
    path = sqlite_path(url)
    return await (PostgresDatabase.open(url, pool_size=2) if path is None else SqliteDatabase.open(folder / path, readers=1))
