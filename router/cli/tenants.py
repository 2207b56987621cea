"""`routerd tenants`: the organisational units that keys belong to."""

from pathlib import Path

import click

from router.cli.complaint import WrongInput
from router.cli.control import forget_keys
from router.cli.databases import open_database
from router.cli.opening import config_option, json_option, open_config, run
from router.cli.output import Column, Grid, print_json, screen
from router.cli.wording import limits_document, limits_text, names_text, split_words
from router.config.load import Loaded
from router.config.paths import control_socket
from router.config.problems import did_you_mean, one_of
from router.domain.identity import Member, Tenant, TenantStatus
from router.storage.database import Database
from router.storage.tenants import Tenants
from router.system import SystemClock, SystemIds

MOST_LISTED = 1000
_LONGEST_NAME = 200
_COLUMNS = (Column("tenant"), Column("status", keep=True), Column("models"), Column("limits"))


@click.group()
def tenants() -> None:
    """Create and list tenants. Those in the file's bootstrap section need no command."""


@tenants.command("list")
@config_option
@click.option("--limit", type=click.IntRange(1), default=MOST_LISTED, show_default=True, help="At most so many.")
@json_option
def list_tenants(*, config: Path | None, limit: int, as_json: bool) -> None:
    """List tenants by name."""
    loaded = open_config(config)
    found = run(_list(loaded, limit + 1))
    rows, has_more = found[:limit], len(found) > limit
    if as_json:
        print_json({"tenants": [_document(tenant) for tenant in rows], "has_more": has_more})
        return
    out = screen()
    if not rows:
        out.line("There are no tenants yet: `routerd tenants create NAME` makes one.")
        return
    cells = [(t.name, t.status.value, names_text(t.models), limits_text(t.limits) or "the file's") for t in rows]
    out.grid(Grid(_COLUMNS, cells))
    if has_more:
        out.line(f"There are more than {limit}: raise --limit.", "dim")


@tenants.command("create")
@config_option
@click.argument("name")
@click.option("--models", multiple=True, metavar="NAMES", help="Aliases it may use, `openai/*` too. [default: all]")
@json_option
def create_tenant(*, config: Path | None, name: str, models: tuple[str, ...], as_json: bool) -> None:
    """Create the tenant NAME."""
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise WrongInput(f"a tenant's name has 1 to {_LONGEST_NAME} printable characters")
    loaded = open_config(config)
    tenant = Tenant(SystemIds().new(), name, TenantStatus.ACTIVE, split_words(models) or ("*",))
    run(_create(loaded, tenant))
    known = forget_keys(control_socket(loaded.config.database.url))
    if as_json:
        print_json({"tenant": _document(tenant)})
        return
    out = screen()
    out.line(f"Created the tenant {name}.", "green")
    out.line(f"{known} Give it a key: routerd keys create --tenant {name} --name NAME", "dim")


async def _list(loaded: Loaded, limit: int) -> list[Tenant]:
    async with open_database(loaded) as db:
        return await Tenants(db).page(limit=limit)


async def _create(loaded: Loaded, tenant: Tenant) -> None:
    async with open_database(loaded) as db:
        if not await Tenants(db).create(tenant, SystemClock().now_us()):
            raise WrongInput(f"there is a tenant {tenant.name!r} already", code="tenant_exists")


async def require_tenant(db: Database, name: str) -> Tenant:
    """The tenant of this name. Raises WrongInput naming those there are."""
    tenant = await Tenants(db).find(name)
    if tenant is not None:
        return tenant
    names = [known.name for known in await Tenants(db).page(limit=MOST_LISTED)]
    hint = did_you_mean(name, names) or (f"Tenants: {one_of(names)}." if names else "There are none yet.")
    raise WrongInput(f"there is no tenant {name!r}", hint=hint, code="tenant_not_found")


async def require_member(db: Database, tenant: Tenant, email: str) -> Member:
    """The member of a tenant with this address. Raises WrongInput naming those there are."""
    known = {member.email: member for member in await Tenants(db).members(tenant.id)}
    found = known.get(email.strip().lower())
    if found is not None:
        return found
    hint = did_you_mean(email, known) or (f"Members: {one_of(known)}." if known else "It has none: bootstrap.memberships.")
    raise WrongInput(f"{email!r} is no member of the tenant {tenant.name!r}", hint=hint, code="member_not_found")


def _document(tenant: Tenant) -> dict[str, object]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "status": tenant.status.value,
        "models": list(tenant.models),
        "defaults": dict(tenant.defaults),
        "tiers": dict(tenant.tiers),
        "limits": limits_document(tenant.limits),
    }
