"""The shipped price table: looked up by type of provider and upstream model. Unknown is None, never 0."""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from hashlib import sha256
from importlib.resources import files

import msgspec

from router.config.provider_types import PROVIDER_TYPES
from router.domain.usage import NANO_PER_USD, Price

_DATED = re.compile(r"(?:-latest|-\d{4}-\d{2}-\d{2}|-\d{8})$")


class _Row(msgspec.Struct, frozen=True):
    """USD per million tokens as decimal text."""

    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    context_window: int | None = None


class _File(msgspec.Struct, frozen=True):
    source: str
    version: str
    date: str
    licence: str
    prices: dict[str, dict[str, _Row]]


@dataclass(frozen=True, slots=True)
class Listed:
    """What the table knows about a model."""

    price: Price
    context_window: int | None


@cache
def _table() -> tuple[_File, str]:
    content = files("router.data").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(content, type=_File), sha256(content).hexdigest()


def table_version() -> str:
    """Which table is in use: `genai-prices 0.2.3 of 2026-11-21, 1a2b3c4d5e6f` (the first digits of its SHA-256)."""
    table, digest = _table()
    return f"{table.source.partition(',')[0]} {table.version} of {table.date}, {digest[:12]}"


def look_up(provider_type: str, model: str) -> Listed | None:
    """The price of `model` at a type of provider; `-2025-08-07`, `-20250807` and `-latest` may end its name.

    The dated name is looked up first: it may have a price of its own.
    """
    known = PROVIDER_TYPES.get(provider_type)
    if known is None or not known.prices:
        return None
    rows = _table()[0].prices.get(known.prices, {})
    name = model.lower()
    row = rows.get(name) or rows.get(_DATED.sub("", name))
    if row is None:
        return None
    price = _price(row)
    # The table has no price of what is kept for an hour: at Anthropic it is twice the input, whatever the model.
    if known.prices == "anthropic" and price.cache_write is not None:
        price = replace(price, cache_write_1h=2 * price.input)
    return Listed(price, row.context_window)


def _price(row: _Row) -> Price:
    return Price(
        input=_nano(row.input),
        output=_nano(row.output),
        cached_input=_optional(row.cached_input),
        cache_write=_optional(row.cache_write),
        audio_input=_optional(row.audio_input),
        audio_output=_optional(row.audio_output),
    )


def _optional(text: str | None) -> int | None:
    return None if text is None else _nano(text)


def _nano(text: str) -> int:
    return int(Decimal(text) * NANO_PER_USD)
