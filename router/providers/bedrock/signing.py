"""A transport that signs what passes it; what comes back passes as it is. Whatever is asked of Bedrock goes this way.

Another operation (invoke, rerank) needs nothing of its own here: `Transports.of(spec)` has wrapped the transport of every
provider that signs, and its body is bytes. A transport that sends a call in parts wraps this one: each part is signed.
"""

from typing import Protocol

import msgspec

from router.config.aws_access import SERVICE, AwsAccess
from router.domain.ports import Clock, Transport
from router.domain.routes import ProviderSpec
from router.domain.upstream import FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.providers.bedrock.chain import ChainKeys
from router.providers.bedrock.sigv4 import AwsKeys, Scope, signature_headers

_SIGNED = ("content-type", "x-amz-", "x-amzn-bedrock-")
"""How the names begin of what is signed beside the host: what stands between us and AWS may change other headers."""


class KeySource(Protocol):
    """Where keys come from."""

    @property
    def at_hand(self) -> AwsKeys | None:
        """The keys, if they are good still."""
        ...

    async def fetch(self) -> AwsKeys:
        """Raises TransportFailure CONNECT where there are none: nothing was sent."""
        ...


class StaticKeys:
    """Those that stand in the file."""

    def __init__(self, keys: AwsKeys) -> None:
        self.at_hand = keys

    async def fetch(self) -> AwsKeys:
        return self.at_hand


class SigningTransport:
    """Implements `domain.ports.Transport` over another."""

    def __init__(self, inner: Transport, source: KeySource, scope: Scope, clock: Clock) -> None:
        self._inner = inner
        self._source = source
        self._scope = scope
        self._clock = clock

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        keys = self._source.at_hand or await self._source.fetch()
        if not isinstance(call.body, bytes):
            raise TransportFailure(FailureKind.PROTOCOL, "not sent: a body that is not whole cannot be signed")
        to_sign = {name: value for name, value in call.headers.items() if name.startswith(_SIGNED)}
        added = signature_headers((call.to.method, call.to.url, call.body), to_sign, keys, self._scope, self._clock.now_us())
        return await self._inner.send(msgspec.structs.replace(call, own_headers={**call.own_headers, **added}))

    async def close(self) -> None:
        """The inner one is its owner's to close."""


def signed(inner: Transport, spec: ProviderSpec, clock: Clock) -> Transport:
    """`inner`, wrapped where the provider's configuration says that requests are signed."""
    access = spec.options.get("aws")
    if not isinstance(access, AwsAccess) or not access.signs:
        return inner
    return SigningTransport(inner, _source(spec.name, access), Scope(access.region, SERVICE), clock)


def _source(name: str, access: AwsAccess) -> KeySource:
    static = AwsKeys(access.access_key_id, access.secret_access_key, access.session_token)
    if not access.needs_chain:
        return StaticKeys(static)
    return ChainKeys(name, access)
