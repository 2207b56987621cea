"""Tenants, the limits that apply to all of a tenant's keys together, and a tenant's members."""

from router.domain.identity import Member, Tenant
from router.domain.usage import NanoUSD
from router.storage.database import Database
from router.storage.records import TENANT_COLUMNS, TENANT_TABLES, json_list, json_map, tenant_of

_FIND = f"SELECT {TENANT_COLUMNS} FROM {TENANT_TABLES} WHERE t.name = $1"
_PAGE = f"SELECT {TENANT_COLUMNS} FROM {TENANT_TABLES} WHERE t.name > $1 ORDER BY t.name LIMIT $2"
_INSERT = """
    INSERT INTO tenants (id, name, status, models, defaults, tiers, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
    ON CONFLICT DO NOTHING"""
_MEMBERS = """
    SELECT u.id, u.email, m.budget_nano FROM memberships m JOIN users u ON u.id = m.user_id
    WHERE m.tenant_id = $1 AND m.disabled = 0 AND u.disabled = 0 ORDER BY u.email"""


class Tenants:
    """Every method raises StorageUnavailable."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, name: str) -> Tenant | None:
        row = await self._db.one(_FIND, name)
        return None if row is None else tenant_of(row)

    async def page(self, *, after: str = "", limit: int = 1000) -> list[Tenant]:
        """Up to `limit` tenants by name, from behind the name `after`."""
        return [tenant_of(row) for row in await self._db.all(_PAGE, after, limit)]

    async def create(self, tenant: Tenant, now: int) -> bool:
        """Add it, without its limits; False if its name or id is taken. `now` is microseconds since the epoch."""
        models, defaults, tiers = json_list(tenant.models), json_map(tenant.defaults), json_map(tenant.tiers)
        return bool(await self._db.run(_INSERT, tenant.id, tenant.name, tenant.status.value, models, defaults, tiers, now))

    async def members(self, tenant_id: str) -> list[Member]:
        """Those who are members now, by e-mail address."""
        rows = await self._db.all(_MEMBERS, tenant_id)
        return [
            Member(row["id"], row["email"], None if row["budget_nano"] is None else NanoUSD(row["budget_nano"]))
            for row in rows
        ]
