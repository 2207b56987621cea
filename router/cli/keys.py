"""`routerd keys`: creates, lists and revokes the keys of callers. A secret is shown once and never kept."""

import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import click

from router.cli.complaint import ABORTED, Complaint, WrongInput
from router.cli.control import forget_keys
from router.cli.databases import open_database
from router.cli.opening import config_option, json_option, key_digest, open_config, run
from router.cli.output import Column, Grid, notices, print_json, screen
from router.cli.tenants import require_member, require_tenant
from router.cli.wording import limits_document, moment, names_text, read_moment, split_words
from router.config.load import Loaded
from router.config.paths import control_socket
from router.config.problems import did_you_mean, one_of
from router.domain.identity import ApiKey, MintedKey, Scope, mint_key, parse_presented_key
from router.domain.limits import Limits
from router.storage.keys import Keys
from router.system import SystemClock, SystemIds

MOST_LISTED = 1000
_LONGEST_NAME = 200
_COLUMNS = (
    Column("prefix"),
    Column("name"),
    Column("tenant"),
    Column("state", keep=True),
    Column("models"),
    Column("expires"),
)
_OF_MEMBERS = (*_COLUMNS[:3], Column("member"), *_COLUMNS[3:])
_SAVE_IT = "Keep it now: only its digest is stored, and it is never shown again."


class NewKey(TypedDict):
    """The options of `keys create` as click hands them over."""

    tenant: str
    member: str | None
    name: str
    prefix: str | None
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    expires: str | None
    rpm: int | None
    tpm: int | None
    parallel: int | None


@click.group()
def keys() -> None:
    """Create, list and revoke the keys of callers. Those in the file's bootstrap section need no command."""


@keys.command("create")
@config_option
@click.option("--tenant", required=True, help="The tenant it belongs to.")
@click.option("--member", metavar="EMAIL", help="The member of the tenant whose budget it counts against.")
@click.option("--name", required=True, help="What it is called in lists and in the ledger.")
@click.option("--prefix", help="The part before the dot, 1-32 of A-Z a-z 0-9 _ -. [default: random]")
@click.option("--scopes", multiple=True, metavar="NAMES", help=f"Any of {', '.join(Scope)}. [default: all]")
@click.option("--models", multiple=True, metavar="NAMES", help="Aliases, `openai/*` too. [default: the tenant's]")
@click.option("--expires", metavar="WHEN", help="A span such as 30d, or a date or time in ISO 8601.")
@click.option("--rpm", type=click.IntRange(1), help="Requests per minute.")
@click.option("--tpm", type=click.IntRange(1), help="Tokens per minute.")
@click.option("--parallel", type=click.IntRange(1), help="Requests at a time.")
@json_option
def create_key(*, config: Path | None, as_json: bool, **asked: Unpack[NewKey]) -> None:
    """Create a key and show it, this one time.

    On a pipe standard output gets the key alone: KEY=$(routerd keys create --tenant demo --name ci)
    """
    minted = _mint(asked["prefix"])
    key = _unsealed(asked, minted)
    loaded = open_config(config)
    digest = key_digest(loaded.config)
    stored = run(_create(loaded, replace(key, digest=digest(minted.secret)), asked["tenant"], asked["member"]))
    known = forget_keys(control_socket(loaded.config.database.url))
    warnings = _unreachable(loaded, key.models)
    if as_json:
        print_json({"key": minted.presented, **_document(stored, asked["tenant"]), "warnings": warnings})
        return
    out, aside = screen(), notices()
    if out.is_terminal:
        out.line(f"Created the key {key.name} of the tenant {asked['tenant']}:", "green")
        out.line()
        # Bypasses the layout: a key that is broken at the edge of a narrow terminal cannot be copied.
        sys.stdout.write(f"  {minted.presented}\n")
        out.line()
    else:
        out.line(minted.presented)
    aside.line(_SAVE_IT, "yellow")
    aside.line(known, "dim")
    for warning in warnings:
        aside.line(f"warning: {warning}", "yellow")


@keys.command("list")
@config_option
@click.option("--tenant", help="Only this tenant's.")
@click.option("--limit", type=click.IntRange(1), default=MOST_LISTED, show_default=True, help="At most so many.")
@click.option("--after", default="", metavar="PREFIX", help="Go on behind this prefix.")
@json_option
def list_keys(*, config: Path | None, tenant: str | None, limit: int, after: str, as_json: bool) -> None:
    """List keys by prefix. Secrets are not stored, so none can be shown."""
    loaded = open_config(config)
    found = run(_list(loaded, tenant, after, limit + 1))
    rows, has_more, now = found[:limit], len(found) > limit, SystemClock().now_us()
    if as_json:
        print_json({"keys": [_document(key, owner, now) for key, owner in rows], "has_more": has_more})
        return
    out = screen()
    if not rows:
        out.line("There are no keys here: `routerd keys create --tenant TENANT --name NAME` makes one.")
        return
    if any(key.member is not None for key, _ in rows):
        out.grid(Grid(_OF_MEMBERS, [_row_of_member(key, owner, now) for key, owner in rows]))
    else:
        out.grid(Grid(_COLUMNS, [_row(key, owner, now) for key, owner in rows]))
    if has_more:
        notices().line(f"There are more: go on with --after {rows[-1][0].prefix}", "dim")


