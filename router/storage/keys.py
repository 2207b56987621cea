"""Virtual keys: found by prefix through an index, never read as a whole. Only digests of secrets are here."""

import asyncio

from router.domain.identity import ApiKey, Tenant
from router.storage.database import Database, unavailable
from router.storage.records import KEY_COLUMNS, KEY_MEMBER, TENANT_COLUMNS, TENANT_TABLES, json_list, key_of, tenant_of

LOOKUP_TIMEOUT_S = 1.0

_FIND = f"""
    SELECT {KEY_COLUMNS}, {TENANT_COLUMNS}
    FROM {TENANT_TABLES} JOIN api_keys k ON k.tenant_id = t.id {KEY_MEMBER}
    WHERE k.prefix = $1"""
_PAGE = f"""
    SELECT {KEY_COLUMNS}, t.name AS tenant_name
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id {KEY_MEMBER}
    WHERE k.prefix > $1 ORDER BY k.prefix LIMIT $2"""
_PAGE_OF_TENANT = f"""
    SELECT {KEY_COLUMNS}, t.name AS tenant_name
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id {KEY_MEMBER}
    WHERE t.name = $3 AND k.prefix > $1 ORDER BY k.prefix LIMIT $2"""
_INSERT = """
    INSERT INTO api_keys (id, tenant_id, name, prefix, digest, scopes, models, expires_at, disabled,
                          limit_requests, limit_tokens, limit_parallel, budget_nano, created_at, updated_at, member_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15)
    ON CONFLICT DO NOTHING"""
_BY_PREFIX = f"SELECT {KEY_COLUMNS} FROM api_keys k {KEY_MEMBER} WHERE k.prefix = $1"
_BY_ID = f"SELECT {KEY_COLUMNS} FROM api_keys k {KEY_MEMBER} WHERE k.id = $1"
_REVOKE = "UPDATE api_keys SET disabled = 1, updated_at = $2 WHERE id = $1"


class Keys:
    """Implements domain.ports.KeyStore; every method raises StorageUnavailable."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_key(self, prefix: str) -> tuple[ApiKey, Tenant] | None:
        """The key with this prefix and its tenant, whatever their state. A request waits for it: at most a second."""
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                row = await self._db.one(_FIND, prefix)
        except TimeoutError as error:
            raise unavailable(f"looking up a key took longer than {LOOKUP_TIMEOUT_S:g} s") from error
        return None if row is None else (key_of(row), tenant_of(row))

    async def create(self, key: ApiKey) -> bool:
        """Add it; False if its prefix or id is taken. Raises ValueRefused if there is no such tenant."""
        limits = key.limits
        return bool(
            await self._db.run(
                _INSERT,
                *(key.id, key.tenant_id, key.name, key.prefix, key.digest, json_list(key.scopes), json_list(key.models)),
                *(
                    key.expires_at,
                    int(key.disabled),
                    limits.requests,
                    limits.tokens,
                    limits.parallel,
                    key.budget,
                    key.created_at,
                    key.member.user_id if key.member is not None else None,
                ),
            )
        )

    async def page(self, tenant: str = "", *, after: str = "", limit: int = 1000) -> list[tuple[ApiKey, str]]:
        """Up to `limit` keys by prefix, each with its tenant's name, from behind the prefix `after`; "" is every tenant."""
        if tenant:
            rows = await self._db.all(_PAGE_OF_TENANT, after, limit, tenant)
        else:
            rows = await self._db.all(_PAGE, after, limit)
        return [(key_of(row), row["tenant_name"]) for row in rows]

    async def revoke(self, prefix_or_id: str, now: int) -> ApiKey | None:
        """Disable the key with this prefix, else with this id; the key as it was before, None if there is none."""
        async with self._db.tx() as tx:
            row = await tx.one(_BY_PREFIX, prefix_or_id) or await tx.one(_BY_ID, prefix_or_id)
            if row is None:
                return None
            key = key_of(row)
            if not key.disabled:
                await tx.run(_REVOKE, key.id, now)
            return key
