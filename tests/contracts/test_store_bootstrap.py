"""The file's bootstrap section over both engines: written when the file changed, disabled when dropped, else left alone."""

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import argon2
import msgspec
import pytest

from router.domain.bootstrap import (
    BootstrapItem,
    KeyItem,
    MembershipItem,
    TenantBudgetItem,
    TenantItem,
    TenantLimitsItem,
    UserItem,
)
from router.domain.identity import Member, TenantStatus, digest_of
from router.domain.limits import Limits
from router.domain.usage import NanoUSD
from router.storage.bootstrap import BootstrapReport, BootstrapSeals, apply_bootstrap
from router.storage.database import BootstrapRefused, Database
from router.storage.keys import Keys
from router.storage.tenants import Tenants
from tests.stores import NOW, CountingIds

IDS = CountingIds()
SEALS = BootstrapSeals(lambda secret: digest_of(secret, b"key"), b"items")
TENANT = TenantItem("demo", models=("gpt", "o*"), defaults={"chat": "gpt"}, tiers={"fast": "gpt"})
KEY = KeyItem("demo", "demo key", "demo", "my-secret", scopes=("chat",), limits=Limits(60, 60_000, 5), budget=NanoUSD(7))
LIMITS = TenantLimitsItem("demo", Limits(120, None, 20))
BUDGET = TenantBudgetItem("demo", NanoUSD(5), "hard", "weekly", "UTC", 750_000, ("a@b.c",), (("https://x", "slack"),), 90.5)
USER = UserItem("Admin@Example.com", "Admin", "correct horse")
MEMBER = MembershipItem("demo", "admin@example.com", "owner")
# Not in the order in which they depend on each other.
ALL: tuple[BootstrapItem, ...] = (MEMBER, KEY, BUDGET, LIMITS, USER, TENANT)


async def apply(db: Database, items: Sequence[BootstrapItem] = ALL, seals: BootstrapSeals = SEALS) -> BootstrapReport:
    return await apply_bootstrap(db, items, seals, IDS, NOW)


async def cell(db: Database, sql: str) -> Any:
    row = await db.one(sql)
    assert row is not None
    return row["x"]


async def test_everything_is_written_in_the_order_it_depends_on_each_other(db: Database) -> None:
    report = await apply(db)
    assert report.written == (
        *("tenant demo", "tenant_limits demo", "tenant_budget demo", "user admin@example.com"),
        *("membership demo/admin@example.com", "api_key demo"),
    )
    found = await Keys(db).find_key("demo")
    assert found is not None
    key, tenant = found
    assert (key.name, key.digest, key.scopes) == ("demo key", digest_of("my-secret", b"key"), ("chat",))
    assert (key.limits, tenant.limits) == (KEY.limits, LIMITS.limits)
    assert (tenant.models, tenant.defaults, tenant.tiers) == (TENANT.models, TENANT.defaults, TENANT.tiers)
    assert await cell(db, "SELECT alert_cooldown_us AS x FROM tenant_budgets") == 90_500_000
    assert await cell(db, "SELECT role AS x FROM memberships") == "owner"
    password_hash = await cell(db, "SELECT password_hash AS x FROM users WHERE email = 'admin@example.com' AND is_admin = 1")
    assert argon2.PasswordHasher().verify(password_hash, "correct horse")


async def test_no_secret_is_stored(db: Database) -> None:
    await apply(db)
    for table in ("api_keys", "users", "bootstrap_items"):
        text = repr([tuple(row) for row in await db.all(f"SELECT * FROM {table}")])  # type: ignore[arg-type]  # both engines' rows are sequences
        assert "my-secret" not in text
        assert "correct horse" not in text


async def test_the_same_file_twice_changes_nothing(db: Database) -> None:
    await apply(db)
    assert await apply(db, tuple(reversed(ALL))) == BootstrapReport()


async def test_two_replicas_that_start_at_once_agree(db: Database) -> None:
    await asyncio.gather(apply(db), apply(db))
    assert len(await Keys(db).page()) == 1
    assert await apply(db) == BootstrapReport()


async def test_an_administrator_s_edit_survives_until_the_file_changes_that_item(db: Database) -> None:
    await apply(db)
    await db.run("UPDATE tenants SET models = '[\"edited\"]'")
    await Keys(db).revoke("demo", NOW)
    await apply(db, (*ALL, TenantItem("other")))
    tenant = await Tenants(db).find("demo")
    assert tenant is not None
    assert tenant.models == ("edited",)
    found = await Keys(db).find_key("demo")
    assert found is not None
    assert found[0].disabled
    changed = replace(TENANT, models=("new",))
    report = await apply(db, (changed, *ALL[:-1], TenantItem("other")))
    assert report.written == ("tenant demo",)
    tenant = await Tenants(db).find("demo")
    assert tenant is not None
    assert tenant.models == ("new",)


async def test_what_the_file_drops_is_disabled_and_never_deleted(db: Database) -> None:
    await apply(db)
    report = await apply(db, ())
    assert report.written == ()
    assert report.disabled == (
        *("api_key demo", "membership demo/admin@example.com", "user admin@example.com", "tenant_budget demo"),
        *("tenant_limits demo", "tenant demo"),
    )
    found = await Keys(db).find_key("demo")
    assert found is not None
    assert (found[0].disabled, found[1].status, found[1].limits) == (True, TenantStatus.DISABLED, Limits())
    for table in ("memberships", "users", "tenant_budgets", "tenant_limits"):
        assert await cell(db, f"SELECT disabled AS x FROM {table}") == 1
    assert await apply(db, ()) == BootstrapReport()


