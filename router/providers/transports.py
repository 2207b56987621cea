"""Which transport carries a provider's calls: the network's, one through a proxy, or a simulator's."""

from collections.abc import Mapping

from router.domain.ports import Clock, Ids, Transport
from router.domain.routes import ProviderSpec
from router.providers.bedrock.signing import signed
from router.providers.gemini.access import with_token
from router.providers.http1.transport import Http1Transport
from router.providers.proxied import ProxiedTransport
from router.providers.simulated.options import parse_options
from router.providers.simulated.transport import SimulatedTransport

_SIGNING = frozenset({"bedrock", "vertex"})
"""Types whose requests may have to be signed, or to show a token."""


class Transports:
    """One transport to the network for all providers, one for each proxy; one simulator for each simulated provider, kept
    while it is unchanged."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self._network = Http1Transport()
        # Kept to the end: a request that began before a reload may still be on its way through one.
        self._proxied: dict[str, ProxiedTransport] = {}
        self._simulated: dict[str, tuple[ProviderSpec, SimulatedTransport]] = {}
        self._signing: dict[str, tuple[ProviderSpec, Transport]] = {}

    def of(self, spec: ProviderSpec) -> Transport:
        inner = self._carrier(spec)
        return self._signed(spec, inner) if spec.type in _SIGNING else inner

    def _carrier(self, spec: ProviderSpec) -> Transport:
        if spec.proxy:
            if spec.proxy not in self._proxied:
                self._proxied[spec.proxy] = ProxiedTransport(spec.proxy)
            return self._proxied[spec.proxy]
        if spec.type != "simulated":
            return self._network
        known = self._simulated.get(spec.name)
        if known is None or known[0] != spec:
            known = spec, SimulatedTransport(parse_options(spec.options), self._clock, self._ids)
            self._simulated[spec.name] = known
        return known[1]

    def _signed(self, spec: ProviderSpec, inner: Transport) -> Transport:
        """Kept while its provider is unchanged, with the keys that it has fetched."""
        known = self._signing.get(spec.name)
        if known is None or known[0] != spec:
            wrapped = signed(inner, spec, self._clock) if spec.type == "bedrock" else with_token(inner, spec)
            known = self._signing[spec.name] = spec, wrapped
        return known[1]

    def keep(self, providers: Mapping[str, ProviderSpec]) -> None:
        """Forget the simulators of providers that the file no longer has, and what signs for them."""
        for kept in (self._simulated, self._signing):
            for name in [name for name in kept if name not in providers]:
                del kept[name]

    async def close(self) -> None:
        await self._network.close()
        for proxied in self._proxied.values():
            await proxied.close()
