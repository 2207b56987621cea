"""Makes `prices.json` from the `genai-prices` package (MIT): `python -m router.data.build_prices 2026-11-21`.

Run at release time only; needs the development dependencies. What the daemon reads is the file, never the package.
"""

import hashlib
import importlib
import json
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("prices.json")
_PROVIDERS = {
    "openai": "openai",
    "groq": "groq",
    "mistral": "mistral",
    "anthropic": "anthropic",
    "google": "gemini",
    "cohere": "cohere",
}
_UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
# Models whose answers have no priced output; for any other, an absent output price means that the price is unknown.
_INPUT_ONLY = re.compile(r"embed|moderation|rerank")
# Names in use that the package only reaches by a pattern.
_EXTRA_NAMES = ("omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-latest")


def build(day: datetime) -> dict[str, Any]:
    """The table as of `day`. Exact names only: a pattern could give a new model the price of an old one."""
    providers = importlib.import_module("genai_prices.data").providers
    return {
        "source": "genai-prices, https://github.com/pydantic/genai-prices",
        "version": version("genai-prices"),
        "date": day.date().isoformat(),
        "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present",
        "unit": "USD per million tokens; where a price depends on the prompt's length, that of the shortest",
        "prices": {
            _PROVIDERS[provider.id]: dict(sorted(_models(provider, day).items()))
            for provider in sorted(providers, key=lambda p: p.id)
            if provider.id in _PROVIDERS
        },
    }


def _models(provider: Any, day: datetime) -> dict[str, dict[str, str | int]]:
    table = {}
    for model in provider.models:
        row = _row(model, day)
        if row is not None:
            table.update(dict.fromkeys(_names(model), row))
    return table


def _names(model: Any) -> set[str]:
    clauses = getattr(model.match, "or_", None) or [model.match]
    names = {model.id, *(clause.equals for clause in clauses if hasattr(clause, "equals"))}
    names |= {name for name in _EXTRA_NAMES if model.is_match(name)}
    return {name.lower() for name in names if re.fullmatch(r"[A-Za-z0-9][\w./-]*[A-Za-z0-9]", name)}


def _row(model: Any, day: datetime) -> dict[str, str | int] | None:
    prices = model.get_prices(day)
    row: dict[str, str | int] = {}
    for attribute, unit in _UNITS.items():
        price = getattr(prices, attribute, None)
        if price is not None:
            row[unit] = _text(getattr(price, "base", price))
    if _INPUT_ONLY.search(model.id):
        row.setdefault("output", "0")
    if not row.keys() - {"output"} and model.id == "moderation":
        row["input"] = "0"  # listed without prices because it is free
    if "input" not in row or "output" not in row:
        return None
    if model.context_window:
        row["context_window"] = model.context_window
    return row


def _text(amount: Decimal) -> str:
    """At most nine decimals, rounded up: a nano-USD per million tokens is the smallest price there is."""
    exact = amount.quantize(Decimal("1e-9"), rounding="ROUND_CEILING")
    return format(exact.normalize(), "f")


def main(day: str) -> None:
    content = json.dumps(build(datetime.fromisoformat(day).replace(tzinfo=UTC)), indent=1, ensure_ascii=True) + "\n"
    TARGET.write_text(content)
    digest = hashlib.sha256(content.encode()).hexdigest()
    TARGET.with_suffix(".json.sha256").write_text(f"{digest}  {TARGET.name}\n")


if __name__ == "__main__":
    main(sys.argv[1])
