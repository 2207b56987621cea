"""routerd as a contestant: one configuration with everything on, and the ways to take something away or add more of it."""

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.gateways import KEY, Gateway

SECRET = "bench-bench-bench-bench-bench-bench"
KEY_SECRET = "bench-secret-bench-secret"
TENANT = "bench"
MODELS = ("gpt-4o-mini", "gpt-4o-mini-paced", "gpt-4o-mini-slow", "gpt-4o-mini-long", "gpt-4o-mini-first")
SQLITE = "sqlite:///bench.db"
# Counted with every request and never reached.
_PLENTY = 1_000_000_000_000
_PLENTY_USD = 1_000_000

Urls = Callable[[], Awaitable[tuple[str, str]]]
"""Makes a new database: its URL, and that of Redis or ""."""


async def sqlite() -> tuple[str, str]:
    """A file in the folder the daemon runs in."""
    return SQLITE, ""


@dataclass(frozen=True, slots=True)
class Features:
    """What the configuration can switch off. `durability` is the journal's, which cannot be switched off."""

    limits: bool = True
    address_limit: bool = True
    budgets: bool = True
    metrics: bool = True
    log: bool = True
    durability: str = "process"


@dataclass(frozen=True, slots=True)
class Catalog:
    """`aliases` stand beside those the scenarios use, each with one target; the scenarios' own have `targets` each, in
    the dialect `spoken`."""

    aliases: int = 0
    targets: int = 1
    spoken: str = "chat"


def alias_name(number: int) -> str:
    return f"alias-{number}"


def configuration(port: int, upstream: int, urls: tuple[str, str], features: Features, catalog: Catalog) -> str:
    """The whole `router.yaml`. JSON is YAML too."""
    database, redis = urls
    limits = {"requests_per_minute": _PLENTY, "tokens_per_minute": _PLENTY, "parallel_requests": 1_000_000}
    key: dict[str, object] = {"tenant": TENANT, "name": "bench", "prefix": "bench", "secret": KEY_SECRET, "models": ["*"]}
    bootstrap: dict[str, object] = {"tenants": [{"name": TENANT, "models": ["*"]}], "api_keys": [key]}
    if features.limits:
        key["rate_limit"] = limits
        bootstrap["tenant_limits"] = [{"tenant": TENANT, "limits": limits}]
    if features.budgets:
        key["budget_usd"] = _PLENTY_USD
        bootstrap["tenant_budgets"] = [{"tenant": TENANT, "budget_usd": _PLENTY_USD, "mode": "hard"}]
    named = [_alias(model, [f"{model}"] * catalog.targets) for model in MODELS]
    more = [_alias(alias_name(number), [MODELS[0]]) for number in range(catalog.aliases)]
    document = {
        "server": {"listen": f"127.0.0.1:{port}", "secret": SECRET},
        "database": {"url": database},
        "redis": {"url": redis},
        "journal": {"path": "journal", "durability": features.durability},
        "observability": {"metrics": features.metrics, "log_format": "json"},
        "health": {"mode": "off"},
        "rate_limits": {"per_address_per_minute": _PLENTY} if features.address_limit else {},
        "budgets": {"mode": "hard"},
        "providers": _providers(upstream, catalog),
        "model_catalog": [*named, *more],
        "bootstrap": bootstrap,
    }
    return json.dumps(document, indent=1)


def _providers(upstream: int, catalog: Catalog) -> dict[str, object]:
    """As many as an alias has targets: two targets of one provider and model would be one."""
    kind = "anthropic" if catalog.spoken == "messages" else "openai-compatible"
    settings: dict[str, object] = {"type": kind, "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-upstream"}
    if catalog.spoken == "responses":
        settings["apis"] = [catalog.spoken]
    return {f"bench-{number}": settings for number in range(catalog.targets)}


def _alias(name: str, models: list[str]) -> dict[str, object]:
    return {
        "alias": name,
        "type": "chat",
        "targets": [{"provider": f"bench-{number}", "model": model} for number, model in enumerate(models)],
        "price": {"input": 0.15, "output": 0.60},
        "max_output_tokens": 4096,
    }


def routerd(
    name: str = "routerd",
    *,
    program: Path | None = None,
    urls: Urls = sqlite,
    features: Features | None = None,
    catalog: Catalog | None = None,
    keys: tuple[str, ...] = (KEY,),
) -> Gateway:
    """`program` is an installed routerd, by default the one of this source tree; `urls` makes its database."""
    chosen = features or Features()

    async def command(port: int, upstream: int, folder: Path) -> list[str]:
        text = configuration(port, upstream, await urls(), chosen, catalog or Catalog())
        (folder / "router.yaml").write_text(text)
        started = [sys.executable, "-m", "router"] if program is None else [str(program)]
        return [*started, "--config", "router.yaml"]

    return Gateway(
        name,
        command,
        ready_path="/readyz",
        metrics_path="/metrics" if chosen.metrics else "",
        keys=keys,
        is_quiet=not chosen.log,
    )
