"""Requests per minute of one client address, counted before authentication. Process-local, bounded, cheap when off."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from router.domain.ports import Clock
from router.limits.table import WindowTable
from router.limits.window import WINDOW_US

Network = IPv4Network | IPv6Network

MAX_ADDRESSES = 100_000
_REMEMBERED_TEXTS = 16_384
_UNREADABLE = "unreadable"


class AddressWindows:
    """Implements domain.ports.AddressLimiter.

    An IPv6 client is its /64, because that is what one customer is given; an IPv4-mapped address is the IPv4 one. What is no
    address shares one window. Past `max_addresses` whoever was examined longest ago is forgotten, so a flood of addresses
    costs a bounded table and never refuses a newcomer.
    """

    def __init__(
        self,
        clock: Clock,
        limit: int | None = None,
        exempt: Sequence[Network] = (),
        *,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self._clock = clock
        self._table: WindowTable[str] = WindowTable(max_addresses)
        self.reconfigure(limit, exempt)

    @property
    def addresses(self) -> int:
        """How many addresses are remembered now."""
        return len(self._table.windows)

    def reconfigure(self, limit: int | None, exempt: Sequence[Network]) -> None:
        """Put a new limit (per minute; None is no limit) and new exempt networks in force; what was counted stays."""
        networks = tuple(exempt)
        self._limit = limit
        self._key_of = lru_cache(maxsize=_REMEMBERED_TEXTS)(lambda address: _window_key(address, networks))

    def admit(self, address: str) -> int | None:
        limit = self._limit
        if limit is None:
            return None
        key = self._key_of(address)
        if key is None:
            return None
        now_us, table = int(self._clock.monotonic() * 1e6), self._table
        if now_us >= table.due_us:
            table.forget_idle(now_us)
        windows = table.windows
        window = windows[key] if key in windows else table.remember(key, now_us)
        oldest = window.oldest
        if oldest is not None and oldest.last_us <= now_us - WINDOW_US:
            window.expire(now_us)
        if window.requests >= limit:
            wait_us = WINDOW_US if limit == 0 else window.requests_free_us(window.requests + 1 - limit, now_us)
            return -(-wait_us // 1000)
        window.take(0, now_us)
        return None


def _window_key(address: str, exempt: Sequence[Network]) -> str | None:
    """Whose window this address counts in; None if it is exempt."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except (AddressValueError, ValueError):
        return _UNREADABLE
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if any(parsed in network for network in exempt):
        return None
    if isinstance(parsed, IPv6Address):
        return f"{int(parsed) >> 64:x}::/64"
    return str(parsed)