async def test_what_comes_back_into_the_file_is_enabled_again(db: Database) -> None:
    await apply(db)
    await apply(db, ())
    assert len((await apply(db)).written) == len(ALL)
    found = await Keys(db).find_key("demo")
    assert found is not None
    assert (found[0].disabled, found[1].status, found[1].limits) == (False, TenantStatus.ACTIVE, LIMITS.limits)
    assert await cell(db, "SELECT disabled AS x FROM memberships") == 0


async def test_an_account_without_a_password_in_the_file_keeps_its_own(db: Database) -> None:
    await apply(db, (UserItem("a@b.c", "A", "first password"),))
    before = await cell(db, "SELECT password_hash AS x FROM users")
    await apply(db, (UserItem("a@b.c", "A. New"),))
    assert await cell(db, "SELECT password_hash AS x FROM users") == before
    assert await cell(db, "SELECT name AS x FROM users") == "A. New"


async def test_another_server_secret_makes_every_digest_anew(db: Database) -> None:
    await apply(db)
    report = await apply(db, ALL, BootstrapSeals(lambda secret: digest_of(secret, b"new"), b"new items"))
    assert len(report.written) == len(ALL)
    found = await Keys(db).find_key("demo")
    assert found is not None
    assert found[0].digest == digest_of("my-secret", b"new")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((KEY,), "api_keys, prefix demo names the tenant demo"),
        ((TENANT, replace(KEY, member="a@b.c")), "the member a@b.c, who is none of the tenant demo"),
        ((MEMBER,), "memberships names the tenant demo"),
    ],
)
async def test_an_item_that_refers_to_nothing_is_refused_and_nothing_is_written(
    db: Database, items: Sequence[BootstrapItem], message: str
) -> None:
    with pytest.raises(BootstrapRefused, match=message):
        await apply(db, (*items, TenantItem("x")))
    assert await Tenants(db).page() == []


PERSON = MembershipItem("demo", "Ann@Example.com", "user", NanoUSD(9))
HERS = replace(KEY, member="ann@example.COM")


async def member(db: Database) -> Member | None:
    found = await Keys(db).find_key("demo")
    assert found is not None
    return found[0].member


async def test_a_key_belongs_to_a_member_whose_account_is_made_and_is_no_administrator(db: Database) -> None:
    await apply(db, (HERS, PERSON, TENANT))
    found = await member(db)
    assert found is not None
    assert (found.email, found.budget, found.is_active) == ("ann@example.com", 9, True)
    assert await cell(db, "SELECT is_admin AS x FROM users") == 0
    tenant = await Tenants(db).find("demo")
    assert tenant is not None
    assert await Tenants(db).members(tenant.id) == [found]
    await apply(db, (KEY, PERSON, TENANT))
    assert await member(db) is None


async def test_who_is_no_longer_a_member_has_no_key_that_serves(db: Database) -> None:
    await apply(db, (HERS, PERSON, TENANT))
    await db.run("UPDATE memberships SET disabled = 1")
    found = await Keys(db).find_key("demo")
    assert found is not None
    assert (found[0].disabled, found[0].is_refused) == (False, True)
    assert await Tenants(db).members(found[1].id) == []
    await db.run("DELETE FROM memberships")
    found = await Keys(db).find_key("demo")
    assert found is not None
    assert found[0].is_refused


async def test_an_administrator_who_is_dropped_stays_a_member_and_is_administrator_no_more(db: Database) -> None:
    person = replace(PERSON, email=USER.email)
    hers = replace(KEY, member=USER.email)
    await apply(db, (hers, person, TENANT, USER))
    assert await cell(db, "SELECT is_admin AS x FROM users") == 1
    await apply(db, (hers, person, TENANT))
    found = await member(db)
    assert found is not None
    assert found.is_active
    assert await cell(db, "SELECT is_admin AS x FROM users") == 0


async def test_an_account_that_was_dropped_comes_back_as_a_member_without_its_rights(db: Database) -> None:
    await apply(db, (USER, TENANT))
    await db.run("UPDATE users SET disabled = 1")
    await apply(db, (USER, TENANT, replace(PERSON, email=USER.email)))
    row = await db.one("SELECT is_admin, disabled FROM users")
    assert row is not None
    assert (row["is_admin"], row["disabled"]) == (0, 0)


async def test_a_release_that_knows_members_writes_no_item_again_that_names_none(db: Database) -> None:
    """The form that the release before it kept: a revoked key would come back to life."""
    await apply(db, (TENANT, KEY))
    known = {field.name: getattr(KEY, field.name) for field in fields(KEY) if field.name != "member"}
    form = msgspec.json.encode([KEY.kind, *known.items()], order="sorted")
    kept = await cell(db, "SELECT digest AS x FROM bootstrap_items WHERE kind = 'api_key'")
    assert kept == hmac.digest(SEALS.item_key, form, "sha256").hex()


async def test_a_budget_that_changes_is_written(db: Database) -> None:
    await apply(db, (HERS, PERSON, TENANT))
    report = await apply(db, (HERS, replace(PERSON, budget=NanoUSD(10)), TENANT))
    assert report.written == ("membership demo/ann@example.com",)
    found = await member(db)
    assert found is not None
    assert found.budget == 10
