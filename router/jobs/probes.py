"""Free active probes: does each provider answer at all? A dead one is ejected before a caller finds out."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from router.config.snapshot import HealthSettings
from router.domain.observations import ProbeFinished
from router.domain.ports import Clock, Observer, Transport
from router.domain.routes import HealthMode
from router.domain.upstream import TransportFailure, UpstreamCall

_MAX_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """One call to make, and the target ids its finding speaks for."""

    call: UpstreamCall
    transport: Transport
    targets: frozenset[str]


class Findings(Protocol):
    """Who is told what a probe found."""

    def probed(self, target: str, ok: bool, reason: str) -> None: ...


class Probes:
    """Asks each provider for its models once an interval.

    Only a lost connection, a timeout or a 5xx counts against it: that the list is forbidden or missing says nothing about
    inference.
    """

    def __init__(
        self,
        settings: Callable[[], HealthSettings],
        probes: Callable[[], Iterable[Probe]],
        findings: Findings,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._settings = settings
        self._probes = probes
        self._findings = findings
        self._clock = clock
        self._observer = observer

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._settings().interval_s)
            if self._settings().mode is not HealthMode.OFF:
                await self.tick()

    async def tick(self) -> None:
        """Probe every provider once, a few at a time."""
        gate = asyncio.Semaphore(_MAX_AT_ONCE)

        async def one(probe: Probe) -> None:
            async with gate:
                await self._ask(probe)

        await asyncio.gather(*(one(probe) for probe in self._probes()))

    async def _ask(self, probe: Probe) -> None:
        started = self._clock.monotonic()
        try:
            answer = await probe.transport.send(probe.call)
            answer.close()
            ok, reason = answer.status < 500, f"HTTP {answer.status}"
        except TransportFailure as failure:
            ok, reason = False, failure.kind.value
        took = int((self._clock.monotonic() - started) * 1e6)
        for target in sorted(probe.targets):
            self._findings.probed(target, ok, f"probe: {reason}")
            self._observer.emit(ProbeFinished(target, ok, reason, took))