@keys.command("revoke")
@config_option
@click.argument("prefix_or_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def revoke_key(*, config: Path | None, prefix_or_id: str, yes: bool, as_json: bool) -> None:
    """Refuse a key from now on. It stays in the list, and its usage in the ledger."""
    wanted = prefix_of(prefix_or_id)
    loaded = open_config(config)
    if not yes:
        _confirm(wanted, as_json=as_json)
    before = run(_revoke(loaded, wanted))
    known = forget_keys(control_socket(loaded.config.database.url))
    if as_json:
        print_json({"id": before.id, "prefix": before.prefix, "state": "revoked", "was_revoked": before.disabled})
    elif before.disabled:
        screen().line(f"The key {before.prefix} was revoked before; nothing to do.")
    else:
        screen().line(f"Revoked the key {before.prefix} ({before.name}).", "green")
        screen().line(known, "dim")


def prefix_of(text: str) -> str:
    """The prefix out of `sk-prefix.secret`, `sk-prefix` or itself; whole keys are what people have at hand."""
    presented = parse_presented_key(text)
    return presented[0] if presented else text.removeprefix("sk-")


def _confirm(wanted: str, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise WrongInput("nobody is there to confirm; pass --yes", code="not_confirmed")
    if not click.confirm(f"Refuse the key {wanted} from now on?", err=True):
        raise Complaint("Left as it is.", code=ABORTED)


def _mint(prefix: str | None) -> MintedKey:
    minted = mint_key(secrets.token_bytes)
    if prefix is None:
        return minted
    if parse_presented_key(f"{prefix}.x") != (prefix, "x"):
        expected = "1 to 32 of the characters A-Z a-z 0-9 _ -, not starting with sk-"
        raise WrongInput(f"--prefix: found {prefix!r}; expected {expected}")
    return MintedKey(prefix, minted.secret)


def _unsealed(asked: NewKey, minted: MintedKey) -> ApiKey:
    """The key as asked for, still without tenant and digest. Raises WrongInput."""
    now = SystemClock().now_us()
    name = asked["name"].strip()
    if not name or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise WrongInput(f"--name: a key's name has 1 to {_LONGEST_NAME} printable characters")
    scopes = split_words(asked["scopes"])
    for scope in scopes:
        if scope not in set(Scope):
            raise WrongInput(f"--scopes: found {scope!r}; expected {one_of(Scope)}", hint=did_you_mean(scope, Scope))
    expires = asked["expires"]
    expires_at = None if expires is None else read_moment(expires, "--expires", now=now, ahead=True)
    if expires_at is not None and expires_at <= now:
        raise WrongInput(f"--expires: {expires} has passed already")
    return ApiKey(
        id=SystemIds().new(),
        tenant_id="",
        name=name,
        prefix=minted.prefix,
        digest="",
        scopes=scopes,
        models=split_words(asked["models"]),
        expires_at=expires_at,
        limits=Limits(asked["rpm"], asked["tpm"], asked["parallel"]),
        created_at=now,
    )


async def _create(loaded: Loaded, key: ApiKey, tenant: str, member: str | None) -> ApiKey:
    async with open_database(loaded) as db:
        owner = await require_tenant(db, tenant)
        whose = None if member is None else await require_member(db, owner, member)
        sealed = replace(key, tenant_id=owner.id, member=whose)
        if not await Keys(db).create(sealed):
            raise WrongInput(f"the prefix {key.prefix!r} is taken", hint="Revoked keys keep theirs.", code="prefix_taken")
        return sealed


async def _list(loaded: Loaded, tenant: str | None, after: str, limit: int) -> list[tuple[ApiKey, str]]:
    async with open_database(loaded) as db:
        if tenant is not None:
            await require_tenant(db, tenant)
        return await Keys(db).page(tenant or "", after=after, limit=limit)


async def _revoke(loaded: Loaded, wanted: str) -> ApiKey:
    async with open_database(loaded) as db:
        before = await Keys(db).revoke(wanted, SystemClock().now_us())
        if before is None:
            known = [key.prefix for key, _ in await Keys(db).page(limit=MOST_LISTED)]
            hint = did_you_mean(wanted, known) or "`routerd keys list` shows them."
            raise WrongInput(f"there is no key with the prefix or id {wanted!r}", hint=hint, code="key_not_found")
        return before


def _unreachable(loaded: Loaded, models: tuple[str, ...]) -> list[str]:
    """Names that reach no alias of the file: not refused, since an alias may come later."""
    aliases = [alias.alias for alias in loaded.config.model_catalog]
    prefixes = [alias[:-1] for alias in aliases if alias.endswith("*")]
    found = []
    for model in models:
        prefix = model.removesuffix("*")
        reaches = any(alias.startswith(prefix) for alias in aliases) if prefix != model else model in aliases
        if not reaches and not any(model.startswith(p) for p in prefixes):
            found.append(f"--models: {model!r} names no alias. {did_you_mean(model, aliases)}".rstrip())
    return found


def _state(key: ApiKey, now: int) -> str:
    if key.disabled:
        return "revoked"
    if key.is_refused:
        return "no member"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _row(key: ApiKey, tenant: str, now: int) -> tuple[str, ...]:
    expires = moment(key.expires_at)[:10] if key.expires_at is not None else "never"
    return key.prefix, key.name, tenant, _state(key, now), names_text(key.models) or "the tenant's", expires


def _row_of_member(key: ApiKey, tenant: str, now: int) -> tuple[str, ...]:
    row = _row(key, tenant, now)
    return *row[:3], "" if key.member is None else key.member.email, *row[3:]


def _document(key: ApiKey, tenant: str, now: int = 0) -> dict[str, object]:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "tenant": tenant,
        "member": None if key.member is None else key.member.email,
        "state": _state(key, now),
        "scopes": list(key.scopes),
        "models": list(key.models),
        "limits": limits_document(key.limits),
        "expires_at": None if key.expires_at is None else moment(key.expires_at),
        "created_at": moment(key.created_at),
    }
