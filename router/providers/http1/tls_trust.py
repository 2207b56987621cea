"""Whom we believe over TLS: the system's authorities and, for a provider that names one, its own CA file. Never nobody."""

import asyncio
import ssl

from router.domain.upstream import FailureKind, TransportFailure

_MAX_CONTEXTS = 256


class TrustStore:
    """SSL contexts by CA file and content, each loaded once, off the loop. What could not be loaded is tried again."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}

    async def context(self, ca_file: str, ca_digest: str = "") -> ssl.SSLContext:
        """Certificates and host names are checked, TLS 1.2 is the least. Raises TransportFailure TLS."""
        found = self._contexts.get((ca_file, ca_digest))
        if found is None:
            try:
                found = await asyncio.to_thread(_load, ca_file)
            except (OSError, ssl.SSLError) as error:
                raise TransportFailure(FailureKind.TLS, f"ca_file {ca_file}: {error}") from None
            if len(self._contexts) >= _MAX_CONTEXTS:
                self._contexts.clear()
            self._contexts[ca_file, ca_digest] = found
        return found


def _load(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context
