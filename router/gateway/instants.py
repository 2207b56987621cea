"""Points in time as callers read them."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)
def instant_text(at_us: int) -> str:
    """RFC 3339 in UTC to the second: 2026-12-01T00:00:00Z."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
