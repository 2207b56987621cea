"""`routerd check`: everything the daemon would refuse, with its place, and a summary of what it would run."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from router.cli.complaint import WRONG_INPUT, problems_document
from router.cli.opening import config_option, json_option, open_config
from router.cli.output import Column, Grid, Screen, print_json, screen, show_problems
from router.cli.wording import counted, per_million
from router.config.compile import compile_snapshot
from router.config.load import Loaded
from router.config.problems import ConfigError
from router.config.snapshot import Snapshot
from router.domain.routes import Alias

_COLUMNS = (
    Column("alias"),
    Column("type", keep=True),
    Column("strategy", keep=True),
    Column("targets", right=True),
    Column("USD per million in / out"),
)


@click.command()
@config_option
@json_option
def check(*, config: Path | None, as_json: bool) -> None:
    """Read, validate and compile the configuration as the daemon would; change nothing.

    Exit code 0: the daemon would start with it. 2: every problem is listed with file, line and column.
    """
    try:
        loaded = open_config(config)
        snapshot = compile_snapshot(loaded)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, **problems_document(error.problems)})
        else:
            show_problems(screen(), error.problems)
        click.get_current_context().exit(WRONG_INPUT)
    if as_json:
        print_json(_document(loaded, snapshot))
    else:
        _show_summary(screen(), loaded, snapshot)


def _show_summary(out: Screen, loaded: Loaded, snapshot: Snapshot) -> None:
    config = loaded.config
    out.line(f"{loaded.path} is good.", "green")
    out.line()
    out.facts(
        [
            ("listen", _listen(snapshot)),
            ("database", _engine(loaded)),
            ("providers", ", ".join(f"{p.name} ({p.type})" for p in snapshot.providers.values()) or "none"),
            ("tenants", ", ".join(_tenant_lines(loaded)) or "none in the file"),
            *([("tiers", _pairs(snapshot.tiers))] if snapshot.tiers else []),
            *([("defaults", _pairs(snapshot.defaults))] if snapshot.defaults else []),
            ("unknown price", config.pricing.unknown),
        ]
    )
    if aliases := _aliases(snapshot):
        out.line()
        out.grid(Grid(_COLUMNS, [_alias_row(alias) for alias in aliases]))
    if loaded.warnings:
        out.heading(counted(len(loaded.warnings), "warning"))
        out.listed(loaded.warnings, "yellow")


def _aliases(snapshot: Snapshot) -> list[Alias]:
    return [*snapshot.aliases.values(), *snapshot.wildcards]


def _alias_row(alias: Alias) -> tuple[str, ...]:
    return alias.name, alias.kind.value, alias.strategy.value, str(len(alias.targets)), _price_text(alias)


def _price_text(alias: Alias) -> str:
    prices = [target.price for target in alias.targets]
    known = [price for price in prices if price is not None]
    if not known:
        return "unknown"
    if len(known) < len(prices):
        return f"unknown for {len(prices) - len(known)} of {len(prices)} targets"
    texts = list(dict.fromkeys(f"{per_million(p.input)} / {per_million(p.output)}" for p in known))
    return texts[0] if len(texts) == 1 else f"{len(texts)} prices: {', '.join(texts)}"


def _price_state(alias: Alias) -> str:
    known = sum(target.price is not None for target in alias.targets)
    return "known" if known == len(alias.targets) else "partly" if known else "unknown"


def _tenant_lines(loaded: Loaded) -> list[str]:
    keys = Counter(key.tenant for key in loaded.config.bootstrap.api_keys)
    return [f"{tenant.name} ({counted(keys[tenant.name], 'key')})" for tenant in loaded.config.bootstrap.tenants]


def _pairs(names: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {alias}" for name, alias in names.items())


def _listen(snapshot: Snapshot) -> str:
    host = snapshot.server.host
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if snapshot.server.tls_cert else 'http'}://{shown}:{snapshot.server.port}"


def _engine(loaded: Loaded) -> str:
    """A PostgreSQL URL holds a password, so it is not shown."""
    url = loaded.config.database.url
    return url if url.startswith("sqlite:") else "PostgreSQL"


def _document(loaded: Loaded, snapshot: Snapshot) -> dict[str, object]:
    keys = Counter(key.tenant for key in loaded.config.bootstrap.api_keys)
    return {
        "ok": True,
        "file": str(loaded.path),
        "fingerprint": snapshot.fingerprint,
        "listen": _listen(snapshot),
        "database": _engine(loaded),
        "providers": [{"name": p.name, "type": p.type} for p in snapshot.providers.values()],
        "aliases": [
            {
                "alias": alias.name,
                "type": alias.kind.value,
                "strategy": alias.strategy.value,
                "targets": len(alias.targets),
                "price": _price_state(alias),
            }
            for alias in _aliases(snapshot)
        ],
        "tiers": dict(snapshot.tiers),
        "defaults": dict(snapshot.defaults),
        "tenants": [{"name": t.name, "keys": keys[t.name]} for t in loaded.config.bootstrap.tenants],
        "warnings": list(loaded.warnings),
    }
