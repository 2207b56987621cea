"""What every handler of one daemon shares: the generation in force, the ports, and whether it may serve."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from router.domain.ports import AddressLimiter, Clock, Ids, Observer, Pinger, Tasks
from router.gateway.authenticate import Authenticator
from router.gateway.generation import Generation
from router.gateway.idempotency import Idempotency
from router.gateway.pipeline import Gateway
from router.gateway.responses import Responses
from router.server.streaming import OpenStreams


class Interruptible(Protocol):
    def interrupt(self) -> None:
        """End it from our side: the daemon's drain time is over."""
        ...


@dataclass(slots=True)
class Serving:
    """`current` is replaced whole by a reload; a handler reads it once. `reasons` empty means ready to serve.

    `quiet` is set when the last request under way ends while draining. `calls` are those that go on without their callers.
    """

    current: Generation
    gateway: Gateway
    authenticator: Authenticator
    addresses: AddressLimiter
    clock: Clock
    ids: Ids
    tasks: Tasks
    observer: Observer
    idempotency: Idempotency
    render_metrics: Callable[[], Awaitable[bytes]]
    pingers: Sequence[Pinger] = ()
    responses: Responses | None = None
    reasons: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    is_draining: bool = False
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    inflight: int = 0
    streams: OpenStreams = field(default_factory=OpenStreams)
    calls: set[Interruptible] = field(default_factory=set)

    def began(self) -> None:
        """Something counts as under way that no handler waits for."""
        self.inflight += 1

    def ended(self) -> None:
        """A request that counted as under way no longer is."""
        self.inflight -= 1
        if self.is_draining and not self.inflight:
            self.quiet.set()
