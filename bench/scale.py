"""`--scale`: what a request costs with more keys, more aliases, more targets."""

from functools import partial

from bench.keys import add_keys, key_text
from bench.routerd import Catalog, Urls, alias_name, routerd
from bench.scenarios import Part, Scenario
from bench.variants import Variant

CONNECTIONS = 64
COLUMNS = ("1 KB JSON",)
_KEYS = (10, 1_000, 100_000)
_ALIASES = (1, 100, 1_000)
_TARGETS = (1, 10, 100)
_FEW = 10


def variants(urls: Urls) -> list[Variant]:
    """The load goes round all keys, or all aliases, that the variant has in use."""
    return [
        *(_keys("keys in the database, 10 of them in use", urls, count, in_use=_FEW) for count in _KEYS),
        *(_keys("keys, all in use in turn", urls, count, in_use=count) for count in _KEYS),
        *(_aliases(urls, count) for count in _ALIASES),
        *(_targets(urls, count) for count in _TARGETS),
    ]


def _keys(series: str, urls: Urls, count: int, *, in_use: int) -> Variant:
    gateway = routerd(urls=urls, keys=tuple(map(key_text, range(in_use))))
    return Variant(series, f"{count:,} keys", gateway, (_scenario(Part(CONNECTIONS)),), partial(add_keys, count=count))


def _aliases(urls: Urls, count: int) -> Variant:
    gateway = routerd(urls=urls, catalog=Catalog(aliases=count))
    part = Part(CONNECTIONS, tuple(map(alias_name, range(count))))
    return Variant("aliases, all in use in turn", _count(count, "alias", "aliases"), gateway, (_scenario(part),))


def _targets(urls: Urls, count: int) -> Variant:
    gateway = routerd(urls=urls, catalog=Catalog(targets=count))
    return Variant("targets of one alias", _count(count, "target", "targets"), gateway, (_scenario(Part(CONNECTIONS)),))


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _scenario(part: Part) -> Scenario:
    return Scenario("json", f"1 KB JSON, {CONNECTIONS} connections", (part,), ("cpu_us",))
