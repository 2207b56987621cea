"""What every handler of one daemon shares: the generation in force, the ports, and whether it may serve."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from router.domain.ports import AddressLimiter, Clock, Ids, Observer, Pinger, Tasks
from router.gateway.authenticate import Authenticator
from router.gateway.generation import Generation
from router.gateway.pipeline import Gateway
from router.server.streaming import EventStream


@dataclass(slots=True)
class Serving:
    """`current` is replaced whole by a reload; a handler reads it once. `reasons` empty means ready to serve.

    `quiet` is set when the last request under way ends while draining.
    """

    current: Generation
    gateway: Gateway
    authenticator: Authenticator
    addresses: AddressLimiter
    clock: Clock
    ids: Ids
    tasks: Tasks
    observer: Observer
    render_metrics: Callable[[], bytes]
    pingers: Sequence[Pinger] = ()
    reasons: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    is_draining: bool = False
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    inflight: int = 0
    streams: set[EventStream] = field(default_factory=set)
