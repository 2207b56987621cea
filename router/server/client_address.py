"""Whose request it is, on the wire: the peer, or the caller a trusted proxy names."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from router.config.snapshot import Network


def client_address(peer: str, forwarded_for: Sequence[str], trusted: tuple[Network, ...]) -> str:
    """The nearest address that is not a trusted proxy's, reading X-Forwarded-For from the right.

    A header from an untrusted peer counts for nothing; neither does what stands left of an untrusted or unreadable hop.
    """
    address = peer
    if not trusted or not forwarded_for:
        return address
    hops = [hop.strip() for line in forwarded_for for hop in line.split(",")]
    while hops and _is_in(address, trusted):
        hop = _bare(hops.pop())
        if hop is None:
            return address
        address = hop
    return address


@lru_cache(maxsize=4096)
def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def _bare(hop: str) -> str | None:
    """`1.2.3.4:567`, `[::1]:567` and `"[::1]"` without port and brackets; None if it is no address."""
    text = hop.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
