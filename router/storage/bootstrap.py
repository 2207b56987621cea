"""Applies the file's bootstrap section: an item is written when the file changed it, disabled when the file drops it.

What is kept for an item is a keyed hash of its last applied form: the file as it was applied once changes nothing again, so
an administrator's edit survives until the file changes that item.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import assert_never

import msgspec

from router.domain.bootstrap import (
    BootstrapItem,
    KeyItem,
    MembershipItem,
    TenantBudgetItem,
    TenantItem,
    TenantLimitsItem,
    UserItem,
)
from router.domain.identity import TenantStatus
from router.domain.ports import Ids
from router.storage.database import BootstrapRefused, Database, Transaction
from router.storage.passwords import hash_password
from router.storage.records import json_list, json_map

# Items come after those they refer to, and go before them.
_ORDER = ("tenant", "tenant_limits", "tenant_budget", "user", "membership", "api_key")
# Fields of later releases count only where they say something: an upgrade alone must not write an item again.
_LATER = (("api_key", "member", ""), ("membership", "budget", None))

_APPLIED = "SELECT kind, identity, digest FROM bootstrap_items"
_REMEMBER = """
    INSERT INTO bootstrap_items (kind, identity, digest, applied_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (kind, identity) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at"""
_TENANT_ID = "SELECT id FROM tenants WHERE name = $1"
_USER_ID = "SELECT id FROM users WHERE email = $1"
_TENANT = """
    INSERT INTO tenants (id, name, status, models, defaults, tiers, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
    ON CONFLICT (name) DO UPDATE SET status = excluded.status, models = excluded.models, defaults = excluded.defaults,
        tiers = excluded.tiers, updated_at = excluded.updated_at"""
_LIMITS = """
    INSERT INTO tenant_limits (tenant_id, limit_requests, limit_tokens, limit_parallel, disabled, updated_at)
    VALUES ($1, $2, $3, $4, 0, $5)
    ON CONFLICT (tenant_id) DO UPDATE SET limit_requests = excluded.limit_requests, limit_tokens = excluded.limit_tokens,
        limit_parallel = excluded.limit_parallel, disabled = 0, updated_at = excluded.updated_at"""
_BUDGET = """
    INSERT INTO tenant_budgets (tenant_id, budget_nano, mode, schedule, timezone, warning_ppm, alert_emails, alert_webhooks,
                                alert_cooldown_us, disabled, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)
    ON CONFLICT (tenant_id) DO UPDATE SET budget_nano = excluded.budget_nano, mode = excluded.mode,
        schedule = excluded.schedule, timezone = excluded.timezone, warning_ppm = excluded.warning_ppm,
        alert_emails = excluded.alert_emails, alert_webhooks = excluded.alert_webhooks,
        alert_cooldown_us = excluded.alert_cooldown_us, disabled = 0, updated_at = excluded.updated_at"""
_KEY = """
    INSERT INTO api_keys (id, tenant_id, name, prefix, digest, scopes, models, expires_at, disabled,
                          limit_requests, limit_tokens, limit_parallel, budget_nano, member_id, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12, $13, $14, $14)
    ON CONFLICT (prefix) DO UPDATE SET tenant_id = excluded.tenant_id, name = excluded.name, digest = excluded.digest,
        scopes = excluded.scopes, models = excluded.models, expires_at = excluded.expires_at, disabled = 0,
        limit_requests = excluded.limit_requests, limit_tokens = excluded.limit_tokens,
        limit_parallel = excluded.limit_parallel, budget_nano = excluded.budget_nano, member_id = excluded.member_id,
        updated_at = excluded.updated_at"""
# Without a password in the file an account keeps the one it has.
_USER = """
    INSERT INTO users (id, email, name, password_hash, is_admin, disabled, created_at, updated_at)
    VALUES ($1, $2, $3, $4, 1, 0, $5, $5)
    ON CONFLICT (email) DO UPDATE SET name = excluded.name, is_admin = 1, disabled = 0, updated_at = excluded.updated_at,
        password_hash = CASE WHEN excluded.password_hash = '' THEN users.password_hash ELSE excluded.password_hash END"""
# Who is only a member is no administrator; nor is one who was dropped as such before.
_ACCOUNT = """
    INSERT INTO users (id, email, name, password_hash, is_admin, disabled, created_at, updated_at)
    VALUES ($1, $2, '', '', 0, 0, $3, $3)
    ON CONFLICT (email) DO UPDATE SET is_admin = 0, disabled = 0, updated_at = excluded.updated_at
        WHERE users.disabled = 1"""
_MEMBERSHIP = """
    INSERT INTO memberships (tenant_id, user_id, role, budget_nano, disabled, updated_at) VALUES ($1, $2, $3, $4, 0, $5)
    ON CONFLICT (tenant_id, user_id) DO UPDATE SET role = excluded.role, budget_nano = excluded.budget_nano, disabled = 0,
        updated_at = excluded.updated_at"""
_MEMBER_ID = """
    SELECT u.id FROM users u JOIN memberships m ON m.user_id = u.id WHERE m.tenant_id = $1 AND u.email = $2"""
_OF_TENANT = "tenant_id = (SELECT id FROM tenants WHERE name = $2)"
_DISABLE = {
    "tenant": f"UPDATE tenants SET status = '{TenantStatus.DISABLED.value}', updated_at = $1 WHERE name = $2",
    "tenant_limits": f"UPDATE tenant_limits SET disabled = 1, updated_at = $1 WHERE {_OF_TENANT}",
    "tenant_budget": f"UPDATE tenant_budgets SET disabled = 1, updated_at = $1 WHERE {_OF_TENANT}",
    "api_key": "UPDATE api_keys SET disabled = 1, updated_at = $1 WHERE prefix = $2",
    # Who was an administrator and is still a member stays that.
    "user": """
        UPDATE users SET is_admin = 0, updated_at = $1, disabled = CASE WHEN EXISTS (
            SELECT 1 FROM memberships m WHERE m.user_id = users.id AND m.disabled = 0) THEN 0 ELSE 1 END
        WHERE email = $2""",
    "membership": """
        UPDATE memberships SET disabled = 1, updated_at = $1 WHERE EXISTS (
            SELECT 1 FROM tenants t, users u
            WHERE t.id = memberships.tenant_id AND u.id = memberships.user_id AND t.name || '/' || u.email = $2)""",
}


@dataclass(frozen=True, slots=True)
class BootstrapReport:
    """What one application changed, each as `kind identity`."""

    written: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BootstrapSeals:
    """`digest` makes the stored digest of a key's secret; `item_key`, a secret, keys the hashes of items."""

    digest: Callable[[str], str]
    item_key: bytes


async def apply_bootstrap(
    db: Database, items: Sequence[BootstrapItem], seals: BootstrapSeals, ids: Ids, now: int
) -> BootstrapReport:
    """Bring the database to `items`, all of it or nothing. `now` is microseconds since the epoch.

    With another `item_key` every item counts as changed, as it must: the digests of keys depend on the same secret.
    A membership makes the account it needs. Raises BootstrapRefused for an item whose tenant or member does not exist,
    StorageUnavailable.
    """
    wanted = {_name_of(item): item for item in items}
    hashes = {name: _hash_of(item, seals.item_key) for name, item in wanted.items()}
    if _changes(hashes, await _applied(db)) == ([], []):
        return BootstrapReport()
    async with db.tx() as tx:
        changed, dropped = _changes(hashes, await _applied(tx))
        write = _Writer(tx, seals.digest, ids, now)
        for kind, identity in dropped:
            await write.disable(kind, identity)
            await tx.run(_REMEMBER, kind, identity, "", now)
        for name in changed:
            await write.item(wanted[name])
            await tx.run(_REMEMBER, *name, hashes[name], now)
    return BootstrapReport(_lines(changed), _lines(dropped))


_Name = tuple[str, str]  # kind, identity


def _lines(names: Sequence[_Name]) -> tuple[str, ...]:
    return tuple(f"{kind} {identity}" for kind, identity in names)


def _name_of(item: BootstrapItem) -> _Name:
    """E-mail addresses are the same in any case."""
    match item:
        case UserItem():
            return item.kind, item.email.lower()
        case MembershipItem():
            return item.kind, f"{item.tenant}/{item.email.lower()}"
        case _:
            return item.kind, item.key


def _hash_of(item: BootstrapItem, item_key: bytes) -> str:
    values = ((field.name, getattr(item, field.name)) for field in fields(item))
    form = [item.kind, *(pair for pair in values if (item.kind, *pair) not in _LATER)]
    return hmac.digest(item_key, msgspec.json.encode(form, order="sorted"), "sha256").hex()


async def _applied(db: Database | Transaction) -> dict[_Name, str]:
    return {(row["kind"], row["identity"]): row["digest"] for row in await db.all(_APPLIED)}


def _changes(hashes: Mapping[_Name, str], applied: Mapping[_Name, str]) -> tuple[list[_Name], list[_Name]]:
    """What to write, in the order of _ORDER, and what to disable, the other way round."""
    changed = [name for name in hashes if applied.get(name) != hashes[name]]
    dropped = [name for name, digest in applied.items() if digest and name not in hashes]
    changed.sort(key=lambda name: _ORDER.index(name[0]))
    dropped.sort(key=lambda name: (-_ORDER.index(name[0]), name[1]))
    return changed, dropped


class _Writer:
    """One application's transaction, and what new rows need."""

    def __init__(self, tx: Transaction, digest: Callable[[str], str], ids: Ids, now: int) -> None:
        self._tx = tx
        self._digest = digest
        self._ids = ids
        self._now = now

    async def disable(self, kind: str, identity: str) -> None:
        await self._tx.run(_DISABLE[kind], self._now, identity)

    async def item(self, item: BootstrapItem) -> None:
        match item:
            case TenantItem():
                await self._tenant(item)
            case TenantLimitsItem():
                await self._limits(item)
            case TenantBudgetItem():
                await self._budget(item)
            case KeyItem():
                await self._key(item)
            case UserItem():
                await self._user(item)
            case MembershipItem():
                await self._membership(item)
            case _:
                assert_never(item)

    async def _tenant(self, item: TenantItem) -> None:
        lists = json_list(item.models), json_map(item.defaults), json_map(item.tiers)
        await self._tx.run(_TENANT, self._ids.new(), item.name, item.status.value, *lists, self._now)

    async def _limits(self, item: TenantLimitsItem) -> None:
        tenant = await self._tenant_id(item.tenant, "tenant_limits")
        limits = item.limits
        await self._tx.run(_LIMITS, tenant, limits.requests, limits.tokens, limits.parallel, self._now)

    async def _budget(self, item: TenantBudgetItem) -> None:
        tenant = await self._tenant_id(item.tenant, "tenant_budgets")
        webhooks = msgspec.json.encode(item.alert_webhooks).decode()
        cooldown_us = round(item.alert_cooldown_s * 1_000_000)
        terms = item.budget, item.mode, item.schedule, item.timezone, item.warning_ppm
        await self._tx.run(_BUDGET, tenant, *terms, json_list(item.alert_emails), webhooks, cooldown_us, self._now)

    async def _key(self, item: KeyItem) -> None:
        tenant = await self._tenant_id(item.tenant, f"api_keys, prefix {item.prefix}")
        rights = json_list(item.scopes), json_list(item.models), item.expires_at
        limits = item.limits.requests, item.limits.tokens, item.limits.parallel
        named = self._ids.new(), tenant, item.name, item.prefix, self._digest(item.secret)
        await self._tx.run(_KEY, *named, *rights, *limits, item.budget, await self._member_id(item, tenant), self._now)

    async def _user(self, item: UserItem) -> None:
        password_hash = await hash_password(item.password) if item.password else ""
        await self._tx.run(_USER, self._ids.new(), item.email.lower(), item.name, password_hash, self._now)

    async def _membership(self, item: MembershipItem) -> None:
        tenant = await self._tenant_id(item.tenant, "memberships")
        email = item.email.lower()
        await self._tx.run(_ACCOUNT, self._ids.new(), email, self._now)
        user = await self._tx.one(_USER_ID, email)
        assert user is not None, "made just now"
        await self._tx.run(_MEMBERSHIP, tenant, user["id"], item.role, item.budget, self._now)

    async def _member_id(self, item: KeyItem, tenant: str) -> str | None:
        if not item.member:
            return None
        found = await self._tx.one(_MEMBER_ID, tenant, item.member.lower())
        if found is None:
            raise BootstrapRefused(
                f"bootstrap.api_keys, prefix {item.prefix} names the member {item.member}, who is none of the tenant "
                f"{item.tenant}: add it to bootstrap.memberships"
            )
        return str(found["id"])

    async def _tenant_id(self, name: str, where: str) -> str:
        row = await self._tx.one(_TENANT_ID, name)
        if row is None:
            raise BootstrapRefused(
                f"bootstrap.{where} names the tenant {name}, which does not exist: add it to bootstrap.tenants"
            )
        return str(row["id"])
