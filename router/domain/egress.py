"""Which addresses somebody else's URL may lead to: those of the public internet, and no other."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Global unicast, and what in it carries an IPv4 address inside, which a gateway on the way may unpack.
_UNICAST = ip_network("2000::/3")
_CARRIERS = tuple(ip_network(text) for text in ("2002::/16", "2001::/32"))
# Beside what `is_global` excludes.
_EXCLUDED = tuple(ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "100.64.0.0/10"))


def is_public(address: str) -> bool:
    """Whether a dialled IP address is one of the public internet; False for what is no IP address."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found not in _UNICAST or any(found in network for network in _CARRIERS):
            return False
    elif any(found in network for network in _EXCLUDED):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved
