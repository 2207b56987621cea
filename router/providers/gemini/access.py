"""A transport that shows Google an access token; what comes back passes as it is. With an API key nothing is wrapped."""

import importlib
from typing import Protocol

import msgspec

from router.config.google_access import GoogleAccess
from router.domain.ports import Transport
from router.domain.routes import ProviderSpec
from router.domain.upstream import UpstreamAnswer, UpstreamCall

_UNAUTHORIZED = 401


class TokenSource(Protocol):
    """Where tokens come from."""

    @property
    def at_hand(self) -> str:
        """A token that is good still, "" for none."""
        ...

    async def fetch(self) -> str:
        """Raises TransportFailure CONNECT where there is none: nothing was sent."""
        ...

    def spoil(self, token: str) -> None:
        """It was refused: the next request asks for another."""
        ...


class BearerTransport:
    """Implements `domain.ports.Transport` over another."""

    def __init__(self, inner: Transport, source: TokenSource) -> None:
        self._inner = inner
        self._source = source

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        token = self._source.at_hand or await self._source.fetch()
        own = {**call.own_headers, "authorization": f"Bearer {token}"}
        answer = await self._inner.send(msgspec.structs.replace(call, own_headers=own))
        if answer.status == _UNAUTHORIZED:
            self._source.spoil(token)
        return answer

    async def close(self) -> None:
        """The inner one is its owner's to close."""


def with_token(inner: Transport, spec: ProviderSpec) -> Transport:
    """`inner`, wrapped where the provider's configuration has credentials that tokens are made from."""
    access = spec.options.get("google")
    if not isinstance(access, GoogleAccess) or not access.has_token:
        return inner
    # google-auth is an extra, and a third of a second to import: only who needs it has it.
    tokens = importlib.import_module("router.providers.gemini.google_tokens")
    return BearerTransport(inner, tokens.GoogleTokens(spec, access))
